"""What holds for the package as a whole: light import, import directions, files that stay readable."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "model_search"
HEAVY = {"tensorflow", "keras", "pandas", "sklearn", "optuna", "scipy"}

# A room may import those after it, never those before it.
ROOMS = [
    "testing", "main", "command_errors", "quick", "families", "single_trainer", "study", "trainers", "finish", "report",
    "training", "towers", "blocks", "data", "search", "metadata", "spec", "constants", "catalogue", "cells",
    "macro", "augmentations", "problem", "ranking", "proto", "deadline", "registries", "errors", "printable",
]  # fmt: skip
WITHOUT_TENSORFLOW = [
    "search", "metadata", "spec", "proto", "report", "trainers", "augmentations", "problem", "ranking", "deadline",
    "catalogue", "cells", "macro",
]  # fmt: skip
# Kept so that old programs import them: they re-export from several rooms.
SHIMS = {"block", "block_builder", "registry", "__init__", "__main__"}
MOST_FILES = 20  # of a folder; more of them want folders of their own
MOST_PARAMETERS = 7
# What people call, argument by argument, with the reason.
MANY_PARAMETERS = {
    "single_trainer.SingleTrainer.try_models": "the archived interface, and every option of a search",
    "quick.fit": "the short way to the same",
    "data.csv_data.Provider.__init__": "the archived interface",
    "data.array_data.Provider.__init__": "the forms that rows and what belongs to them come in",
    "data.audio_data.Provider.__init__": "the forms that recordings come in",
    "data.sequence_data.Provider.__init__": "the forms that sequences and what belongs to them come in",
    "data.text_data.Provider.__init__": "the forms that texts come in",
    "data.image_data.Provider.__init__": "the archived interface, and the other forms that pictures come in",
}


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def short(path):
    """A module's name within the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(name):
    """The room of a module, or None where it has no place in the order: the package itself, and what is kept for old
    programs."""
    if name.startswith("blocks.catalogue"):
        return "catalogue"
    room = name.split(".")[0]
    return None if room in SHIMS else room


def imports_of(path):
    """What a module imports, in functions too, but not for type checking alone."""
    waiting = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def imported_modules(path, known):
    """The modules of the package that one imports."""
    for name in imports_of(path):
        inside = name.removeprefix("model_search.")
        if inside == name:
            continue
        while inside and inside not in known:  # a name from within a module
            inside = inside.rpartition(".")[0]
        if inside:
            yield inside


def circle_in(graph):
    """Names that import each other in a circle; none where there is no circle."""
    done = set()

    def search(name, way):
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            found = search(other, [*way, name])
            if found:
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        found = search(name, [])
        if found:
            return found
    return []


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, model_search, model_search.data; model_search.data.Provider; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_leaderboard_needs_no_tensorflow():
    code = "import sys, model_search.study, model_search.report.leaderboard, model_search.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras"} & set(loaded)


def test_every_module_is_in_a_room():
    rooms = {room_of(short(path)) for path in modules()} - {None}
    assert rooms <= set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=short)
def test_imports_point_down_only(path):
    room = room_of(short(path))
    if room is None:
        return
    for name in imported_modules(path, {short(other) for other in modules()}):
        target = room_of(name)
        if target is not None and target != room:
            assert ROOMS.index(target) > ROOMS.index(room), f"{room} imports {name}"


def test_nothing_imports_in_circles():
    known = {short(path) for path in modules()} - SHIMS
    graph = {short(path): set(imported_modules(path, known)) - {short(path)} for path in modules()}
    assert circle_in(graph) == []


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def folders():
    return sorted({path.parent for path in modules()})


@pytest.mark.parametrize("folder", folders(), ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_folder_of_many_files_has_folders_of_its_own(folder):
    names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(names) <= MOST_FILES


@pytest.mark.parametrize("room", WITHOUT_TENSORFLOW)
def test_rooms_without_tensorflow_never_import_it(room):
    for path in modules():
        if room_of(short(path)) == room:
            assert not {name.split(".")[0] for name in imports_of(path)} & {"tensorflow", "keras"}, path


@pytest.mark.parametrize("path", modules(), ids=short)
def test_no_file_is_past_600_lines(path):
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert) and room_of(short(path)) != "testing":  # a contract for tests is made of them
            pytest.fail(f"{path.name}:{node.lineno}: assert in the package")


def functions_in(node, name):
    """Every function with its whole name and its parameters; `self` and `cls` do not count, nor does what a caller
    leaves open (`*args`, `**options`)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}"
            if not isinstance(child, ast.ClassDef):
                given = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
                yield inner, [one.arg for one in given if one.arg not in ("self", "cls")]
            yield from functions_in(child, inner)
        else:
            yield from functions_in(child, name)


def test_no_function_takes_many_parameters():
    long = {
        name
        for path in modules()
        for name, parameters in functions_in(ast.parse(path.read_text()), short(path))
        if len(parameters) > MOST_PARAMETERS
    }
    assert long == set(MANY_PARAMETERS)


# What a distribution is imported as, where that is another name.
IMPORTED_AS = {
    "absl-py": "absl",
    "pillow": "PIL",
    "protobuf": "google",
    "scikit-learn": "sklearn",
    "sqlite-utils": "sqlite_utils",
}


def test_every_library_that_is_imported_is_declared():
    text = (ROOT / "setup.py").read_text()
    required = re.search(r"install_requires=\[(.*?)\]", text, re.DOTALL).group(1)
    optional = re.search(r"extras_require=\{(.*?)\}", text, re.DOTALL).group(1)
    declared = {re.match(r"[\w-]+", name).group() for name in re.findall(r'"([^"]+)"', required + optional)}
    declared = {IMPORTED_AS.get(name, name) for name in declared}
    imported = {name.split(".")[0] for path in modules() for name in imports_of(path)}
    assert imported - sys.stdlib_module_names - {"model_search"} <= declared
