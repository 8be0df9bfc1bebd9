"""The comparison of the default with every other search: landscapes, the two kinds of failure, and the statistics."""

import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """The modules of the benchmark, which lie beside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import landscapes
        import nas_study
        import search_bench

        yield search_bench, landscapes, nas_study
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def folder(tmp_path):
    """A table of 5 positions and two blocks, without the networks that begin with 11."""
    lines = ["architecture,accuracy_run1,accuracy_run2,accuracy_run3"]
    for number in range(32):
        name = f"{number:05b}"
        if not name.startswith("11"):
            lines.append(f"{name},{number},{number},{number}")
    (tmp_path / "nas_bench_graph_cora.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def _plans(bench, space, seed, trials, contestant="random"):
    searched = bench[2].Study(space, contestant, seed)
    for _ in range(trials):
        searched.start()
        yield searched.plan()
        searched.fail()


def test_there_are_landscapes_of_many_kinds(bench):
    assert len(bench[1].LANDSCAPES) >= 12


@pytest.mark.parametrize(
    "name",
    [
        "additive",
        "nk2",
        "nk4_binary",
        "wide",
        "dead_ends",
        "many_names",
        "plateaus",
        "heavy_tail",
        "failing_30",
        "failing_90",
    ],
)
def test_the_best_of_a_landscape_is_the_best_of_its_table(bench, name):
    found = bench[1].LANDSCAPES[name](3)
    assert found.best == np.nanmax(found.table)
    plans = list(_plans(bench, found, 0, 5))
    shown = [found.value(plan) for plan in plans]
    assert all(np.isnan(value) or value <= found.best for value in shown)
    np.testing.assert_array_equal(found.table, bench[1].LANDSCAPES[name](3).table)
    assert not np.array_equal(found.table, bench[1].LANDSCAPES[name](4).table, equal_nan=True)


def test_the_best_of_a_space_of_free_length_is_found_by_trying_all(bench):
    found = bench[1]._free_length(3, blocks=2, most=3)
    values = [found.value(plan) for plan in _plans(bench, found, 0, 14, "grid")]
    assert len({tuple(plan.architecture) for plan in _plans(bench, found, 0, 14, "grid")}) == 14
    assert max(values) == found.best


def test_the_best_network_needs_its_own_learning_rate(bench):
    found = bench[1].LANDSCAPES["tuned"](1)
    plans = list(_plans(bench, found, 0, 60))
    assert len({plan.hyperparameters["learning_rate"] for plan in plans}) > 30
    assert max(found.value(plan) for plan in plans) <= found.best


@pytest.mark.parametrize(
    ("name", "low", "high"), [("failing_10", 0.1, 0.25), ("failing_30", 0.3, 0.45), ("failing_90", 0.9, 0.92)]
)
def test_some_networks_cannot_be_trained(bench, name, low, high):
    assert low <= np.mean([np.isnan(bench[1].LANDSCAPES[name](seed).table).mean() for seed in range(5)]) <= high


def test_noise_is_as_large_as_the_spread_of_the_best_tenth(bench):
    found = bench[1].LANDSCAPES["noise_full"](1)
    best = np.sort(found.table.ravel())[-found.table.size // 10 :]
    assert found.noise == pytest.approx(best.std(), rel=1e-3)
    plan, rng = next(_plans(bench, found, 0, 1)), np.random.default_rng(0)
    assert np.std([found.shown(plan, rng) for _ in range(500)]) == pytest.approx(found.noise, rel=0.2)


def test_a_network_that_the_table_does_not_list_is_a_failed_trial(bench, folder):
    search_bench = bench[0]
    space = search_bench.load("nas_bench_graph_cora", 0, str(folder))
    unlisted = next(plan for plan in _plans(bench, space, 1, 30) if space.digits(plan.architecture)[:2] == "11")
    assert np.isnan(space.value(unlisted))
    found = search_bench.study(search_bench.Job("nas_bench_graph_cora", "random", 1, (5, 30)), str(folder))
    assert found["failed"] > 0
    assert found["regret"][1] == 0 <= found["regret"][0]


def test_one_table_with_every_contestant_and_the_same_from_the_file(bench, capsys, tmp_path):
    arguments = ["--spaces", "nk1,noise_half", "--contestants", "default,random,local", "--seeds", "2", "--at", "4,8"]
    arguments += ["--results", str(tmp_path / "results.json"), "--variants", "default:most_steps=0.2"]
    assert bench[0].main(arguments) == 0
    first = capsys.readouterr().out
    assert first.splitlines()[0].startswith("16 studies")
    assert first.count("nk1 ") == first.count("noise_half ") == 2
    for words in ("worse than the best other (Holm, 5 %)", "within one standard error", "mean rank: "):
        assert first.count(words) == 2  # of the default, and of what was chosen without each space
    assert "chosen without these: default: nk1, noise_half" in first
    kept = (tmp_path / "results.json").read_text()
    bench[0].main([*arguments, "--jobs", "2"])
    assert capsys.readouterr().out.splitlines()[1:] == first.splitlines()[1:]
    assert (tmp_path / "results.json").read_text() == kept


@pytest.mark.parametrize("names", ["default", "random,local", "default,default:most_process=0"])
def test_a_comparison_needs_somebody_to_compare_with(bench, names):
    with pytest.raises(SystemExit, match="expected default and one that it is compared with"):
        bench[0].main(["--spaces", "nk1", "--contestants", names, "--variants", "default:most_process=0"])


def test_several_processes_give_the_same_regrets(bench, capsys):
    arguments = ["--spaces", "nk1,failing_10", "--contestants", "random,local", "--seeds", "2", "--at", "5"]
    arguments += ["--default", "local", "--variants", ""]
    bench[0].main(arguments)
    alone = capsys.readouterr().out.splitlines()[1:]
    bench[0].main([*arguments, "--jobs", "2"])
    assert capsys.readouterr().out.splitlines()[1:] == alone


def test_other_seeds_make_other_studies(bench, capsys, tmp_path):
    file = tmp_path / "results.json"
    arguments = [
        "--spaces",
        "nk1",
        "--contestants",
        "random,local",
        "--default",
        "local",
        "--at",
        "5",
        "--variants",
        "",
    ]
    bench[0].main([*arguments, "--seeds", "2", "--first-seed", "7", "--results", str(file)])
    assert capsys.readouterr().out.startswith("4 studies")
    assert sorted({key.split("/")[2] for key in json.loads(file.read_text())}) == ["7", "8"]


def test_an_unknown_space_is_refused(bench):
    with pytest.raises(SystemExit, match="unknown spaces: nk9; there are additive"):
        bench[0].main(["--spaces", "nk9"])


def test_the_default_is_compared_with_the_best_of_the_others(bench):
    regrets = {"default": np.array([2.0, 3.0]), "a": np.array([9.0, 9.0]), "b": np.array([1.0, 2.2])}
    cell = bench[0].compare("space", 50, regrets, "default")
    assert (cell.rival, cell.rank) == ("b", 2)
    assert cell.excess == pytest.approx(0.9)
    assert cell.error == pytest.approx(0.1)
    assert not cell.is_close
    assert 0.03 < cell.p < 0.04  # t of 9 with one degree of freedom


def test_equal_regrets_are_no_loss(bench):
    regrets = {"default": np.zeros(3), "a": np.zeros(3), "b": np.ones(3)}
    cell = bench[0].compare("space", 50, regrets, "default")
    assert (cell.p, cell.rank, cell.is_close) == (1.0, 1.5, True)


def test_a_variant_is_chosen_by_the_other_spaces(bench):
    def regrets(default, variant):
        return {"default": np.array([[default]]), "variant": np.array([[variant]]), "random": np.array([[10.0]])}

    of = {"one": regrets(1.0, 9.0), "two": regrets(3.0, 2.0), "three": regrets(3.0, 2.5)}
    chosen = {space: bench[0].chosen_without(space, of, ["default", "variant"]) for space in of}
    assert chosen == {"one": "variant", "two": "default", "three": "default"}
    assert bench[0].chosen_without("one", {"one": of["one"]}, ["default", "variant"]) == "default"


def test_a_variant_is_asked_for_by_its_settings(bench):
    spec = bench[1].LANDSCAPES["nk1"](0).spec("default:most_steps=0.25")
    assert spec.search_settings.hparam["most_steps"].float_value == 0.25
    assert bench[1].LANDSCAPES["nk1"](0).spec("default:version=5").search_settings.hparam["version"].int64_value == 5
    keys = {bench[0].Job("nk1", name, 0, (5,)).key("") for name in ("default", "default:most_steps=0.25")}
    assert len({key.rsplit("/", 1)[1] for key in keys}) == 2


def test_many_comparisons_are_corrected(bench):
    assert bench[0].significant([0.02, 0.04]) == [True, True]
    assert bench[0].significant([0.03, 0.04]) == [False, False]
    assert bench[0].significant([0.03, 0.01]) == [True, True]
    assert bench[0].significant([0.2, 0.01]) == [False, True]
