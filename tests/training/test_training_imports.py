import subprocess
import sys


def test_what_a_report_needs_of_training_loads_no_tensorflow():
    code = (
        "import sys\n"
        "import model_search.training.metrics, model_search.training.outcome, model_search.training.engine\n"
        "import model_search.training.tower_specs, model_search.training.runtime\n"
        "print([name for name in ('tensorflow', 'keras', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
