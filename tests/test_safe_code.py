"""No module of the package runs what it reads, or waits for connections: the whole source is searched for what could.

Ruff's S rules search line by line; here are the things that they leave out, and the exceptions, each with its reason.
"""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "model_search"

# Modules that turn bytes or text into objects or code, or parse what may be made to explode.
DESERIALISERS = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "dbm", "jsonpickle", "yaml",
    "torch", "h5py", "msgpack", "xml", "lxml", "plistlib", "code", "codeop", "runpy", "imp", "zipimport",
}  # fmt: skip
# Modules that listen.
SERVERS = {
    "http.server", "socketserver", "xmlrpc", "wsgiref", "asyncio", "selectors", "flask", "fastapi", "uvicorn",
    "aiohttp", "tornado", "bottle", "django", "starlette", "sanic", "gunicorn", "waitress", "werkzeug", "websockets",
    "zmq", "multiprocessing.managers", "multiprocessing.connection", "grpc", "ray.serve", "ray.util.client.server",
}  # fmt: skip
# Functions by full name; the first part is a module, whatever it is called where it is imported, or a builtin.
FUNCTIONS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.exec*", "os.spawn*", "pandas.read_pickle",
    "pandas.read_hdf", "pandas.eval", "pandas.read_xml", "numpy.fromregex", "numpy.lib.format.open_memmap",
    "tensorflow.saved_model.load", "tensorflow.io.decode_*", "tensorflow.py_function", "tensorflow.numpy_function",
    "keras.config.enable_unsafe_deserialization", "keras.models.model_from_json",
    "keras.saving.deserialize_keras_object", "tensorflow.distribute.Server", "sklearn.externals.*", "builtins.*",
    "importlib.reload",
}  # fmt: skip
# Functions that are safe with an argument alone.
ONLY_WITH = {
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.format.read_array": ("allow_pickle", False),
    "keras.models.load_model": ("safe_mode", True),
    "keras.saving.load_model": ("safe_mode", True),
    "tensorflow.keras.models.load_model": ("safe_mode", True),
}
# Arguments that nothing may have.
ARGUMENTS = {("shell", True), ("allow_pickle", True), ("safe_mode", False), ("execute_plugins", True)}
# Methods, of whatever object, that listen or unpickle.
METHODS = {"listen", "create_server", "start_server", "serve_forever", "read_pickle", "to_pickle"}
SOCKET_FUNCTIONS = {"socket.gethostname"}  # all that may be used of it

# (module, name): why it may be there.
EXCEPTIONS = {
    (
        "trainers.serialization",
        "pickle",
    ): "opens the job that the parent process wrote, into a pipe or to Ray",
    (
        "trainers.serialization",
        "cloudpickle",
    ): "writes that job: the user's own provider goes to the workers by it",
    (
        "finish.media.decoded_pictures",
        "tensorflow.io.decode_jpeg",
    ): "reads pixels, not objects, in an exported model",
    ("metadata.ray_store", "pickle"): "opens the trials that the study's own actor pickled, once for all workers",
}


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def short(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def within(name, family):
    """The member of a family of modules that a name belongs to, or None."""
    return next((module for module in family if name == module or name.startswith(module + ".")), None)


def imported(tree):
    """Every module or name that is imported: (what, called)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.asname or alias.name.split(".")[0], alias.asname is not None
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", alias.asname or alias.name, True


def full_name(node, called):
    """`numpy.load` of `np.load`; None where it is no plain name."""
    if isinstance(node, ast.Name):
        return called.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = full_name(node.value, called)
        return None if base is None else f"{base}.{node.attr}"
    return None


def is_function(name):
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in FUNCTIONS)


def findings(source):
    """What a source may not contain: the names, or the arguments."""
    tree = ast.parse(source)
    called = {}
    for what, name, renamed in imported(tree):
        called[name] = what if renamed else name
        for family in (DESERIALISERS, SERVERS):
            if within(what, family):
                yield within(what, family)
        if is_function(what) or what in ONLY_WITH or (within(what, {"socket"}) and what not in {"socket"}):
            yield what
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            yield from (f"{name}={value}" for name, value in ARGUMENTS if name in given and given[name] is value)
            name = full_name(node.func, called)
            if name in ONLY_WITH:
                word, value = ONLY_WITH[name]
                if given.get(word, not value) is value:
                    node.func = ast.Constant(None)  # this one is safe
            if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                yield node.func.attr
    for node in ast.walk(tree):
        name = full_name(node, called)
        if name is None:
            continue
        if is_function(name) or name in ONLY_WITH:
            yield name
        if called.get("socket") == "socket" and name.startswith("socket.") and name not in SOCKET_FUNCTIONS:
            yield name


@pytest.mark.parametrize("path", modules(), ids=short)
def test_nothing_deserialises_runs_text_or_listens(path):
    found = {name for name in findings(path.read_text(encoding="utf-8")) if (short(path), name) not in EXCEPTIONS}
    assert not found, f"{short(path)} uses {sorted(found)}: see CONTRIBUTING.md"


def test_every_exception_is_needed():
    for module, name in EXCEPTIONS:
        assert name in set(findings((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from cloudpickle import loads", "cloudpickle"),
        ("import xml.etree.ElementTree as tree", "xml"),
        ("from joblib import load", "joblib"),
        ("import yaml\nyaml.safe_load('')", "yaml"),
        ("import torch", "torch"),
        ("eval('1')", "eval"),
        ("run = exec", "exec"),
        ("compile('', '', 'exec')", "compile"),
        ("import os\nos.system('ls')", "os.system"),
        ("from os import popen", "os.popen"),
        ("import numpy as np\nnp.load('x')", "numpy.load"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("import numpy as np\nread = np.load", "numpy.load"),
        ("from numpy import load", "numpy.load"),
        ("import numpy as np\nnp.lib.format.read_array(file)", "numpy.lib.format.read_array"),
        ("import keras\nkeras.models.load_model('x')", "keras.models.load_model"),
        ("import keras\nkeras.models.load_model('x', safe_mode=chosen)", "keras.models.load_model"),
        ("import keras\nkeras.saving.load_model('x', safe_mode=False)", "safe_mode=False"),
        ("import pandas as pd\npd.read_pickle('x')", "pandas.read_pickle"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell=True"),
        ("import http.server", "http.server"),
        ("from http import server", "http.server"),
        ("import socketserver", "socketserver"),
        ("import asyncio", "asyncio"),
        ("from fastapi import FastAPI", "fastapi"),
        ("import socket\nsocket.socket()", "socket.socket"),
        ("import socket\nsocket.create_server(('', 1))", "socket.create_server"),
        ("from socket import socket", "socket.socket"),
        ("server.serve_forever()", "serve_forever"),
        ("anything.listen()", "listen"),
    ],
)
def test_what_is_dangerous_is_found(source, found):
    assert found in set(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('a')",
        "model.compile()",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import keras\nkeras.saving.load_model('x', safe_mode=True)",
        "import json\njson.loads('1')",
        "import socket\nsocket.gethostname()",
        "import subprocess\nsubprocess.run(['ls'], check=True)",
    ],
)
def test_what_is_harmless_is_not(source):
    assert not set(findings(source))


def test_every_rule_that_is_switched_off_says_why():
    silent = re.compile(r"# noqa: (?:[A-Z]+\d+, )*S\d+\b(?! - \S)")
    wholesale = re.compile(r"# (?:ruff: )?noqa(?!:)|# ruff: noqa|nosec")
    for path in modules():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not silent.search(line), f"{path}:{number} does not say why"
            assert not wholesale.search(line), f"{path}:{number} switches everything off"
