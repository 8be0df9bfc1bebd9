import pathlib
import re

import pytest

from model_search.blocks import catalogue

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "blocks.md").read_text()


@pytest.fixture
def restored_catalogue():
    before = set(catalogue.names())
    yield
    for name in set(catalogue.names()) - before:
        catalogue.unregister(name)


def test_the_examples_run(restored_catalogue, capsys):
    names: dict = {"__name__": "blocks_page"}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, names)
    shown = capsys.readouterr().out
    assert "logits (Dense)" in shown
    assert "(None, 20)" in shown


def test_every_buildable_block_is_described():
    described = set(re.findall(r"`([A-Z0-9_]+)`", PAGE))
    families = re.findall(r"`(FIXED_OUTPUT_FULLY_CONNECTED)_64`((?:, `_\d+`)+)", PAGE)
    described |= {f"{family}{end}" for family, ends in families for end in re.findall(r"_\d+", ends)}
    assert "FULLY_CONNECTED_RESIDUAL_..._BATCHNORM" in PAGE
    described |= {f"FULLY_CONNECTED_RESIDUAL_{kind}_BATCHNORM" for kind in ("FORCE_MATCH_SHAPES", "CONCAT", "PROJECT")}
    stock = {name for name in catalogue.names() if catalogue.get(name).module is not None}
    assert stock <= described
