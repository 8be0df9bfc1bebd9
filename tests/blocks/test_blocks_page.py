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


def test_the_examples_run(restored_catalogue, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "blocks_page"}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, names)
    shown = capsys.readouterr().out
    assert "logits (Dense)" in shown
    assert "(None, 20)" in shown


def expanded(name):
    """`A_{1,2}_3` as A_1_3 and A_2_3."""
    match = re.search(r"\{([^}]*)\}", name)
    if match is None:
        return {name}
    before, after = name[: match.start()], name[match.end() :]
    return {full for choice in match[1].split(",") for full in expanded(before + choice + after)}


def test_names_in_braces():
    assert expanded("A_{1,2}_3{,_X}") == {"A_1_3", "A_2_3", "A_1_3_X", "A_2_3_X"}


def test_every_block_is_described_and_every_name_is_a_block():
    described = {full for name in re.findall(r"`([A-Z0-9_]+(?:\{[^`]*)?)`", PAGE) for full in expanded(name)}
    families = re.findall(r"`(FIXED_OUTPUT_FULLY_CONNECTED)_64`((?:, `_\d+`)+)", PAGE)
    described |= {f"{family}{end}" for family, ends in families for end in re.findall(r"_\d+", ends)}
    assert "FULLY_CONNECTED_RESIDUAL_..._BATCHNORM" in PAGE
    described |= {f"FULLY_CONNECTED_RESIDUAL_{kind}_BATCHNORM" for kind in ("FORCE_MATCH_SHAPES", "CONCAT", "PROJECT")}
    stock = {name for name in catalogue.names() if catalogue.get(name).is_stock}
    assert stock <= described
    tables = re.findall(r"^\| (`[A-Z0-9_]+[`{].*?) \|", PAGE, re.MULTILINE)
    named = {
        full
        for row in tables
        for name in re.findall(r"`([A-Z][A-Z0-9_]+(?:\{[^`]*)?)`", row)
        for full in expanded(name)
    }
    assert named <= stock
