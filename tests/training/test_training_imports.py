import contextlib
import gc
import subprocess
import sys

from model_search.training import runtime


def test_what_a_report_needs_of_training_loads_no_tensorflow():
    code = (
        "import sys\n"
        "import model_search.training.metrics, model_search.training.outcome, model_search.training.engine\n"
        "import model_search.training.tower_specs, model_search.training.runtime\n"
        "print([name for name in ('tensorflow', 'keras', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_garbage_is_looked_for_while_tensorflow_is_imported(monkeypatch):
    looked_for = []

    @contextlib.contextmanager
    def around_the_import():
        looked_for.append(gc.isenabled())
        yield

    monkeypatch.setattr(runtime, "_silenced_stderr", around_the_import)
    runtime._load(1, None)
    assert looked_for == [False]
    assert gc.isenabled()
