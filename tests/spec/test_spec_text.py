"""Our walk along the text agrees with protobuf's reader, and knows where things stand."""

import re

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec.text import _is_repeated, parse

SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}


def scalars(field):
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=8)
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=8)
    return SCALARS[field.cpp_type]


@st.composite
def filled(draw, message):
    """A message with some of its fields set, at random."""
    taken = set()
    for field in draw(
        st.lists(st.sampled_from(list(message.DESCRIPTOR.fields)), max_size=5, unique_by=lambda f: f.name)
    ):
        if field.containing_oneof is not None and field.containing_oneof.name in taken:
            continue
        if field.containing_oneof is not None:
            taken.add(field.containing_oneof.name)
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in draw(st.lists(st.text(max_size=5), max_size=2)):
                draw(filled(value[key]))
        elif field.message_type is not None and _is_repeated(field):
            for _ in range(draw(st.integers(1, 2))):
                draw(filled(value.add()))
        elif field.message_type is not None:
            value.SetInParent()
            draw(filled(value))
        elif _is_repeated(field):
            value.extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))
    return message


specs = st.builds(PhoenixSpec).flatmap(filled)
styles = st.fixed_dictionaries(
    {
        "as_utf8": st.booleans(),
        "as_one_line": st.booleans(),
        "pointy_brackets": st.booleans(),
        "use_short_repeated_primitives": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs, styles)
def test_every_message_comes_back_from_its_text(spec, style):
    parsed = parse(text_format.MessageToString(spec, **style))
    assert parsed.problems == ()
    assert parsed.is_complete
    assert parsed.spec == spec


FRAGMENTS = [
    "beam_size", "blocks_to_use", "learning_spec", "user_suggestions", "architecture", "optimizers", "hparams",
    "hparam", "key", "value", "int64_value", "search_type", "DNN", "LINEAR_MODEL", "true", "0.5", "-1", "017", "0x1F",
    "1e-3", "1.5f", "inf", "-inf", '"a"', "'b'", '"\\n"', '"\\xff"', '"', "nonsense", "#", "\n", "{", "}", "<", ">",
    "[", "]", ":", ",", ";", "learning_spec {", "beam_size: 3", 'blocks_to_use: ["a", "b"]', "linear_model {",
    "ensemble_spec { adaptive_search {} }", "temperature: ", "minimum_depth: 1",
]  # fmt: skip


def accepted(text):
    """What protobuf's own reader makes of a text; None where it refuses it."""
    try:
        return text_format.Parse(text, PhoenixSpec())
    except (text_format.ParseError, ValueError):
        return None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(" ".join))
def test_a_text_is_accepted_exactly_where_protobuf_accepts_it(text):
    parsed, expected = parse(text), accepted(text)
    assert (not parsed.problems) == (expected is not None)
    if expected is not None:
        assert parsed.spec == expected


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text):
    parsed = parse(text)
    assert parsed.is_complete or parsed.problems


ARCHIVED_STYLE = """\
# A comment
search_type: ADAPTIVE_COORDINATE_DESCENT   # and another
blocks_to_use: "FULLY_CONNECTED"
blocks_to_use: ['IDENTITY', "LOW" 'RANK_1']
learning_spec < apply_gradient_clipping: True; min_dropout: .2, max_dropout: 5e-1f >
increase_complexity_minimum_trials: [0x2, 010]
user_suggestions {
  architecture: "IDENTITY"
  hparams: { hparam { key: "learning_rate" value { float_value: 0.01 } } }
}
user_suggestions: [ { architecture: [] }, < > ]
"""


def test_all_the_ways_to_write_are_read():
    parsed = parse(ARCHIVED_STYLE)
    assert parsed.problems == ()
    spec = parsed.spec
    assert list(spec.blocks_to_use) == ["FULLY_CONNECTED", "IDENTITY", "LOWRANK_1"]
    assert spec.learning_spec.apply_gradient_clipping
    assert spec.learning_spec.max_dropout == 0.5
    assert list(spec.increase_complexity_minimum_trials) == [2, 8]
    assert len(spec.user_suggestions) == 3
    assert spec.user_suggestions[0].hparams.hparam["learning_rate"].float_value == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("search_type",), (2, 14)),
        (("blocks_to_use", 0), (3, 16)),
        (("blocks_to_use", 2), (4, 29)),
        (("learning_spec",), (5, 1)),
        (("learning_spec", "min_dropout"), (5, 61)),
        (("increase_complexity_minimum_trials", 1), (6, 43)),
        (("user_suggestions", 0, "architecture", 0), (8, 17)),
        (("user_suggestions", 0, "hparams", "hparam", "learning_rate"), (9, 44)),
        (("user_suggestions", 1), (11, 21)),
        (("user_suggestions", 2), (11, 43)),
    ],
)
def test_places(path, place):
    assert parse(ARCHIVED_STYLE).positions.places[path] == place


