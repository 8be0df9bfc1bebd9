def pytest_collection_modifyitems(config, items):
    """Without --every-block, the contract runs for the narrow blocks alone."""
    if config.getoption("--every-block"):
        return
    wide = [item for item in items if getattr(item.cls, "__name__", "") == "TestWideBlocks"]
    if wide:
        config.hook.pytest_deselected(items=wide)
        items[:] = [item for item in items if item not in set(wide)]
