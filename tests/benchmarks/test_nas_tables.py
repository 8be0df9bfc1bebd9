"""The bench of tables, on a table made here: 3 positions, digits 0 to 2, where more is better."""

import itertools
import pathlib
import sys

import numpy as np
import pytest

from model_search.ranking import Objective

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def nas():
    """The two modules of the bench, which lie beside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import nas_study
        import nas_tables

        yield nas_tables, nas_study
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def folder(tmp_path):
    rng, lines = np.random.default_rng(0), ["architecture,accuracy_run1,accuracy_run2,accuracy_run3,params"]
    for digits in itertools.product(range(3), repeat=3):
        runs = 90 + sum(digits) + 0.02 * rng.standard_normal(3)
        lines.append(f"{''.join(map(str, digits))},{','.join(map(str, runs))},1")
    (tmp_path / "tiny.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def _print(nas, folder, capsys, *more):
    arguments = ["--tables", str(folder), "--table", "tiny.csv:3", "--seeds", "3", "--trials", "20", "--most", "30"]
    nas[0].main([*arguments, "--parallel-trials", "20", "--contestants", "default,random,beam", *more])
    return capsys.readouterr().out


def test_every_question_is_answered_for_every_contestant(nas, folder, capsys):
    out = _print(nas, folder, capsys)
    assert "27 studies, 3 seeds" in out
    for heading in ("tiny: one run a trial", "tiny: mean of three", "tiny: four workers"):
        _, _, part = out.partition(heading)
        assert {line.split()[0] for line in part.split("\n\n")[0].splitlines()[1:] if line[:1].strip()} == {
            "default",
            "random",
            "beam",
        }


def test_a_second_call_takes_results_from_the_file(nas, folder, capsys):
    file = folder / "results.json"
    first = _print(nas, folder, capsys, "--results", str(file))
    (folder / "tiny.csv").unlink()
    assert _print(nas, folder, capsys, "--results", str(file)).splitlines()[1:] == first.splitlines()[1:]


def test_several_processes_give_the_same_figures(nas, folder, capsys):
    def figures(*more):
        return [line[:60] for line in _print(nas, folder, capsys, "--modes", "mean,parallel", *more).splitlines()[1:]]

    assert figures("--jobs", "2") == figures()


def test_the_whole_table_is_found_and_no_network_is_tried_twice(nas, folder):
    nas_study = nas[1]
    table = nas_study.NasTable.read(folder / "tiny.csv", nas_study.Rules(3, "0", ((0, 2),)))
    study = nas_study.Study(table, "random", seed=1)
    tried = []
    for _ in range(21):
        tried.append(table.equivalent(study.start()))
        study.finish(0.0)
    # Of the 9 ends of a network two pairs are the same: 01 and 10, 02 and 20.
    assert len(set(tried)) == 21 == 3 * 7


def test_the_best_is_reached_by_its_mean(nas, folder):
    nas_tables, nas_study = nas
    table = nas_study.NasTable.read(folder / "tiny.csv", nas_study.Rules(3))
    assert table.best == table.mean(["TABLE_2", "TABLE_2", "TABLE_2"])
    trials = [nas_tables.until_good(table, "random", seed, 27)["trials"] for seed in range(5)]
    assert max(trials) <= 27
    assert len(set(trials)) > 1


def test_a_table_of_another_length_is_refused(nas, folder):
    nas_study = nas[1]
    with pytest.raises(ValueError, match="has 3 positions, not 4"):
        nas_study.NasTable.read(folder / "tiny.csv", nas_study.Rules(4))


def test_without_a_folder_of_tables_it_says_how_to_name_one(nas, monkeypatch):
    monkeypatch.delenv("MODEL_SEARCH_DATASETS", raising=False)
    with pytest.raises(SystemExit, match="name their folder with --tables"):
        nas[0].main([])


def test_lower_bound_of_paired_differences(nas):
    import nas_report

    assert nas_report.lower_bound(np.array([1.0, 1.0, 1.0])) == 1.0
    assert nas_report.lower_bound(np.array([0.0, 2.0])) == pytest.approx(1 - 1.645)
    assert nas_report.lower_bound(np.array([1.0])) == -np.inf


def test_models_until_a_level_is_reached(nas):
    import search_on_data

    assert search_on_data.models_until([0.1, 0.5, 0.4], 0.4, Objective("accuracy", "maximize"), 10) == 2
    assert search_on_data.models_until([0.1, 0.5, 0.4], 0.1, Objective("rmse", "minimize"), 10) == 1
    assert search_on_data.models_until([0.1, 0.2], 0.3, Objective("accuracy", "maximize"), 10) == 20


def test_what_a_search_has_is_the_mean_of_its_best_three_trained_again(nas):
    import search_on_data

    scores, again = [0.5, 0.9, 0.6, 0.7, 0.1], {0: 0.4, 1: 0.6, 2: 0.5, 3: 0.8}
    accuracy, rmse = Objective("accuracy", "maximize"), Objective("rmse", "minimize")
    assert search_on_data.leaders(scores, accuracy) == [[0], [1, 0], [1, 2, 0], [1, 3, 2], [1, 3, 2]]
    expected = [0.4, 0.5, 0.5, 1.9 / 3, 1.9 / 3]
    assert search_on_data.reached(scores, again, accuracy) == pytest.approx(expected)
    # The last one failed when it was trained again.
    assert search_on_data.reached(scores, again, rmse)[-1] == pytest.approx((0.9 + 0.4 + 0.5) / 3)


@pytest.mark.parametrize(
    "contestant", ["any_depth/random", "default/random", "unprimed/predictor", "GRID_SEARCH/random"]
)
def test_searches_on_data_differ_by_their_search_only(nas, contestant):
    import search_on_data

    from model_search.spec.load import load_spec

    spec = load_spec(search_on_data.spec_of(contestant, seed=1, models=4))
    assert not spec.HasField("ensemble_spec")
    assert len(spec.blocks_to_use) == 11
    suggested = [tuple(tower.architecture) for tower in spec.user_suggestions]
    assert len(set(suggested)) == (4 if contestant.startswith("any") else 0)
    assert spec.starting_points == (not contestant.startswith("unprimed"))


def test_starting_points_are_chosen_for_what_they_add(nas):
    """The second best on both tables brings less than one that is good where the first one is not."""
    import starting_points

    scores = np.array([[1.0, 0.9, 0.0, 0.2], [0.5, 0.4, 1.0, 0.0]])
    chosen = starting_points.choose(scores, 3)
    assert [place for place, _ in chosen[:2]] == [0, 2]
    assert len({place for place, _ in chosen}) == 3 and chosen[1][1] == 0