def test_a_place_that_the_text_lacks_is_that_of_the_message_around_it():
    positions = parse("learning_spec {\n  min_dropout: 0.1\n}\n").positions
    assert positions.find([("learning_spec", "max_dropout")]) == (1, 1)
    assert positions.find([("learning_spec", "max_dropout"), ("learning_spec", "min_dropout")]) == (2, 16)
    assert positions.find([("beam_size",)]) is None


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("beam_sise: 3", 1, 1, "PhoenixSpec has no field 'beam_sise'; the nearest names are beam_size."),
        ("\n  learning_spec { momentum: 1 }", 2, 19, "LearningSpec has no field 'momentum'"),
        ("zzzz { a { b: [1, {}] } }", 1, 1, "no field 'zzzz'; docs/spec.md lists the fields"),
        ("zzzz: 'a' 'b'", 1, 1, "no field 'zzzz'"),
        ("beam_size: 3 beam_size: 4", 1, 14, "beam_size is given a second time"),
        ("learning_spec {} learning_spec {}", 1, 18, "learning_spec is given a second time"),
        ("ensemble_spec { adaptive_search {} nonadaptive_search {} }", 1, 36, "given beside adaptive_search"),
        ("beam_size: five", 1, 12, "beam_size is five; expected a whole number."),
        ("beam_size: 99999999999", 1, 12, "expected a whole number"),
        ('beam_size: "5"', 1, 12, 'beam_size is "5"; expected a whole number.'),
        ("temperature: hot", 1, 14, "temperature is hot; expected a number."),
        ("replicate_cell: maybe", 1, 17, "replicate_cell is maybe; expected true or false."),
        ("blocks_to_use: IDENTITY", 1, 16, "blocks_to_use is IDENTITY; expected a text in quotes."),
        ("blocks_to_use: ['A',\n IDENTITY]", 2, 2, "blocks_to_use is IDENTITY"),
        ("problem_type: DN", 1, 15, r"problem_type is DN \(perhaps DNN\); expected one of UNKNOWN_PROBLEM_TYPE, CNN"),
        ("search_type: 3", 1, 14, "search_type is 3; expected one of"),
        ("beam_size 3", 1, 11, "Found '3', expected : after beam_size."),
        ("beam_size:", 1, 11, "Found the end of the text, expected a value for beam_size."),
        ("zzzz:", 1, 6, "Found the end of the text, expected the value of zzzz."),
        ("zzzz 1", 1, 6, "Found '1', expected the value of zzzz."),
        ("zzzz { [", 1, 8, r"This '\[' is never closed."),
        ("learning_spec\n {", 2, 2, "This '{' is never closed."),
        ("learning_spec: 3", 1, 16, "Found '3', expected the { of learning_spec."),
        ("learning_spec { >", 1, 17, "Found '>', expected the name of a field."),
        ("}", 1, 1, "Found '}', expected the name of a field."),
        ('blocks_to_use: "A', 1, 16, "Found '\"', expected a value for blocks_to_use."),
        ('blocks_to_use: ["A" 3]', 1, 21, r"Found '3', expected , or \] in the list of blocks_to_use."),
        ("user_suggestions: [{} {}]", 1, 23, r"Found '{', expected , or \] in the list of user_suggestions."),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text, line, column, message):
    problems = parse(text).problems
    assert [(problem.line, problem.column) for problem in problems] == [(line, column)]
    assert re.search(message, problems[0].message)


def test_what_only_protobuf_notices_is_told_too():
    (problem,) = parse('\nblocks_to_use: "\\xff"').problems
    assert problem.message
    assert not parse('blocks_to_use: "\\xff"').is_complete


def test_all_that_can_be_read_is_kept():
    parsed = parse(
        "foo: 1 beam_size: x minimum_depth: 4 blocks_to_use: ['A', B, 'C'] learning_spec { bar {} min_dropout: 1 }"
    )
    assert len(parsed.problems) == 4
    assert parsed.spec == PhoenixSpec(minimum_depth=4, blocks_to_use=["A", "C"], learning_spec={"min_dropout": 1})
    assert parsed.positions.places["blocks_to_use", 1] == (1, 62)


def test_deep_nesting_is_no_trouble():
    (problem,) = parse("zzzz " + "{ a " * 5000).problems
    assert "never closed" in problem.message
