import ast
import dataclasses
import inspect
import pathlib
import re

import numpy as np
import pytest

from model_search import main, quick, single_trainer
from model_search.data import array_data, image_data
from model_search.errors import UserError
from model_search.trainers.option_fields import option_of
from model_search.trainers.options import SearchOptions, as_callbacks, as_root_dir

ROOT = pathlib.Path(__file__).parents[2]

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
        ("time_limit", float("inf"), "time_limit is inf"),
        ("experiment_owner", None, "experiment_owner is None; expected a text"),
        ("overwrite", "no", "overwrite is 'no'; expected True or False"),
        ("deterministic", 1, "deterministic is 1; expected True or False"),
        ("progress", "off", "progress is 'off'; expected True or False"),
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


def test_numbers_of_numpy_are_kept_as_those_of_python():
    given = {"number_models": np.int64(4), "time_limit": np.float32(5), "deterministic": np.bool_(True)}
    options = SearchOptions.of(GOOD | given)
    assert [type(getattr(options, name)) for name in given] == [int, float, bool]


def test_callbacks_may_be_one_function_several_or_none():
    with pytest.raises(UserError, match="callbacks is 3"):
        as_callbacks(3)
    assert as_callbacks(None) == ()
    assert as_callbacks(print) == (print,)
    assert as_callbacks([print, len]) == (print, len)


def test_root_dir_knows_the_home_folder_and_refuses_what_is_no_path():
    assert as_root_dir("~/x") == pathlib.Path.home() / "x"
    with pytest.raises(UserError, match="root_dir is 3"):
        as_root_dir(3)
    with pytest.raises(UserError, match="root_dir is None"):
        SearchOptions.of({**GOOD, "root_dir": None})


FIELDS = dataclasses.fields(SearchOptions)
PARAMETERS = list(inspect.signature(single_trainer.SingleTrainer.try_models).parameters.values())[1:]


def test_options_are_read_from_what_users_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        **GOOD,
        "root_dir": "~/x",
        "callbacks": print,
        "artefacts": pathlib.Path("files"),
        "self": "something else",
    }
    options = SearchOptions.of(given)
    assert options.root_dir == pathlib.Path.home() / "x"
    assert (options.callbacks, options.artefacts, options.sampler) == ((print,), str(tmp_path / "files"), "auto")


def test_the_signature_has_the_declared_arguments_with_their_defaults():
    assert [parameter.name for parameter in PARAMETERS] == [field.name for field in FIELDS]
    for field, parameter in zip(FIELDS, PARAMETERS, strict=True):
        if field.default is dataclasses.MISSING:
            assert parameter.default is parameter.empty
        else:
            given = option_of(field).read(parameter.default) if field.name == "callbacks" else parameter.default
            assert given == field.default


def test_the_docstring_says_of_every_argument_what_is_declared():
    text = inspect.getdoc(single_trainer.SingleTrainer.try_models)
    arguments = re.search(r"Args:\n(.*?)\n\n", text, re.DOTALL).group(1)
    found = re.findall(r"^    (\w+): ((?:.+(?:\n     .+)*))", arguments, re.MULTILINE)
    assert [(name, " ".join(words.split())) for name, words in found] == [
        (field.name, option_of(field).help) for field in FIELDS
    ]


def test_every_flag_of_an_argument_is_one_of_the_command():
    declared = [option_of(field).flag for field in FIELDS if option_of(field).flag is not None]
    known = {flag.name: flag for flag in main.own_flags()}
    for flag in declared:
        assert known[flag.name].default == flag.default
        assert known[flag.name].help.endswith(flag.help)  # after the choices
    assert (
        len({flag.name for flag in declared}) == len(declared) == len(FIELDS) - 3
    )  # callbacks, progress, worker_memory


def test_the_flags_give_the_options_that_the_arguments_give():
    provider = array_data.Provider(np.eye(4, dtype="float32"), [0, 1, 0, 1])
    main.FLAGS(["model_search", "--filename=some/table.csv", "--workers=auto", "--time_limit=7", "--resources=cpu=2"])
    try:
        with pytest.raises(UserError, match="only executor='ray'"):
            main._search_options(provider)
        main.FLAGS(["model_search", "--executor=ray"])
        options = main._search_options(provider)
        assert (options.experiment_name, options.workers, options.time_limit) == ("table", "auto", 7.0)
        assert (options.number_models, options.metric, options.resources) == (200, "loss", {"cpu": 2.0})
        assert options.batch_size is None
        pictures = image_data.Provider(x=np.zeros((4, 2, 2), "uint8"), y=[0, 1, 0, 1])
        assert main._search_options(pictures).batch_size == 64
    finally:
        main.FLAGS.unparse_flags()
        for name in ("filename", "workers", "time_limit", "resources", "executor"):
            main.FLAGS[name].unparse()


def rows_of_the_page():
    """The table of docs/options.md, as it has to be."""
    for field, parameter in zip(FIELDS, PARAMETERS, strict=True):
        declared = option_of(field)
        default = "needed" if parameter.default is parameter.empty else f"`{parameter.default!r}`".replace("'", '"')
        flag = "" if declared.flag is None else f"`--{declared.flag.name}`"
        if declared.flag is not None and declared.flag.default not in (parameter.default, None):
            flag += f" ({declared.flag.default!r})".replace("'", '"')
        yield f"| `{field.name}` | {default} | {flag} | {declared.help} |"


def test_the_page_of_options_is_up_to_date():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `")] == list(rows_of_the_page())


def test_documented_flags_and_arguments_are_there():
    flags = {flag.name for flag in main.own_flags()} | set(main._WITHOUT_EFFECT) | {"help"}
    known = {field.name for field in FIELDS} | set(inspect.signature(quick.fit).parameters)
    seen = set()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.strip("`$ |").startswith("model_search "):
                assert set(re.findall(r"--(\w+)", line)) <= flags, line
        for call in re.findall(r"`try_models\(\.\.\., (.*?)\)`", text):
            named = set(re.findall(r"(\w+)=", call))
            assert named <= known, f"{page.name}: {call}"
            seen |= named
    assert "finish" in seen


@pytest.mark.parametrize("page", ["workers.md", "cluster.md"])
def test_documented_arguments_are_there(page):
    text = (ROOT / "docs" / page).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    call = ast.parse(code).body[0].value
    given = {keyword.arg for keyword in call.keywords}
    known = inspect.signature(single_trainer.SingleTrainer.try_models).parameters
    assert given <= set(known)
    assert {name for name, parameter in known.items() if parameter.default is parameter.empty} - {"self"} <= given
