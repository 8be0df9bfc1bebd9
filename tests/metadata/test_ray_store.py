"""The store and the files behind Ray actors keep the contracts. One actor serves all tests."""

import sys

import pytest
from artefact_contract import ArtefactContract
from made_records import RECORD
from store_contract import StoreContract

from model_search.errors import StoreError
from model_search.metadata.ray_store import FileKeeper, RayArtefacts, RayStore, StoreKeeper


class Wandering:
    """An actor that keeps one study after the other."""

    def news(self, since):
        return self.store.news(since)

    def move(self, folder):
        self.store = StoreKeeper(f"{folder}/study.db")
        self.files = FileKeeper(str(folder))

    def ask(self, *arguments):
        return self.store.ask(*arguments)

    def write(self, *arguments):
        return self.files.write(*arguments)

    def read(self, *arguments):
        return self.files.read(*arguments)

    def delete(self, *arguments):
        return self.files.delete(*arguments)


@pytest.fixture(scope="module")
def actor(ray, cluster):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray.remote(Wandering).remote()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def keeper(ray, actor, tmp_path):
    ray.get(actor.move.remote(str(tmp_path)))
    return actor


class TestRayStore(StoreContract):
    @pytest.fixture
    def open_store(self, keeper):
        return lambda: RayStore(keeper)


class TestRayArtefacts(ArtefactContract):
    @pytest.fixture
    def artefacts(self, keeper):
        return RayArtefacts(keeper)

    @pytest.fixture
    def overwrite(self, tmp_path):
        def act(artefact, content):
            path = tmp_path / artefact.path
            path.unlink() if content is None else path.write_bytes(content)

        return act


def test_only_the_methods_of_a_store_are_called(ray, keeper):
    done, answer = ray.get(keeper.ask.remote("__reduce__", (), {}))
    assert not done
    assert isinstance(answer, StoreError)


def test_an_actor_knows_its_own_claims_from_those_of_another_program(tmp_path):
    ours, theirs = (StoreKeeper(f"{tmp_path}/study.db") for _ in range(2))
    first, second, third = (keeper.ask("claim", ("ray-1", 9), {})[1] for keeper in (ours, theirs, ours))
    assert [claim.trial_id for claim in (first, second, third)] == [1, 2, 3]
    assert ours.claims(["ray-1", "ray-2"]) == [third]
    assert theirs.claims(["ray-1"]) == [second]


def test_an_actor_that_has_ended_is_reported(ray, keeper, tmp_path):
    short = ray.remote(num_cpus=0)(StoreKeeper).remote(str(tmp_path / "other.db"))
    store = RayStore(short)
    store.create_study(RECORD)
    ray.kill(short)
    with pytest.raises(StoreError, match="run it again"):
        while True:  # it may answer once more: it is killed while the call goes on
            store.study()
