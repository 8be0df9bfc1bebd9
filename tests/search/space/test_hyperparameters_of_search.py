import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model_search.search.space.hyperparameters import BINS, Choice, Condition, Real, Whole

seeds = st.integers(0, 2**32 - 1)


@st.composite
def reals(draw):
    log = draw(st.booleans())
    low, high = sorted(draw(st.tuples(*[st.floats(1e-9 if log else -1e6, 1e6)] * 2)))
    # Ranges narrower than ten steps between neighbouring floats have no ten bins to speak of.
    assume(low == high or high - low > 1e-6 * max(abs(low), abs(high)))
    return Real(name="x", minimum=low, maximum=high, log=log)


@st.composite
def wholes(draw):
    log = draw(st.booleans())
    low = draw(st.integers(1, 1000) if log else st.integers(-1000, 1000))
    return Whole(name="n", minimum=low, maximum=low + draw(st.integers(0, 300)), log=log)


choices = st.lists(st.one_of(st.integers(2, 9), st.text(max_size=3)), min_size=1, max_size=6, unique=True).map(
    lambda values: Choice(name="c", values=tuple(values))
)
parameters = st.one_of(reals(), wholes(), choices)


@given(parameters, seeds)
def test_a_drawn_value_is_its_own(parameter, seed):
    assert parameter.holds(parameter.draw(np.random.default_rng(seed)))


@given(parameters, seeds)
def test_a_value_drawn_in_a_bin_is_in_that_bin(parameter, seed):
    rng = np.random.default_rng(seed)
    assert [parameter.bin(parameter.draw_in(which, rng)) for which in parameter.bins] == list(parameter.bins)


@given(st.one_of(reals(), wholes()), seeds)
def test_bins_rise_with_the_value(parameter, seed):
    rng = np.random.default_rng(seed)
    values = sorted([parameter.minimum, parameter.maximum, *(parameter.draw(rng) for _ in range(20))])
    bins = [parameter.bin(value) for value in values]
    assert bins == sorted(bins)
    assert (bins[0], bins[-1]) == (parameter.bins[0], parameter.bins[-1])


@given(wholes())
def test_bins_of_whole_numbers_hold_one_value_at_least_and_differ_by_one_at_most_on_a_linear_scale(parameter):
    sizes = [0] * len(parameter.bins)
    for value in range(parameter.minimum, parameter.maximum + 1):
        sizes[parameter.bin(value)] += 1
    assert min(sizes) >= 1 and len(sizes) <= BINS
    if sum(sizes) <= BINS:
        assert sizes == [1] * sum(sizes)
    elif not parameter.log:
        assert len(sizes) == BINS and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("log", "value", "bin_"), [(True, 1e-4, 5), (True, 9e-5, 4), (False, 1e-4, 0), (True, 1e-2, 9)]
)
def test_bins_are_on_the_range_s_own_scale(log, value, bin_):
    assert Real(name="x", minimum=1e-6, maximum=1e-2, log=log).bin(value) == bin_


@pytest.mark.parametrize("value", [0.5, -1.0, "adam", 1e9])
def test_a_value_from_outside_is_a_bin_of_its_own(value):
    for parameter in (Real(name="x", minimum=1.0, maximum=2.0), Whole(name="n", minimum=1, maximum=3)):
        assert parameter.bin(value) == f"={value!r}"
        assert not parameter.holds(value)


def test_a_choice_bins_equal_numbers_together():
    choice = Choice(name="batch_size", values=(16, 32))
    assert choice.bin(32.0) == 32 and isinstance(choice.bin(32.0), int)
    assert choice.bin(64) == "=64" and not choice.holds(64)


def test_draws_are_uniform_on_the_scale():
    rng = np.random.default_rng(0)
    real = Real(name="x", minimum=1e-4, maximum=1e-2, log=True)
    assert 0.45 < np.mean([real.draw(rng) < 1e-3 for _ in range(2000)]) < 0.55
    whole = Whole(name="n", minimum=2, maximum=5)
    counts = np.bincount([whole.draw(rng) for _ in range(2000)], minlength=6)
    assert list(counts[:2]) == [0, 0] and counts[2:].min() > 400


def test_weights_are_kept():
    choice = Choice(name="c", values=("a", "b"), weights=(0.9, 0.1))
    rng = np.random.default_rng(0)
    assert 0.87 < np.mean([choice.draw(rng) == "a" for _ in range(2000)]) < 0.93


def test_a_range_without_width_has_one_value():
    real = Real(name="x", minimum=0.01, maximum=0.01, log=True)
    assert list(real.bins) == [0] and real.bin(0.01) == 0
    assert real.draw(np.random.default_rng(0)) == real.draw_in(0, np.random.default_rng(0)) == 0.01


def test_conditions():
    condition = Condition("optimizer", ("adam", "rmsprop"))
    assert condition.holds({"optimizer": "adam"})
    assert not condition.holds({"optimizer": "sgd"}) and not condition.holds({})


def test_whole_numbers_on_a_logarithmic_scale():
    units = Whole(name="units", minimum=16, maximum=256, log=True)
    rng = np.random.default_rng(0)
    drawn = [units.draw(rng) for _ in range(4000)]
    assert {type(value) for value in drawn} == {int} and min(drawn) == 16 and max(drawn) == 256
    assert 0.45 < np.mean([value <= 64 for value in drawn]) < 0.55
    assert [units.bin(value) for value in (16, 20, 21, 22, 63, 64, 85, 194, 195, 256)] == [0, 0, 0, 1, 4, 4, 6, 8, 9, 9]
    in_last = [units.draw_in(9, rng) for _ in range(400)]
    assert min(in_last) >= 194 and max(in_last) <= 256


def test_bins_without_a_whole_number_are_left_out():
    few = Whole(name="n", minimum=1, maximum=12, log=True)
    bins = [few.bin(value) for value in range(1, 13)]
    assert sorted(set(bins)) == list(few.bins) and bins == sorted(bins)
    assert bins[:4] == [0, 1, 2, 3] and bins[-1] == bins[-2]
    counts = np.bincount([few.draw(np.random.default_rng(seed)) for seed in range(2000)], minlength=13)
    assert counts[0] == 0 and counts[1] > 2 * counts[4] > 0


def test_a_linear_scale_of_whole_numbers_is_as_it_was():
    """Plans of earlier versions keep their keys."""
    for maximum in (3, 9, 10, 11, 57, 100, 128):
        parameter = Whole(name="n", minimum=0, maximum=maximum)
        count, bins = maximum + 1, min(maximum + 1, BINS)
        assert len(parameter.bins) == bins
        assert [parameter.bin(value) for value in range(count)] == [value * bins // count for value in range(count)]
