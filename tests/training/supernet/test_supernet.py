import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from model_search import cells
from model_search.cells import CellKind, CellLayout
from model_search.data import image_data
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import TrialError
from model_search.metadata.trial import StartKind, SupernetPlan, TrialKind, TrialPlan, WarmStart
from model_search.training.evaluator import make_evaluator
from model_search.training.outcome import Given, TrainingSettings
from model_search.training.supernet import evaluator as supernets
from model_search.training.supernet.darts import Curvature
from model_search.training.supernet.network import Mixture, Path, Sampled, SharedNetwork
from model_search.training.supernet.paths import Paths

OPERATIONS = ("CELL_IDENTITY", "CELL_SEPARABLE_CONVOLUTION_3X3", "CELL_DILATED_CONVOLUTION_3X3", "CELL_MAX_POOLING_3X3")
POSITIONS = tuple(
    itertools.chain.from_iterable(
        cells.positions(kind, 2, OPERATIONS) for kind in (CellKind.NORMAL, CellKind.REDUCTION)
    )
)
SPACE = SupernetPlan("SPOS", POSITIONS, 6)
LAYOUT = {"cell_channels": 3, "cell_repeats": 1, "cell_stem_stride": 2, "cell_reductions": 1}


def test_a_path_computes_what_the_stock_tower_with_its_weights_does():
    """In training, with statistics of the batch; and with those of the first rows, for the rows after them."""
    from model_search.data.rows import InputSpec
    from model_search.towers.builder import TowerSpec, build_tower
    from model_search.towers.weight_names import tower_weight_names

    rng, paths = np.random.default_rng(0), Paths(SPACE)
    network = SharedNetwork(POSITIONS, CellLayout.of(LAYOUT), (9, 9, 2), 4)
    weights = {name: value + 0.1 * rng.normal(size=value.shape) for name, value in network.initial(rng).items()}
    weights = {name: value.astype("float32") for name, value in weights.items()}
    maps = rng.normal(size=(10, 9, 9, 2)).astype("float32")
    path = paths.random(rng)
    architecture = (*paths.architecture(path), "PLATE_REDUCTION_FLATTEN")
    tower = build_tower(TowerSpec(architecture, {"image": InputSpec((9, 9, 2))}, 4, "CNN", block_hparams=LAYOUT))
    names = tower_weight_names(tower, architecture)
    assert {name for name in names if "moving" not in name} <= set(weights)
    tower.set_weights([weights.get(name, value) for name, value in zip(names, tower.get_weights(), strict=True)])
    choice = Path(tf.constant(path))
    np.testing.assert_allclose(network.logits(weights, maps, choice), tower(maps, training=True), atol=1e-5)
    for layer in tower.layers:
        if "norm" in layer.name:
            layer.momentum = 0.0
    tower(maps[:6], training=True)
    found = network.logits(weights, maps, choice, reference=6)[6:]
    np.testing.assert_allclose(found, tower(maps[6:], training=False), atol=1e-5)
    shares = [np.eye(len(names), dtype="float32")[number] for names, number in zip(POSITIONS, path, strict=True)]
    np.testing.assert_allclose(
        network.logits(weights, maps, Mixture(shares)), network.logits(weights, maps, choice), atol=1e-5
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 90)
    pictures = rng.integers(0, 100, (90, 6, 6, 1)) + 100 * labels[:, None, None, None]
    provider = image_data.Provider(x=pictures.astype("uint8"), y=labels)
    return provider.prepare(PrepareOptions(seed=0, batch_size=8))


def plan(first, end, total=12, candidates=6, trial=1, **others):
    reductions = 0 if others.get("positions") in (SMALL, TINY) else 1
    start = WarmStart(StartKind.RESUME, (trial - 1,)) if first else None
    return TrialPlan(
        trial, TrialKind.SUPERNET, (), {"learning_rate": 0.01, **LAYOUT, "cell_reductions": reductions}, end, 8, 3,
        f"part {end}", start=start, first_step=first, total_steps=None if end == total else total,
        supernet=dataclasses.replace(SPACE, candidates=candidates if end == total else 0, **others),
    )  # fmt: skip


