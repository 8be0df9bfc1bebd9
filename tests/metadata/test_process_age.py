"""How long this process has been running."""

import subprocess
import sys

CODE = """
import time
before = time.monotonic()
from model_search.metadata.processes import seconds_since_start
{clock}
first = seconds_since_start()
time.sleep(0.05)
assert seconds_since_start() - first >= 0.05
print(time.monotonic() - before <= seconds_since_start() + 0.02, seconds_since_start() < 60)
"""


def test_a_wall_clock_that_is_set_meanwhile_changes_nothing():
    if not sys.platform.startswith("linux"):
        clock = ""
    else:
        clock = "wall = time.time; time.time = lambda: wall() + 7200"
    done = subprocess.run([sys.executable, "-c", CODE.format(clock=clock)], capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr
