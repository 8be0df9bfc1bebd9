"""A small search on shipped real data, run once for all tests that only read its study."""

import pathlib

import pytest

from model_search import constants, single_trainer
from model_search.data import csv_data

DATA = pathlib.Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session")
def cancer_csv():
    return DATA / "breast_cancer.csv"


@pytest.fixture(scope="session")
def search():
    """Runs a search; keyword arguments go to `try_models`."""

    def run(root, provider, number_models=3, **options):
        arguments = {
            "train_steps": 60,
            "eval_steps": 10,
            "batch_size": 32,
            "experiment_name": "study",
            "experiment_owner": "tests",
            "seed": 1,
            "progress": False,
            "finish": "neither",
        } | options
        return single_trainer.SingleTrainer(data=provider, spec=constants.DEFAULT_DNN).try_models(
            number_models=number_models, root_dir=root, **arguments
        )

    return run


@pytest.fixture(scope="session")
def cancer_study(tmp_path_factory, search, cancer_csv):
    root = tmp_path_factory.mktemp("runs")
    return search(root, csv_data.Provider(filename=str(cancer_csv), label="diagnosis"), number_models=4)