def evaluator(data):
    return make_evaluator("supernet", data, TrainingSettings("CNN", "accuracy", "maximize"))


def test_a_supernet_compares_architectures_each_once_random_ones_first(data):
    seen = []
    outcome = evaluator(data).run(plan(0, 12), on_progress=lambda now: seen.append(now.step))
    assert seen[0] == 0 and outcome.best_step == 12
    assert len({candidate.choices for candidate in outcome.candidates}) == 6
    assert [candidate.random for candidate in outcome.candidates] == [True, True, False, False, False, False]
    assert all(0 <= candidate.value <= 1 for candidate in outcome.candidates)
    assert "accuracy" not in outcome.metrics and np.isfinite(list(outcome.metrics.values())).all()
    paths = Paths(SPACE)
    assert all(
        paths.path(paths.architecture(candidate.choices)) == candidate.choices for candidate in outcome.candidates
    )


def test_a_second_part_goes_on_from_what_the_first_one_stored(data):
    first = evaluator(data).run(plan(0, 6))
    assert first.candidates == () and first.optimizer.updates == 6
    given = Given(first.weights, optimizer=first.optimizer)
    second = evaluator(data).run(plan(6, 12, trial=2), given)
    again = evaluator(data).run(plan(6, 12, trial=2), given)
    assert second.candidates == again.candidates and len(second.candidates) == 6
    changed = [name for name in first.weights if not np.array_equal(first.weights[name], second.weights[name])]
    assert "stem_convolution/kernel" in changed
    counts = second.optimizer.slots[2]
    assert counts["stem_convolution/kernel"].max() == 12
    edge = "cell_0_normal_node_1_b_separable_convolution_3x3_convolution/kernel"
    assert counts[edge].max() < 12  # weights that take no part are left alone


OF_DARTS = {"alpha_learning_rate": 0.1, "temperature": 1.0}
OF_ENAS = {"controller_units": 4, "controller_every": 2, "controller_learning_rate": 0.1, "entropy_weight": 0.01}
SMALL = tuple(cells.positions(CellKind.NORMAL, 1, ("CELL_IDENTITY", "CELL_CONVOLUTION_1X1")))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ENAS", OF_ENAS),
        ("DARTS", {**OF_DARTS, "order": 1, "last_temperature": 0.5, "most_identities": 0}),
        ("DARTS", {**OF_DARTS, "order": 1, "last_temperature": 0.5, "most_identities": 0, "sampled": True}),
    ],
)
def test_other_methods_learn_something_of_their_own_and_go_on(data, method, settings):
    given = {"method": method, "settings": settings, "positions": SMALL}
    first = evaluator(data).run(plan(0, 4, total=8, **given))
    learnt = {name: array for name, array in first.weights.items() if name.startswith("method/")}
    assert learnt and all(np.isfinite(array).all() for array in learnt.values())
    parts = plan(4, 8, total=8, trial=2, candidates=4, **given)
    second = evaluator(data).run(parts, Given(first.weights, optimizer=first.optimizer))
    assert len({candidate.choices for candidate in second.candidates}) == 4
    assert second.weights["method/counts"].max() == 8


def test_the_second_order_differs_and_shares_stay_where_skips_take_over(data):
    found = {}
    for order, most in ((1, 0), (2, 1)):
        settings = {**OF_DARTS, "order": order, "last_temperature": 1.0, "most_identities": most}
        given = {"method": "DARTS", "settings": settings, "positions": SMALL}
        found[order] = evaluator(data).run(plan(0, 3, total=8, **given)).weights["method/alphas"]
    assert np.isfinite(found[2]).all() and not np.allclose(found[1], found[2])


def of_darts(**settings):
    settings = {**OF_DARTS, "order": 1, "last_temperature": 1.0, "most_identities": 0, **settings}
    return {"method": "DARTS", "settings": settings, "positions": SMALL}


