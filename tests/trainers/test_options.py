import ast
import inspect
import pathlib
import re

import pytest

from model_search import single_trainer
from model_search.errors import UserError
from model_search.trainers.options import SearchOptions, as_callbacks, as_root_dir

GOOD = {
    "number_models": 3,
    "train_steps": 10,
    "eval_steps": 5,
    "root_dir": pathlib.Path("runs"),
    "batch_size": 8,
    "experiment_name": "x",
    "experiment_owner": "me",
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("number_models", 0, "number_models is 0"),
        ("number_models", 2.5, "number_models is 2.5"),
        ("number_models", True, "number_models is True"),
        ("train_steps", -1, "train_steps is -1"),
        ("batch_size", "32", "batch_size is '32'"),
        ("eval_steps", 0, "eval_steps is 0"),
        ("seed", -5, "seed is -5"),
        ("goal", "up", "goal is 'up'"),
        ("sampler", "grid", "sampler is 'grid'"),
        ("time_limit", 0, "time_limit is 0"),
        ("time_limit", "1h", "time_limit is '1h'"),
        ("experiment_name", "", "experiment_name is ''"),
        ("callbacks", (3,), "callbacks holds 3"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_received(name, value, words):
    with pytest.raises(UserError, match=words):
        SearchOptions(**{**GOOD, name: value})


def test_seed_zero_and_numpy_whole_numbers_are_accepted():
    import numpy as np

    options = SearchOptions(**{**GOOD, "seed": 0, "number_models": np.int64(4)})
    assert options.seed == 0
    assert options.number_models == 4


def test_callbacks_may_be_one_function_several_or_none():
    assert as_callbacks(None) == ()
    assert as_callbacks(print) == (print,)
    assert as_callbacks([print, len]) == (print, len)


def test_root_dir_knows_the_home_folder_and_refuses_what_is_no_path():
    assert as_root_dir("~/x") == pathlib.Path.home() / "x"
    with pytest.raises(UserError, match="root_dir is 3"):
        as_root_dir(3)


@pytest.mark.parametrize("page", ["workers.md", "cluster.md"])
def test_documented_arguments_are_there(page):
    text = (pathlib.Path(__file__).parents[2] / "docs" / page).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    call = ast.parse(code).body[0].value
    given = {keyword.arg for keyword in call.keywords}
    known = inspect.signature(single_trainer.SingleTrainer.try_models).parameters
    assert given <= set(known)
    assert {name for name, parameter in known.items() if parameter.default is parameter.empty} - {"self"} <= given
