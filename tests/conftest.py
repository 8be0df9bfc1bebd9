"""Options of the whole suite."""


def pytest_addoption(parser):
    parser.addoption("--full-faults", action="store_true", help="run tests/faults at full count, as `make test-faults`")
    parser.addoption("--fault-table", help="a page whose table of figures is brought up to date by the fault tests")