def test_shares_stay_while_weights_warm_up(data):
    alphas = [
        evaluator(data).run(plan(0, steps, total=8, **of_darts(warm_up=share))).weights["method/alphas"]
        for steps, share in ((1, 0.5), (4, 0.5), (5, 0.5), (4, 0.0))
    ]
    np.testing.assert_array_equal(alphas[0], alphas[1])
    assert np.abs(alphas[2] - alphas[1]).max() == pytest.approx(0.1, rel=0.01)  # the first step of Adam
    assert np.abs(alphas[3] - alphas[1]).max() > 0.1


def test_sampled_updates_leave_the_weights_of_other_choices_alone(data):
    outcomes = [evaluator(data).run(plan(0, 4, total=8, **of_darts(sampled=sampled))) for sampled in (False, True)]
    counts = [
        [count.max() for name, count in outcome.optimizer.slots[2].items() if "_convolution_1x1_convolution" in name]
        for outcome in outcomes
    ]
    assert min(counts[0]) == 4  # a mixture trains everything
    assert min(counts[1]) < 4
    assert not np.array_equal(outcomes[0].weights["method/alphas"], outcomes[1].weights["method/alphas"])


def test_a_sampled_choice_is_the_path_and_its_shares_have_a_gradient():
    rng, paths = np.random.default_rng(0), Paths(SPACE)
    network = SharedNetwork(POSITIONS, CellLayout.of(LAYOUT), (9, 9, 2), 4)
    weights = network.initial(rng)
    maps = rng.normal(size=(10, 9, 9, 2)).astype("float32")
    path = tf.constant(paths.random(rng))
    shares = [tf.constant(np.full(len(names), 1 / len(names), np.float32)) for names in POSITIONS]
    with tf.GradientTape() as tape:
        tape.watch(shares)
        logits = network.logits(weights, maps, Sampled(path, shares))
        loss = tf.reduce_sum(tf.square(logits))
    np.testing.assert_allclose(logits, network.logits(weights, maps, Path(path)), atol=1e-5)
    found = tape.gradient(loss, shares)
    slopes = [
        np.zeros(len(names)) if slope is None else tf.convert_to_tensor(slope).numpy()
        for names, slope in zip(POSITIONS, found, strict=True)
    ]
    for slope, choice in zip(slopes, path.numpy(), strict=True):
        assert not np.delete(slope, choice).any()  # only the share of what was sampled
    # As large as where the share itself changes, by a finite difference of what it multiplies.
    place = max(range(len(slopes)), key=lambda position: np.abs(slopes[position]).max())
    width, losses = 1e-2, []
    for sign in (1, -1):
        grown = Grown(path, place, 1 + sign * width)
        losses.append(float(tf.reduce_sum(tf.square(network.logits(weights, maps, grown)))))
    assert slopes[place].sum() == pytest.approx((losses[0] - losses[1]) / (2 * width), rel=0.02)


class Grown(Path):
    """A path one of whose choices is multiplied by a number."""

    def __init__(self, choices, place, factor):
        super().__init__(choices)
        object.__setattr__(self, "place", place)
        object.__setattr__(self, "factor", factor)

    def one_of(self, position, makers):
        found = super().one_of(position, makers)
        return self.factor * found if position == self.place else found


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1)])
def test_the_curvature_is_the_eigenvalue_of_the_greatest_size(signs):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    hessian = turn @ np.diag(np.array([0.2, 3.0, 1.0]) * signs) @ turn.T
    curvature = Curvature(3, 0.75, rng)
    curvature.measure(np.zeros(3, np.float32), lambda change: hessian @ change)
    assert curvature.eigenvalues == [pytest.approx(3.0, rel=0.02)]


