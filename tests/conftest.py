"""Options of the whole suite."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings
from ray_nodes import cluster, ray  # noqa: F401 - fixtures

# As the package sets it when it loads TensorFlow, which tests do by themselves: without it the gradients of dilated
# convolutions are missing on some processors.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# A busy machine may take long for any one example, which says nothing about the code.
settings.register_profile("no deadlines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadlines")


def pytest_addoption(parser):
    parser.addoption("--full-faults", action="store_true", help="run tests/faults at full count, as `make test-faults`")
    parser.addoption("--every-block", action="store_true", help="run the contract of blocks for wide ones, too")
    parser.addoption("--fault-table", help="a page whose table of figures is brought up to date by the fault tests")


@pytest.fixture(autouse=True)
def flags_are_not_left():
    """What a test gives to the command within this process is not found by the next one."""
    yield
    main = sys.modules.get("model_search.main")
    if main is not None:
        for flag in main.own_flags():
            flag.unparse()
        main.FLAGS.unparse_flags()
