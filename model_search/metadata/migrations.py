"""The database's schema: its version, and all migrations that lead to it.

A step is never changed once it has been released; a new one is added. `PRAGMA user_version` says which was the last,
the table `migrations` says when each was taken and by which version of the package.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

import model_search
from model_search.metadata.connection import Connection, UnreadableStudyError, journal_mode
from model_search.metadata.database_checks import foreign_parts

APPLICATION_ID = 0x4D534442  # "MSDB": distinguishes a study's database from any other


@dataclasses.dataclass(frozen=True)
class Migration:
    """One step: the schema's version after it, what it is for, and its statements."""

    version: int
    title: str
    statements: tuple[str, ...]


_MIGRATIONS_TABLE = """
    CREATE TABLE IF NOT EXISTS migrations (
        version INTEGER PRIMARY KEY,
        title TEXT NOT NULL,
        applied_at TEXT NOT NULL,
        applied_by TEXT NOT NULL
    )"""

# Columns that repeat a part of a JSON document are generated from it: for people, and always consistent.
_FIRST = Migration(
    1,
    "a study, its trials, their attempts, files and validation curves",
    (
        """
        CREATE TABLE environments (
            id INTEGER PRIMARY KEY,
            sha256 TEXT NOT NULL UNIQUE,
            document TEXT NOT NULL CHECK (json_valid(document))
        )""",
        """
        CREATE TABLE study (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            name TEXT AS (json_extract(record, '$.name')),
            owner TEXT AS (json_extract(record, '$.owner')),
            metric TEXT AS (json_extract(record, '$.metric')),
            goal TEXT AS (json_extract(record, '$.goal')),
            seed TEXT AS (json_extract(record, '$.seed')),
            data_fingerprint TEXT AS (json_extract(record, '$.data_fingerprint')),
            spec_text TEXT AS (json_extract(record, '$.spec_text')),
            record TEXT NOT NULL CHECK (json_valid(record)),
            settings TEXT NOT NULL CHECK (json_valid(settings)),
            environment_id INTEGER NOT NULL REFERENCES environments(id),
            created_at TEXT NOT NULL
        )""",
        """
        CREATE TABLE trials (
            id INTEGER PRIMARY KEY CHECK (id > 0),
            state TEXT NOT NULL CHECK (state IN ('claimed', 'running', 'interrupted', 'completed', 'failed', 'lost')),
            kind TEXT AS (json_extract(plan, '$.kind')),
            architecture TEXT AS (json_extract(plan, '$.architecture')),
            hyperparameters TEXT AS (json_extract(plan, '$.hyperparameters')),
            parent INTEGER AS (json_extract(plan, '$.parent')) REFERENCES trials(id),
            metrics TEXT AS (json_extract(result, '$.metrics')),
            parameters INTEGER AS (json_extract(result, '$.parameters')),
            seconds REAL AS (
                coalesce(json_extract(result, '$.timings.trial'), json_extract(result, '$.timings.total'))
            ),
            reason TEXT,
            worker TEXT NOT NULL,
            attempt INTEGER NOT NULL CHECK (attempt > 0),
            vanished INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            finished_at TEXT,
            plan_key TEXT,
            plan TEXT CHECK (plan IS NULL OR json_valid(plan)),
            result TEXT CHECK (result IS NULL OR json_valid(result)),
            environment_id INTEGER REFERENCES environments(id),
            revision INTEGER NOT NULL,
            CHECK ((plan IS NULL) = (plan_key IS NULL)),
            CHECK (plan IS NOT NULL OR state NOT IN ('running', 'completed')),
            CHECK ((result IS NOT NULL) = (state = 'completed')),
            CHECK ((finished_at IS NOT NULL) = (state IN ('completed', 'failed', 'lost')))
        )""",
        "CREATE UNIQUE INDEX trials_revision ON trials(revision)",
        "CREATE INDEX trials_state ON trials(state)",
        "CREATE UNIQUE INDEX trials_plan_key ON trials(plan_key) WHERE state <> 'lost'",
        """
        CREATE TABLE attempts (
            trial_id INTEGER NOT NULL REFERENCES trials(id),
            attempt INTEGER NOT NULL,
            worker TEXT NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            boot TEXT NOT NULL,
            namespace TEXT NOT NULL,
            started TEXT NOT NULL,
            heartbeats INTEGER NOT NULL,
            began_at TEXT NOT NULL,
            ended_at TEXT,
            ending TEXT CHECK (ending IN ('completed', 'failed', 'released', 'vanished')),
            PRIMARY KEY (trial_id, attempt)
        ) WITHOUT ROWID""",
        """
        CREATE TABLE curve (
            trial_id INTEGER NOT NULL REFERENCES trials(id),
            position INTEGER NOT NULL,
            step INTEGER NOT NULL,
            value REAL,
            PRIMARY KEY (trial_id, position)
        ) WITHOUT ROWID""",
        """
        CREATE TABLE artefacts (
            trial_id INTEGER NOT NULL REFERENCES trials(id),
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            path TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size INTEGER NOT NULL CHECK (size >= 0),
            PRIMARY KEY (trial_id, position),
            UNIQUE (trial_id, name)
        ) WITHOUT ROWID""",
    ),
)

