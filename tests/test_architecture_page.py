"""docs/architecture.md names every room, in the order that imports follow, and nothing that does not exist."""

import pathlib
import re

from test_package import PACKAGE, ROOMS, SHIMS, WITHOUT_TENSORFLOW

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \|$", PAGE.split("\n## ")[1], re.MULTILINE)


def room(path):
    """A room as tests/test_package.py calls it."""
    return pathlib.PurePosixPath(path).stem


def test_the_table_has_the_rooms_in_their_order():
    assert [room(path) for path, _, _ in TABLE] == ROOMS
    for path, _, _ in TABLE:
        assert (PACKAGE / path).is_dir() == path.endswith("/"), path
        assert (PACKAGE / path).exists(), path


def test_every_top_level_module_and_folder_is_named():
    found = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found <= {room(path) for path, _, _ in TABLE} | SHIMS
    for name in SHIMS:
        assert f"`{name}.py`" in PAGE


def test_every_folder_of_a_room_is_named_with_its_room():
    found = {path.parent.relative_to(PACKAGE) for path in PACKAGE.glob("*/*/__init__.py")}
    words = {room(path): contents for path, contents, _ in TABLE}
    missing = [str(folder) for folder in found if f"`{folder.name}/`" not in words[folder.parts[0]]]
    assert not missing


def test_every_folder_and_file_that_a_room_names_is_there():
    for path, contents, _ in TABLE:
        for name in re.findall(r"`(\w+(?:\.py|/))`", contents):
            assert (PACKAGE / path / name).exists(), f"{path}{name}"


def test_every_path_on_the_page_is_there():
    known = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*")} | {
        "model_search",
        "tests/test_package.py",
    }
    named = re.findall(r"(?<![\w/.])((?:[a-z_]+/)+(?:[a-z_]+\.py)?|[a-z_]+\.py)", PAGE)
    assert len(named) > 80
    for path in named:
        assert any(f"/{name}".endswith(f"/{path.rstrip('/')}") for name in known), path


def test_rooms_that_never_import_tensorflow_are_marked():
    marked = {room(path) for path, _, tensorflow in TABLE if tensorflow == "never"}
    assert set(WITHOUT_TENSORFLOW) <= marked
