"""What a stranger may have done to a study: a table of tamperings, functions of its folder and another.

The other folder is a user's own, outside of the study ("outside"); links, paths and names lead there. `tampered` copies
a study and tampers with the copy.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import sqlite3
import struct
import zipfile

import numpy as np

from model_search.metadata.processes import ProcessIdentity

CODE = "__import__('os').system('touch executed')"
HUGE_TEXT = "hex(zeroblob(35000000))"
HTML = '<img src=x onerror="alert(1)"><script src="http://localhost:1/x.js"></script>'
DATABASE = "study.db"
TRIAL = 4  # a completed trial that trained one tower
NEXT = 9  # the number of the first trial of a continued search


@dataclasses.dataclass(frozen=True)
class Tampering:
    """One way to tamper with a study.

    Attributes:
        act: Called with the study's folder and the folder outside.
        workers: Worker processes of the search that continues the study.
        quick: Whether it belongs to the reduced count.
    """

    act: object
    workers: int | None = None
    quick: bool = False


def tampered(study, target, name, outside):
    """A copy of a study, tampered with."""
    shutil.copytree(study, target, symlinks=True)
    TAMPERINGS[name].act(target, outside)
    return target


class Executes:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return eval, (CODE,)


# The database.


def sql(statement, *values):
    """Writes past the store, as an editor of databases would."""

    def act(folder, outside):
        connection = sqlite3.connect(folder / DATABASE)
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("PRAGMA foreign_keys=OFF")
        filled = [value.replace("OUTSIDE", str(outside)) if isinstance(value, str) else value for value in values]
        connection.execute(statement.replace("OUTSIDE", str(outside)), filled)
        connection.commit()
        connection.close()

    return act


def both(*acts):
    def act(folder, outside):
        for one in acts:
            one(folder, outside)

    return act


def column(table, name, where="1"):
    """`column(...)(path, value)` changes a field of a JSON document; the value is JSON."""

    def change(path, value):
        return sql(f"UPDATE {table} SET {name} = json_set({name}, ?, json(?)) WHERE {where}", path, json.dumps(value))

    return change


record = column("study", "record")
settings = column("study", "settings")
plan = column("trials", "plan", f"id = {TRIAL}")
result = column("trials", "result", f"id = {TRIAL}")
final = column("final_models", "record", "kind = 'ensemble'")
student = column("final_models", "record", "kind = 'student'")
INTERRUPT = sql(f"UPDATE trials SET state = 'interrupted', result = NULL, finished_at = NULL WHERE id = {TRIAL}")


def unfinished(path, value):
    """A plan that a continued search takes up."""
    return both(INTERRUPT, plan(path, value))


def place(url):
    return settings("$.artefacts", url)


def place_outside(folder, outside):
    """All files elsewhere, where there are files of those names: pruning would delete them."""
    shutil.copytree(folder / "trials", outside / "study" / "trials", dirs_exist_ok=True)
    settings("$.artefacts", str(outside))(folder, outside)


def artefact(change, *values):
    return sql(f"UPDATE artefacts SET {change} WHERE trial_id = {TRIAL} AND name = 'weights.npz'", *values)


def encoding(number):
    """A database in another encoding, of which SQLite then makes a text."""

    def act(folder, outside):
        content = bytearray((folder / DATABASE).read_bytes())
        content[56:60] = struct.pack(">I", number)
        (folder / DATABASE).write_bytes(content)

    return act


def super_journal(folder, outside):
    """A rollback journal that names a file, which SQLite deletes after it has played back the journal."""
    victim = os.fsencode(outside / "thesis.txt")
    size = (folder / DATABASE).stat().st_size
    page = int.from_bytes((folder / DATABASE).read_bytes()[16:18], "big")
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 0, size // page, 512, page)
    trailer = struct.pack(">I", (1 << 30) // page + 1) + victim
    trailer += struct.pack(">II", len(victim), sum(victim)) + bytes.fromhex("d9d505f920a163d7")
    (folder / f"{DATABASE}-journal").write_bytes(head.ljust(512, b"\0") + trailer)


def process(pid):
    """The worker of every trial is said to be a process of this machine."""

    def act(folder, outside):
        here = ProcessIdentity.of()
        found = (here.host, here.boot, here.namespace, pid.replace("OUTSIDE", str(outside)))
        sql("UPDATE attempts SET host = ?, boot = ?, namespace = ?, pid = ?", *found)(folder, outside)

    return act


# Files and links.


def link(relative, target="victim"):
    """A link in place of a file or folder; what was there is moved outside, so that it could be followed."""

    def act(folder, outside):
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        away = outside / target
        if path.exists():
            shutil.move(path, away)
        elif target == "folder":
            away.mkdir(exist_ok=True)
        elif not away.exists():
            away.write_text("the user's own\n")
        path.symlink_to(away)

    return act


def hard_link(relative):
    def act(folder, outside):
        path = folder / relative
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            (outside / "victim").write_text("the user's own\n")
        else:
            shutil.move(path, outside / "victim")
        os.link(outside / "victim", path)

    return act


def pipe(relative):
    def act(folder, outside):
        path = folder / relative
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return act


def folder_at(relative):
    def act(folder, outside):
        path = folder / relative
        path.unlink(missing_ok=True)
        (path / "inner").mkdir(parents=True)

    return act


def weights_link(folder, outside):
    path = folder / weights_path(folder)
    shutil.move(path, outside / "weights.npz")
    path.symlink_to(outside / "weights.npz")


def weights_path(folder):
    connection = sqlite3.connect(folder / DATABASE)
    (found,) = connection.execute(
        f"SELECT path FROM artefacts WHERE trial_id = {TRIAL} AND name = 'weights.npz'"
    ).fetchone()
    connection.close()
    return found


def weights(make):
    """Other weights, with the right size and hash in the database; `make(arrays)` gives bytes."""

    def act(folder, outside):
        path = weights_path(folder)
        with np.load(folder / path) as arrays:
            content = make(dict(arrays))
        (folder / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        artefact("sha256 = ?, size = ?", digest, len(content))(folder, outside)

    return act


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def pickled(arrays):
    members = [(f"{name}.npy", npy(array)) for name, array in arrays.items()]
    return zipped([*members, ("x.npy", npy(np.array([Executes()], dtype=object)))])


def bomb(arrays):
    """A quarter of a gigabyte of zeros in a megabyte."""
    name = next(iter(arrays))
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 26,)})
        for _ in range(1 << 8):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def header(shape, descr="<f4"):
    """An array that promises a shape and holds nothing."""

    def make(arrays):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
        return zipped([(f"{next(iter(arrays))}.npy", buffer.getvalue())])

    return make


def many_members(arrays):
    locals_, central = bytearray(), bytearray()
    for number in range(200_000):
        name = b"%d.npy" % number
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0)
        central += b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(locals_)) + name
        locals_ += b"PK\3\4" + fields + name
    end = struct.pack("<HHHHIIH", 0, 0, 0, 0, len(central), len(locals_), 0)
    return bytes(locals_ + central) + b"PK\5\6" + end


def large_weights(arrays):
    """The right names, one of another shape, that is really there."""
    name = next(iter(arrays))
    arrays[name] = np.zeros((1 << 20, 4), np.float32)
    return zipped([(f"{key}.npy", npy(array)) for key, array in arrays.items()])


def sparse(folder, outside):
    """A file of a terabyte that takes no room."""
    path = folder / weights_path(folder)
    os.truncate(path, 1 << 40)
    artefact("size = ?", 1 << 40)(folder, outside)


def keras_files(folder, outside):
    """Models with code in them, wherever one may be looked for."""
    config = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "x", "function": {"class_name": "__lambda__", "config": {"code": CODE}}},
    }
    content = zipped([("config.json", json.dumps(config)), ("metadata.json", "{}"), ("model.weights.h5", b"x")])
    for relative in ("final/model.keras", "final/ensemble.keras", "trials/000004/model.keras", "student.keras"):
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(content)
    (folder / "final" / "export.json").write_text("{}")


def python_files(folder, outside):
    """Modules that an import would find if the folder were on the path, or the current one."""
    for name in ("keras", "numpy", "sitecustomize", "encodings", "model_search", "usercustomize", "conftest"):
        (folder / f"{name}.py").write_text(CODE)
    (folder / "final" / "saved_model").mkdir(parents=True, exist_ok=True)
    (folder / "final" / "saved_model" / "saved_model.pb").write_bytes(b"\x08\x01" * 100)


def nested(levels):
    return "[" * levels + "]" * levels


FEATURE = {"kind": "category", "column": "colour", "vocabulary": ["a"], "numeric": False}
MANY_COLUMNS = [FEATURE | {"column": str(n)} for n in range(50_000)]
SPEC_BOMB = "blocks_to_use: [" + ", ".join(['"FULLY_CONNECTED"'] * 1_000_000) + "]"
TRIGGER = "CREATE TRIGGER x AFTER UPDATE ON trials BEGIN DELETE FROM artefacts; END"
COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) AS id FROM c"
ENDLESS = f"CREATE VIEW final_models AS {COUNT}"

TAMPERINGS = {
    # Places of files.
    "place: a folder of the user": Tampering(place_outside, quick=True),
    "place: file://": Tampering(both(place_outside, place("file://OUTSIDE"))),
    "place: s3://": Tampering(place("s3://bucket/models")),
    "place: http://": Tampering(place("http://localhost:1/models"), quick=True),
    "place: memory://": Tampering(place("memory://models")),
    "place: chained": Tampering(place("simplecache::http://localhost:1/x")),
    "place: a list": Tampering(place(["/", "x"])),
    "place: control characters": Tampering(place("s3://\x1b]0;x\x07\u202e" + "x" * 5000)),
    # Links.
    "link: the database": Tampering(link(DATABASE), quick=True),
    "link: the journal": Tampering(link(f"{DATABASE}-journal")),
    "link: the write-ahead log": Tampering(link(f"{DATABASE}-wal")),
    "link: shared memory": Tampering(link(f"{DATABASE}-shm")),
    "link: spec.pbtxt": Tampering(link("spec.pbtxt"), quick=True),
    "link: report.html": Tampering(link("report.html")),
    "link: report.html to a folder": Tampering(link("report.html", "folder")),
    "link: trials": Tampering(link("trials"), quick=True),
    "link: files": Tampering(link("files")),
    "link: a trial's folder": Tampering(link(f"trials/{TRIAL:06d}")),
    "link: the next trial's folder": Tampering(link(f"trials/{NEXT:06d}", "folder")),
    "link: a trial's weights": Tampering(weights_link),
    "link: final": Tampering(link("final", "folder"), quick=True),
    "link: final/model.keras": Tampering(link("final/model.keras")),
    "link: logs": Tampering(link("logs", "folder"), workers=2),
    "link: a worker's log": Tampering(link("logs/worker-1.log"), workers=2),
    "link: a trial's log": Tampering(link(f"trials/{NEXT:06d}/worker-1.log"), workers=2),
    "hard link: the database": Tampering(hard_link(DATABASE)),
    "hard link: a worker's log": Tampering(hard_link("logs/worker-1.log"), workers=2),
    "hard link: spec.pbtxt": Tampering(hard_link("spec.pbtxt")),
    "pipe: spec.pbtxt": Tampering(pipe("spec.pbtxt")),
    "pipe: the database": Tampering(pipe(DATABASE)),
    "pipe: the journal": Tampering(pipe(f"{DATABASE}-journal")),
    "pipe: weights": Tampering(lambda folder, outside: pipe(weights_path(folder))(folder, outside)),
    "folder: spec.pbtxt": Tampering(folder_at("spec.pbtxt")),
    "folder: report.html": Tampering(folder_at("report.html")),
    # Files with something in them.
    "file: weights with a pickle": Tampering(weights(pickled), quick=True),
    "file: weights that are a pickle": Tampering(weights(lambda arrays: npy(np.array([Executes()], dtype=object)))),
    "file: zip bomb": Tampering(weights(bomb), quick=True),
    "file: 200,000 members": Tampering(weights(many_members)),
    "file: a shape of 10^12": Tampering(weights(header((10**6, 10**6))), quick=True),
    "file: a negative shape": Tampering(weights(header((-1, 8)))),
    "file: a text of 10^12 bytes": Tampering(weights(header((1,), f"|S{10**9}"))),
    "file: another shape": Tampering(weights(large_weights)),
    "file: a terabyte of nothing": Tampering(sparse),
    "file: models with code": Tampering(keras_files),
    "file: modules with code": Tampering(python_files),
    # Paths in the database.
    "path: climbs": Tampering(artefact("path = ?", "../../outside/thesis.txt")),
    "path: absolute": Tampering(artefact("path = ?", "OUTSIDE/thesis.txt")),
    "path: a null byte": Tampering(artefact("path = CAST(? AS TEXT)", "trials/000004/x\0y")),
    "path: no text": Tampering(artefact("path = ?", b"\xff\xfe")),
    "path: very long": Tampering(artefact("path = ?", "trials/" + "x" * 5000)),
    "path: of the study's file": Tampering(sql("UPDATE files SET path = ?", "/etc/passwd")),
    "path: of the student": Tampering(student("$.artefacts[0].path", "../../outside/thesis.txt")),
    # The schema of the database.
    "schema: a trigger": Tampering(sql(TRIGGER), quick=True),
    "schema: an endless view": Tampering(both(sql("DROP TABLE final_models"), sql(ENDLESS))),
    "schema: a column that computes": Tampering(sql("ALTER TABLE trials ADD COLUMN x AS (zeroblob(900000000))")),
    "schema: an index that computes": Tampering(sql("CREATE INDEX x ON trials(upper(worker))")),
    "schema: a super-journal": Tampering(super_journal, quick=True),
    "schema: another encoding": Tampering(encoding(2)),
    # Fields of the study.
    "study: a name that climbs": Tampering(record("$.name", "../../outside")),
    "study: a name of 70 MB": Tampering(sql(f"UPDATE study SET record = json_set(record, '$.name', {HUGE_TEXT})")),
    "study: a name with HTML": Tampering(record("$.name", HTML)),
    "study: a null byte": Tampering(record("$.owner", "a\0b")),
    "study: another seed": Tampering(record("$.seed", 10**18)),
    "study: spec with code": Tampering(both(record("$.spec_text", CODE), settings("$.spec", CODE))),
    "study: spec of no text": Tampering(both(record("$.spec_text", 5), settings("$.spec", [1]))),
    "study: a huge spec": Tampering(both(record("$.spec_text", SPEC_BOMB), settings("$.spec", SPEC_BOMB))),
    "study: unknown metric": Tampering(record("$.metric", CODE)),
    "study: unknown goal": Tampering(record("$.goal", CODE)),
    "study: number_models a text": Tampering(settings("$.number_models", CODE)),
    "study: settings a list": Tampering(sql("UPDATE study SET settings = '[]'")),
    "study: nested JSON": Tampering(sql("UPDATE study SET settings = ?", '{"artefacts": ' + nested(900) + "}")),
    # Fields of the data.
    "data: no task": Tampering(sql("UPDATE study SET record = json_remove(record, '$.data.task')")),
    "data: task a text": Tampering(record("$.data.task", CODE)),
    "data: unknown kind": Tampering(record("$.data.task.kind", CODE)),
    "data: labels with HTML": Tampering(record("$.data.task.classes", [HTML, HTML + "2", "=cmd|x"])),
    "data: labels are lists": Tampering(record("$.data.task.classes", [[1], {"a": 2}, None])),
    "data: 10^9 classes": Tampering(
        both(record("$.data.task.classes", []), record("$.data.task.logits_dimension", 10**9)), quick=True
    ),
    "data: 10^18 inputs": Tampering(record("$.data.feature_shape", [10**9, 10**9])),
    "data: a text for a shape": Tampering(record("$.data.feature_shape", CODE)),
    "data: inputs by name": Tampering(
        record("$.data.inputs", {"features": {"shape": [10**9], "dtype": "object", "lengths": None, "columns": []}})
    ),
    "data: 300,000 categories": Tampering(
        record("$.data.schema.features", [FEATURE | {"vocabulary": [str(n) for n in range(10**6)]}])
    ),
    "data: 50,000 columns": Tampering(record("$.data.schema.features", MANY_COLUMNS)),
    "data: unknown feature": Tampering(record("$.data.schema.features", [{"kind": CODE, "column": "x"}])),
    "data: a text for a number": Tampering(record("$.data.schema.features[0].scale", CODE)),
    "data: a scale of 0": Tampering(record("$.data.schema.features[0].scale", 0)),
    "data: columns a number": Tampering(record("$.data.columns", 7)),
    "data: encoding with a path": Tampering(record("$.data.reading.encoding", "../../outside/evil")),
    "data: encoding a list": Tampering(record("$.data.reading.encoding", [])),
    "data: unknown problem": Tampering(record("$.data.model.problem_type", CODE)),
    "data: no model": Tampering(record("$.data.model", [])),
    "data: a label that climbs": Tampering(record("$.data.task.label", "../../outside/thesis.txt")),
    # Fields of plans.
    "plan: 10^12 steps": Tampering(unfinished("$.steps", 10**12), quick=True),
    "plan: batches of 10^12 rows": Tampering(unfinished("$.batch_size", 10**12)),
    "plan: 10^6 blocks": Tampering(unfinished("$.architecture", ["FULLY_CONNECTED"] * 10**6)),
    "plan: unknown block": Tampering(plan("$.architecture", [CODE])),
    "plan: unknown block, unfinished": Tampering(unfinished("$.architecture", ["../../outside"])),
    "plan: a width of 10^9": Tampering(unfinished("$.hyperparameters.FULLY_CONNECTED_width", 10**9)),
    "plan: learning rate a text": Tampering(unfinished("$.hyperparameters.learning_rate", CODE)),
    "plan: unknown optimizer": Tampering(unfinished("$.hyperparameters.optimizer", CODE)),
    "plan: a hyperparameter of 10^18": Tampering(plan("$.hyperparameters.x", 10**18)),
    "plan: later start": Tampering(unfinished("$.warm_start", {"kind": "continue", "trials": [10**9]})),
    "plan: unknown kind": Tampering(plan("$.kind", CODE)),
    "plan: a seed below 0": Tampering(unfinished("$.seed", -5)),
    # Fields of results, final models and processes.
    "result: parameters a text": Tampering(result("$.parameters", CODE)),
    "result: 10^18 parameters": Tampering(result("$.parameters", 10**18)),
    "result: environment with HTML": Tampering(sql("UPDATE environments SET document = ?", json.dumps({"cpu": HTML}))),
    "result: a reason with HTML": Tampering(
        sql("UPDATE trials SET state = 'failed', result = NULL, reason = ? WHERE id = 4", HTML)
    ),
    "result: revision a text": Tampering(sql("UPDATE trials SET revision = ? WHERE id = 4", CODE)),
    "result: number a blob": Tampering(sql("UPDATE trials SET attempt = ? WHERE id = 4", b"\xff")),
    "final: a member that is not there": Tampering(final("$.members[0].trial", 10**9)),
    "final: temperature a text": Tampering(final("$.calibration.temperature", CODE)),
    "final: temperature 0": Tampering(final("$.calibration.temperature", 0)),
    "final: the student's plan": Tampering(student("$.plan.architecture", [CODE])),
    "process: a path for a number": Tampering(
        both(
            INTERRUPT,
            sql("UPDATE trials SET state = 'running' WHERE id = 4"),
            process("../../OUTSIDE"),
        )
    ),
}  # fmt: skip


def read_hashes(folder):
    """SHA-256 of every file below a folder by path; of links, where they lead."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_symlink():
            found[str(path)] = os.readlink(path)  # noqa: PTH115
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path)] = "a folder"
    return found