_FINAL_MODELS = Migration(
    2,
    "final models, and files of the study itself",
    (
        """
        CREATE TABLE final_models (
            kind TEXT PRIMARY KEY,
            metrics TEXT AS (json_extract(record, '$.metrics')),
            parameters INTEGER AS (json_extract(record, '$.parameters')),
            members TEXT AS (json_extract(record, '$.members')),
            record TEXT NOT NULL CHECK (json_valid(record)),
            created_at TEXT NOT NULL
        )""",
        """
        CREATE TABLE files (
            name TEXT PRIMARY KEY,
            path TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size INTEGER NOT NULL CHECK (size >= 0)
        )""",
    ),
)

_PRUNING = Migration(3, "when a file was deleted to save room", ("ALTER TABLE artefacts ADD COLUMN pruned_at TEXT",))

MIGRATIONS: tuple[Migration, ...] = (_FIRST, _FINAL_MODELS, _PRUNING)


def upgrade(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings the database to the newest schema; an empty file becomes a study's database.

    Nothing is written where the schema is the newest already. All missing steps run in one transaction, so that
    a kill leaves the old schema whole, and of several processes one does it.

    Raises:
        UnreadableStudyError: if the database is something else, or was written by a newer version.
    """
    with connection.transaction(write=False):
        version = _version(connection, migrations)
        _check_schema(connection, migrations, version)
    if version == migrations[-1].version:
        return
    if version == 0:
        connection.use_journal(journal_mode())
    with connection.transaction():
        version = _version(connection, migrations)
        _check_schema(connection, migrations, version)
        connection.execute(_MIGRATIONS_TABLE)
        for step in migrations:
            if step.version > version:
                _apply(connection, step)


def _version(connection: Connection, migrations: Sequence[Migration]) -> int:
    """The schema's version, 0 for an empty file; inside of a transaction, for another process may be making it."""
    version = int(connection.value("PRAGMA user_version"))
    application = connection.value("PRAGMA application_id")
    if application != APPLICATION_ID and (version or connection.value("SELECT count(*) FROM sqlite_master")):
        raise UnreadableStudyError(
            f"{connection.path} is a SQLite database, but not a study's; name the folder of a study, or another file"
        )
    newest = migrations[-1].version
    if version > newest:
        raise UnreadableStudyError(
            f"{connection.path} was written by a newer model_search (schema {version}; this version reads up to "
            f"{newest}); upgrade with: pip install --upgrade model_search"
        )
    return version


def _check_schema(connection: Connection, migrations: Sequence[Migration], version: int) -> None:
    """Refuses a database whose tables were changed: what computes a column, or runs when one is written, is code."""
    if not version:
        return
    steps = [step for step in migrations if step.version <= version]
    made = (_MIGRATIONS_TABLE, *(statement for step in steps for statement in step.statements))
    found = connection.rows("SELECT type, name, tbl_name, sql FROM sqlite_master")
    foreign = foreign_parts(found, made)
    if foreign:
        raise UnreadableStudyError(
            f"{connection.path} has other tables, indices or triggers than a study ({', '.join(foreign)[:200]}); drop "
            "what was added to it, or restore a copy"
        )


def _apply(connection: Connection, step: Migration) -> None:
    for statement in step.statements:
        connection.execute(statement)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT INTO migrations (version, title, applied_at, applied_by) VALUES (?, ?, ?, ?)",
        (step.version, step.title, now, model_search.__version__),
    )
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={step.version:d}")
