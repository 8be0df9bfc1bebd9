"""Environments of the packages that benchmarks compare with, and the pictures that peers are given."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def modules():
    """The benchmarks lie beside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_an_environment_is_made_where_it_is_missing_or_has_other_requirements(tmp_path, monkeypatch):
    import peers

    commands = []

    def run(command, check):
        assert check
        commands.append([str(word) for word in command])
        (tmp_path / "one").mkdir(exist_ok=True)

    monkeypatch.setattr(subprocess, "run", run)
    for requirements, made in ((["a==1"], 1), (["a==1"], 1), (["a==2"], 2)):
        assert peers.interpreter("one", requirements, tmp_path) == str(tmp_path / "one" / "bin" / "python")
        installs = [command[3:] for command in commands if command[1] == "install"]
        assert len(installs) == made and installs[-1] == requirements


def test_an_environment_that_could_not_be_made_is_made_again(tmp_path, monkeypatch):
    import peers

    def fails(command, check):
        (tmp_path / "one").mkdir(exist_ok=True)
        if command[1] == "install":
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fails)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            peers.interpreter("one", ["a==1"], tmp_path)


def test_results_of_peers_are_kept_by_version_and_machine_and_ours_as_before():
    import modalities

    assert modalities.key_of("cifar5//5/1", "ours") == "cifar5//5/1"
    named = modalities.key_of("cifar5//5/1", "autokeras")
    assert named.startswith("cifar5//5/1/autokeras/autokeras==") and named != modalities.key_of("", "kerastuner")


def test_peers_validate_on_a_fifth_of_each_class():
    import picture_peers

    labels = np.repeat(np.arange(3), (10, 20, 5))
    given = picture_peers.Pictures(np.arange(35.0), np.eye(3)[labels])
    train, valid = given.split(seed=1)
    assert valid.y.sum(axis=0).tolist() == [2, 4, 1]
    assert sorted([*train.x, *valid.x]) == list(range(35))
    np.testing.assert_array_equal(given.split(seed=1)[1].x, valid.x)
    assert not np.array_equal(given.split(seed=2)[1].x, valid.x)
