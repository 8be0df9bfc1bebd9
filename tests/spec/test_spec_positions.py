"""Rules of position, with the place of what is wrong with them."""

import pytest

from model_search.spec.check import check
from model_search.spec.text import parse

FIRST = 'blocks_to_use: ["IDENTITY", "LOWRANK_1"]\n'
TWO = "minimum_depth: 2 maximum_depth: 2 "

ERRORS = [
    ("position_choices { }", 1, "position_choices need towers of one length, but minimum_depth is 2 and maximum_depth"),
    ("stages { first: 0 last: 1 }", 1, "stages need towers of one length"),
    (TWO + "position_choices { }", 35, "There are 1 position_choices and maximum_depth is 2; expected one for each"),
    (
        TWO + "position_choices: [{ blocks: 'BOTTLENECK_32' }, {}]",
        64,
        "names 'BOTTLENECK_32', which blocks_to_use does",
    ),
    (TWO + "stages { first: 0 last: 2 }", 35, "This stage goes from 0 to 2; expected positions from 0 to 1"),
    (TWO + "stages { first: 1 last: 0 }", 35, "This stage goes from 1 to 0; expected positions"),
    (TWO + "stages: [{ first: 0 last: 1 }, { first: 1 last: 1 }]", 66, "Position 1 is in two stages; give it to one."),
    (TWO + "stages { last: 1 blocks: 'NO' }", 60, "stages names 'NO', which blocks_to_use does not; add it there."),
    ("identity_blocks: 'NO'", 18, "identity_blocks names 'NO', which blocks_to_use does not"),
    (
        TWO + "stages { last: 1 } user_suggestions { architecture: 'IDENTITY' }",
        54,
        "This user suggestion has 1 blocks; expected 2, one for each position.",
    ),
]


def _check(text):
    parsed = parse(FIRST + text)
    assert parsed.problems == ()
    return check(parsed.spec, parsed.positions)


@pytest.mark.parametrize(("text", "column", "message"), ERRORS)
def test_an_error_says_what_and_where(text, column, message):
    (problem,) = _check(text)
    assert message in problem.message
    assert problem.message.endswith(".")
    assert (problem.line, problem.column, problem.severity) == (2, column, "error")


@pytest.mark.parametrize(
    "text",
    [
        "minimum_depth: 2 maximum_depth: 2",
        TWO + "position_choices: [{ blocks: 'IDENTITY' }, {}] identity_blocks: 'IDENTITY'",
        TWO + "stages { last: 1 blocks: 'IDENTITY' } user_suggestions { architecture: ['IDENTITY', 'LOWRANK_1'] }",
        "identity_blocks: 'IDENTITY'",
    ],
)
def test_what_is_right_is_left_alone(text):
    assert _check(text) == []