def test_where_the_loss_becomes_sharp_the_shares_of_before_come_back():
    rng, found = np.random.default_rng(0), []
    curvature = Curvature(1, 0.75, rng)
    for number, size in enumerate([1.0] * 9 + [2.5, 1.0] + [1.0] * 8 + [4.0]):
        found.append(curvature.measure(np.array([number], np.float32), lambda change, size=size: size * change))
        if number == 9:  # goes on in another process
            again = Curvature(1, 0.75, rng)
            again.load(curvature.state())
            curvature = again
    assert [number for number, earlier in enumerate(found) if earlier is not None] == [19]
    assert found[-1] == [14]  # the last of the five measurements before


def test_shares_stay_once_the_loss_has_become_sharp(data):
    settings = {**OF_DARTS, "order": 1, "last_temperature": 0.5, "most_identities": 0, "eigenvalue_ratio": 0.75}
    given = {"method": "DARTS", "settings": settings, "positions": SMALL}
    first = evaluator(data).run(plan(0, 4, total=8, **given))
    assert first.metrics["eigenvalue"] > 0 and first.metrics["shares_fixed"] == 0
    kept = np.arange(6 * 8, dtype=np.float32).reshape(6, 8)
    flat = {"method/eigenvalues": np.full(10, 1e-12), "method/kept": kept[:, : len(first.weights["method/alphas"])]}
    part = plan(4, 8, total=8, trial=2, candidates=2, **given)
    second = evaluator(data).run(part, Given(first.weights | flat, optimizer=first.optimizer))
    assert second.metrics["shares_fixed"] == 1 and len(second.weights["method/eigenvalues"]) == 11
    np.testing.assert_array_equal(second.weights["method/alphas"], flat["method/kept"][1])


def test_weights_of_another_supernet_are_refused(data):
    first = evaluator(data).run(plan(0, 6))
    weights = {**first.weights, "stem_convolution/kernel": np.zeros((3, 3, 1, 9), np.float32)}
    with pytest.raises(TrialError, match="not those of this supernet: stem_convolution/kernel"):
        evaluator(data).run(plan(6, 12, trial=2), Given(weights, optimizer=first.optimizer))


def test_when_told_to_stop_one_architecture_is_still_compared(data):
    outcome = evaluator(data).run(plan(0, 12), on_progress=lambda now: True)
    assert len(outcome.candidates) == 1 and outcome.best_step == 0


TINY = tuple(cells.positions(CellKind.NORMAL, 1, ("CELL_IDENTITY",)))


def untrained(monkeypatch):
    """Leaves the comparison alone."""
    monkeypatch.setattr(supernets._Run, "_train", lambda self: False)
    monkeypatch.setattr(supernets._Run, "_value", lambda self, path, rows=None: 0.5)


@pytest.mark.parametrize("method", ["SPOS", "ENAS"])
def test_a_space_that_is_exhausted_ends_the_comparison(data, monkeypatch, method):
    untrained(monkeypatch)
    drawn, random = [], Paths.random
    monkeypatch.setattr(Paths, "random", lambda self, rng: drawn.append(1) or random(self, rng))
    given = {"method": method, "settings": OF_ENAS, "positions": TINY}
    found = evaluator(data).run(plan(0, 1, total=1, candidates=100, **given)).candidates
    assert len({candidate.choices for candidate in found}) == len(found) < 10
    assert len(drawn) < 500


def test_a_comparison_hears_that_it_is_to_stop_while_all_it_draws_is_known(data, monkeypatch):
    untrained(monkeypatch)
    monkeypatch.setattr(supernets, "_REPORT_SECONDS", 0.0)
    asked = []

    def stop_after_twenty(now):
        asked.append(now.step)
        if len(asked) > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(data).run(
            plan(0, 1, total=1, candidates=100, method="SPOS", positions=TINY), on_progress=stop_after_twenty
        )
    assert len(asked) == 21


def test_shared_weights_learn(data):
    """Labels that the brightness gives are learnt by paths that were never trained alone."""
    outcome = evaluator(data).run(plan(0, 120, total=120))
    assert np.mean([candidate.value for candidate in outcome.candidates]) > 0.8
