"""The store that keeps a study in one SQLite file, which Datasette and sqlite-utils open, too."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import pathlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from model_search.errors import RepeatedPlanError, StaleClaimError, StoreError, StudyError, UserError
from model_search.metadata import paths, records
from model_search.metadata.connection import Connection
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.final_models import FinalKind, FinalModel
from model_search.metadata.migrations import upgrade
from model_search.metadata.processes import ProcessIdentity
from model_search.metadata.store import Claim, Heartbeat, Store, StudyRecord, check_settings
from model_search.metadata.trial import Artefact, Trial, TrialPlan, TrialResult, TrialState

_ID_BITS = 63  # that a column of whole numbers holds, besides the sign
_HELD = (TrialState.CLAIMED.value, TrialState.RUNNING.value)
_TRIAL_COLUMNS = "id, state, attempt, revision, worker, plan, result, reason, created_at, finished_at, environment_id"


class _TrialRows(NamedTuple):
    """The rows of several tables on some trials."""

    trials: list[tuple[Any, ...]]
    curves: list[tuple[Any, ...]]
    artefacts: list[tuple[Any, ...]]


class SqliteStore(Store):
    """Keeps one study in an SQLite file on a local disk.

    Any number of processes may have the file open. An instance belongs to the thread that made it: open a second one
    for a second thread (such as the heartbeat thread). It must not be used after a fork.

    Every change of a trial takes the next revision, so that `history(since)` is cheap. Every write is one transaction,
    on disk when the call returns.

    Args:
        path: The file, in a folder that exists.
        worker_pid: The process whose end means that claims made here are dead; this process where None.
        max_attempts: How often the workers of one trial may vanish before it is LOST.
        create: Whether the file is made where it is missing.
        file: The identity that the file must have, as `file` of another store; any where None.

    Raises:
        VanishedStudyError: also by every write, if the study was moved, deleted or overwritten while it was open.
        StoreError: if the file is no study's database, or cannot be opened; says what to do.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        worker_pid: int | None = None,
        max_attempts: int = 3,
        create: bool = True,
        file: FileIdentity | None = None,
    ):
        if max_attempts < 1:
            raise UserError(f"max_attempts is {max_attempts}; expected at least 1")
        self._max_attempts = max_attempts
        self._worker_pid = worker_pid
        self._process = ProcessIdentity.of(worker_pid)
        self._environments: dict[int, dict[str, Any]] = {}
        self._plans: dict[int, tuple[str, TrialPlan]] = {}  # of unfinished trials, as text and read
        self._completed, self._counted_to = 0, 0
        self._db = Connection(pathlib.Path(path), create=create, file=file)
        try:
            upgrade(self._db)
        except BaseException:
            self._db.close()
            raise

    def create_study(self, record: StudyRecord) -> StudyRecord:
        """Writes the record in one transaction; of several processes the first one's stays."""
        check_settings(record.settings)
        lasting, settings, environment = records.write_study(record)
        with self._db.transaction():
            found = self._read_study()
            if found is not None:
                return found
            self._db.execute(
                "INSERT INTO study (id, record, settings, environment_id, created_at) VALUES (1, ?, ?, ?, ?)",
                (lasting, settings, self._environment_id(environment), _now()),
            )
        return records.read_study(lasting, settings, environment)

    def study(self) -> StudyRecord:
        """Reads the record; StudyError where none was written yet."""
        found = self._read_study()
        if found is None:
            raise StudyError(f"{self._db.path} holds no study yet; it is written when a search begins")
        return found

    def change_settings(self, changes: Mapping[str, Any], without: Collection[str] = ()) -> None:
        """Reads and writes the settings in one transaction; StudyError where there is no study yet."""
        records.strict_json(dict(changes), "the settings of the study")
        check_settings(changes)
        with self._db.transaction():
            found = self._read_study()
            if found is None:
                raise StudyError(f"{self._db.path} holds no study yet; create it before its settings are changed")
            settings = {name: value for name, value in found.settings.items() if name not in without} | dict(changes)
            self._db.execute("UPDATE study SET settings = ?", (records.strict_json(settings, "the settings"),))

    def claim(self, worker: str, target: int) -> Claim | None:
        """Takes an interrupted trial (lowest id first) or the next id, with its first heartbeat, in one transaction."""
        name = records.plain_text(worker)
        with self._db.transaction():
            held = self._db.value("SELECT count(*) FROM trials WHERE state IN (?, ?)", _HELD)
            if self._count_completed() + held >= target:
                return None
            interrupted = self._db.row(
                "SELECT id, attempt, plan FROM trials WHERE state = ? ORDER BY id LIMIT 1",
                (TrialState.INTERRUPTED.value,),
            )
            return self._claim_next(name) if interrupted is None else self._claim_again(name, interrupted)

    def claim_trial(self, worker: str, trial_id: int | None = None) -> Claim | None:
        """Takes one trial, with its first heartbeat, in one transaction."""
        name = records.plain_text(worker)
        with self._db.transaction():
            if trial_id is None:
                return self._claim_next(name)
            interrupted = self._db.row(
                "SELECT id, attempt, plan FROM trials WHERE state = ? AND id = ?",
                (TrialState.INTERRUPTED.value, trial_id),
            )
            return None if interrupted is None else self._claim_again(name, interrupted)

    def _claim_next(self, name: str) -> Claim:
        claim = Claim(self._db.whole("SELECT coalesce(max(id), 0) + 1 FROM trials"), 1, name)
        self._db.execute(
            "INSERT INTO trials (id, state, worker, attempt, created_at, revision) VALUES (?, ?, ?, ?, ?, ?)",
            (claim.trial_id, TrialState.CLAIMED.value, name, claim.attempt, _now(), self._next_revision()),
        )
        self._begin_attempt(claim)
        return claim

    def _claim_again(self, name: str, interrupted: tuple[Any, ...]) -> Claim:
        trial_id, attempt, plan = interrupted
        kept = None if plan is None else records.read_plan(trial_id, plan)
        failed = "SELECT count(*) FROM attempts WHERE trial_id = ? AND ending = 'failed'"
        claim = Claim(trial_id, attempt + 1, name, kept, self._db.whole(failed, (trial_id,)))
        self._db.execute(
            "UPDATE trials SET state = ?, worker = ?, attempt = ?, reason = NULL, revision = ? WHERE id = ?",
            (TrialState.CLAIMED.value, name, claim.attempt, self._next_revision(), trial_id),
        )
        self._begin_attempt(claim)
        return claim

    def commit_plan(self, claim: Claim, plan: TrialPlan) -> None:
        """Attaches the plan; a trial that was taken up again keeps the plan it has."""
        if plan.trial_id != claim.trial_id:
            raise StoreError(f"the plan is for trial {plan.trial_id}, the claim for trial {claim.trial_id}")
        text, key = records.write_plan(plan), records.plan_key(plan.key)
        with self._db.transaction():
            kept = self._db.value("SELECT plan FROM trials WHERE id = ?", (claim.trial_id,))
            self._check_held(claim, TrialState.CLAIMED)
            if kept is not None and records.read_plan(claim.trial_id, kept) != records.read_plan(plan.trial_id, text):
                raise StoreError(f"trial {claim.trial_id} keeps the plan it has; take it from the claim")
            other = self._db.value(
                "SELECT id FROM trials WHERE plan_key = ? AND state <> ? AND id <> ?",
                (key, TrialState.LOST.value, claim.trial_id),
            )
            if other is not None:
                raise RepeatedPlanError(
                    f"trial {claim.trial_id} would repeat trial {other}: the same architecture, hyperparameters in the "
                    "same bins"
                )
            if plan.parent is not None:
                self._check_exists(plan.parent, f"the parent of trial {claim.trial_id}")
            self._db.execute(
                "UPDATE trials SET state = ?, plan = ?, plan_key = ?, revision = ? WHERE id = ?",
                (TrialState.RUNNING.value, text, key, self._next_revision(), claim.trial_id),
            )

    def heartbeat(self, claim: Claim) -> None:
        """Increments the attempt's counter; takes no revision, since the trial itself has not changed."""
        with self._db.transaction():
            self._check_held(claim, TrialState.CLAIMED, TrialState.RUNNING)
            self._db.execute(
                "UPDATE attempts SET heartbeats = heartbeats + 1 WHERE trial_id = ? AND attempt = ?",
                (claim.trial_id, claim.attempt),
            )

    def complete(self, claim: Claim, result: TrialResult) -> None:
        """Stores metrics, curve, files and environment in one transaction."""
        text = records.write_result(claim.trial_id, result)
        environment = records.strict_json(dict(result.environment), f"the environment of trial {claim.trial_id}")
        curve = records.write_curve(claim.trial_id, result.curve)
        artefacts = [
            (claim.trial_id, place, *records.write_artefact(artefact))
            for place, artefact in enumerate(result.artefacts)
        ]
        with self._db.transaction():
            self._check_held(claim, TrialState.RUNNING)
            self._db.execute(
                "UPDATE trials SET state = ?, result = ?, environment_id = ?, finished_at = ?, revision = ? "
                "WHERE id = ?",
                (
                    TrialState.COMPLETED.value,
                    text,
                    self._environment_id(environment),
                    _now(),
                    self._next_revision(),
                    claim.trial_id,
                ),
            )
            for row in curve:
                self._db.execute("INSERT INTO curve (trial_id, position, step, value) VALUES (?, ?, ?, ?)", row)
            for entry in artefacts:
                self._db.execute(
                    "INSERT INTO artefacts (trial_id, position, name, path, sha256, size) VALUES (?, ?, ?, ?, ?, ?)",
                    entry,
                )
            self._end_attempt(claim.trial_id, claim.attempt, "completed")

    def fail(self, claim: Claim, reason: str) -> None:
        """Ends the trial; its plan counts as tried."""
        with self._db.transaction():
            self._check_held(claim, TrialState.CLAIMED, TrialState.RUNNING)
            self._db.execute(
                "UPDATE trials SET state = ?, reason = ?, finished_at = ?, revision = ? WHERE id = ?",
                (
                    TrialState.FAILED.value,
                    records.plain_text(reason),
                    _now(),
                    self._next_revision(),
                    claim.trial_id,
                ),
            )
            self._end_attempt(claim.trial_id, claim.attempt, "failed")

    def release(self, claim: Claim, has_failed: bool = False) -> None:
        """Puts the trial back; that it was stopped on purpose does not count as vanished."""
        with self._db.transaction():
            self._check_held(claim, TrialState.CLAIMED, TrialState.RUNNING)
            self._db.execute(
                "UPDATE trials SET state = ?, revision = ? WHERE id = ?",
                (TrialState.INTERRUPTED.value, self._next_revision(), claim.trial_id),
            )
            self._end_attempt(claim.trial_id, claim.attempt, "failed" if has_failed else "released")

    def reclaim_dead(self) -> list[int]:
        """Puts back trials of processes that are known to be gone from this host."""
        held = self._db.rows(
            "SELECT a.trial_id, a.attempt, a.heartbeats, a.host, a.boot, a.namespace, a.pid, a.started "
            "FROM trials t JOIN attempts a ON a.trial_id = t.id AND a.attempt = t.attempt WHERE t.state IN (?, ?)",
            _HELD,
        )
        dead = [records.read_heartbeat(*row[:3]) for row in held if records.read_process(row[0], *row[3:]).is_gone()]
        return self.reclaim(dead) if dead else []

    def heartbeats(self) -> list[Heartbeat]:
        """Reads the counters of all trials that are held."""
        rows = self._db.rows(
            "SELECT a.trial_id, a.attempt, a.heartbeats FROM trials t "
            "JOIN attempts a ON a.trial_id = t.id AND a.attempt = t.attempt WHERE t.state IN (?, ?) ORDER BY t.id",
            _HELD,
        )
        return [records.read_heartbeat(*row) for row in rows]

    def reclaim(self, stale: Iterable[Heartbeat]) -> list[int]:
        """Compares and sets in one transaction."""
        with self._db.transaction():
            return sorted(beat.trial_id for beat in stale if self._reclaim_one(beat))

    def history(self, since: int = 0) -> tuple[list[Trial], int]:
        """Reads what changed and the revision, of one moment."""
        with self._db.transaction(write=False):
            revision = self._db.whole("SELECT coalesce(max(revision), 0) FROM trials")
            read = self._read("revision > ?", since)
        return self._trials(read), revision

    def trial(self, trial_id: int) -> Trial:
        """Reads one trial; KeyError where there is none."""
        if trial_id.bit_length() > _ID_BITS:
            raise KeyError(trial_id)
        with self._db.transaction(write=False):
            read = self._read("id = ?", trial_id)
        found = self._trials(read)
        if not found:
            raise KeyError(trial_id)
        return found[0]

    def prune(self, trial_ids: Iterable[int]) -> list[Artefact]:
        """Marks the rows in one transaction; the caller deletes the files afterwards."""
        pruned = []
        with self._db.transaction():
            needed = self._needed_by_unfinished() | self._needed_by_final_models(self.final_models())
            for trial_id in trial_ids:
                if trial_id in needed:
                    continue
                where = "WHERE trial_id = ? AND pruned_at IS NULL"
                rows = self._db.rows(f"SELECT name, path, sha256, size FROM artefacts {where}", (trial_id,))  # noqa: S608 - the condition is written here, its values are parameters
                self._db.execute(f"UPDATE artefacts SET pruned_at = ? {where}", (_now(), trial_id))  # noqa: S608 - the condition is written here, its values are parameters
                pruned += [records.read_artefact(*row) for row in rows]
        return pruned

    def restore(self, trial_id: int, artefacts: Sequence[Artefact]) -> None:
        """Replaces path, hash and size of these files; others stay as they are."""
        rows = [records.write_artefact(artefact) for artefact in artefacts]
        with self._db.transaction():
            for name, *fields in rows:
                self._db.execute(
                    "UPDATE artefacts SET path = ?, sha256 = ?, size = ?, pruned_at = NULL "
                    "WHERE trial_id = ? AND name = ?",
                    (*fields, trial_id, name),
                )

    def save_final_models(self, models: Sequence[FinalModel], instead_of: Sequence[FinalModel] | None = None) -> bool:
        """Compares, deletes and inserts in one transaction."""
        rows = [(model.kind.value, records.write_final(model), _now()) for model in models]
        if len({kind for kind, *_ in rows}) < len(rows):
            raise StoreError(
                f"received the final models {[kind for kind, *_ in rows]}; expected one of each kind at most"
            )
        with self._db.transaction():
            if instead_of is not None and set(map(records.write_final, instead_of)) != {
                records.write_final(model) for model in self.final_models()
            }:
                return False
            if any(map(self._is_pruned, self._needed_by_final_models(models))):
                return False
            self._db.execute("DELETE FROM final_models")
            for row in rows:
                self._db.execute("INSERT INTO final_models (kind, record, created_at) VALUES (?, ?, ?)", row)
        return True

    def final_models(self) -> list[FinalModel]:
        """Reads their records."""
        found = dict(self._db.rows("SELECT kind, record FROM final_models"))
        return [records.read_final(kind.value, found[kind.value]) for kind in FinalKind if kind.value in found]

    def save_file(self, artefact: Artefact) -> None:
        """Inserts or replaces its row."""
        row = records.write_artefact(artefact)
        with self._db.transaction():
            self._db.execute("INSERT OR REPLACE INTO files (name, path, sha256, size) VALUES (?, ?, ?, ?)", row)

    def forget_files(self, names: Iterable[str]) -> list[Artefact]:
        """Reads their rows and deletes them; the caller deletes the files afterwards."""
        with self._db.transaction():
            known = self.files()
            found = [known[name] for name in dict.fromkeys(names) if name in known]
            for artefact in found:
                self._db.execute("DELETE FROM files WHERE name = ?", (artefact.name,))
        return found

    def files(self) -> dict[str, Artefact]:
        """Reads their rows."""
        rows = self._db.rows("SELECT name, path, sha256, size FROM files ORDER BY name")
        return {row[0]: records.read_artefact(*row) for row in rows}

    def another(self) -> SqliteStore:
        """A second connection, for another thread of this process."""
        return SqliteStore(
            self._db.path, worker_pid=self._worker_pid, max_attempts=self._max_attempts, file=self._db.file
        )

    @property
    def file(self) -> FileIdentity | None:
        """The identity of the file that is open."""
        return self._db.file

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keeps all others from writing; yields the study's revision. Inside, this store may only read."""
        with self._db.transaction():
            yield self._next_revision() - 1

    def close(self) -> None:
        """Closes the connection; closing twice does no harm."""
        self._db.close()

    def _read_study(self) -> StudyRecord | None:
        row = self._db.row(
            "SELECT s.record, s.settings, e.document FROM study s LEFT JOIN environments e ON e.id = s.environment_id"
        )
        return None if row is None else records.read_study(*row)

    def _read(self, where: str, value: int) -> _TrialRows:
        """Rows of the trials that meet a condition of one value; inside a transaction."""
        chosen = f"trial_id IN (SELECT id FROM trials WHERE {where} AND result IS NOT NULL) ORDER BY trial_id, position"  # noqa: S608 - `where` is a condition of this module
        columns = "trial_id, name, path, sha256, size, pruned_at IS NOT NULL"
        return _TrialRows(
            trials=self._db.rows(f"SELECT {_TRIAL_COLUMNS} FROM trials WHERE {where}", (value,)),  # noqa: S608 - the condition is written here, its values are parameters
            curves=self._db.rows(f"SELECT trial_id, step, value FROM curve WHERE {chosen}", (value,)),  # noqa: S608 - the condition is written here, its values are parameters
            artefacts=self._db.rows(f"SELECT {columns} FROM artefacts WHERE {chosen}", (value,)),  # noqa: S608 - the condition is written here, its values are parameters
        )

    def _trials(self, read: _TrialRows) -> list[Trial]:
        """Builds trials from their rows, by id; outside the transaction, so that writers need not wait for it."""
        curves: dict[int, list[Any]] = defaultdict(list)
        artefacts: dict[int, list[Any]] = defaultdict(list)
        for trial_id, *point in read.curves:
            curves[trial_id].append(point)
        for trial_id, *fields in read.artefacts:
            artefacts[trial_id].append(fields)
        trials = []
        # Sorted here: asked to sort, SQLite goes through all trials instead of the index of revisions.
        for trial_id, state, attempt, revision, worker, plan, result, *rest in sorted(read.trials):
            reason, created_at, finished_at, environment_id = rest
            records.check_columns(trial_id, (attempt, revision), (worker, created_at), (reason, finished_at))
            trials.append(
                Trial(
                    id=trial_id,
                    state=records.read_state(trial_id, state),
                    attempt=attempt,
                    revision=revision,
                    worker=worker,
                    plan=None if plan is None else self._plan(trial_id, plan, ended=finished_at is not None),
                    result=None
                    if result is None
                    else records.read_result(
                        trial_id, result, curves[trial_id], self._environment(environment_id), artefacts[trial_id]
                    ),
                    reason=reason,
                    created_at=created_at,
                    finished_at=finished_at,
                )
            )
        return trials

    def _plan(self, trial_id: int, text: str, ended: bool) -> TrialPlan:
        """The plan in a row; those of running trials are kept, as they come once more when the trial ends."""
        known, plan = self._plans.pop(trial_id, ("", None))
        if plan is None or known != text:
            plan = records.read_plan(trial_id, text)
        if not ended:
            self._plans[trial_id] = (text, plan)
        return plan

    def _needed_by_unfinished(self) -> set[int]:
        """Trials that unfinished ones build on; inside of a transaction."""
        states = (TrialState.INTERRUPTED.value, *_HELD)
        rows = self._db.rows("SELECT id, plan FROM trials WHERE state IN (?, ?, ?) AND plan IS NOT NULL", states)
        return {needed for trial_id, plan in rows for needed in records.read_plan(trial_id, plan).builds_on}

    def _needed_by_final_models(self, models: Iterable[FinalModel]) -> set[int]:
        """Trials whose towers final models consist of; inside of a transaction."""
        found: set[int] = set()
        waiting = [member.trial for model in models for member in model.members]
        while waiting:
            number = waiting.pop()
            plan = self._db.value("SELECT plan FROM trials WHERE id = ?", (number,))
            if number not in found and plan is not None:
                waiting += records.read_plan(number, plan).members
            found.add(number)
        return found

    def _is_pruned(self, trial_id: int) -> bool:
        """Whether files that a model of a trial consists of were pruned; inside of a transaction."""
        where = "trial_id = ? AND name IN (?, ?) AND pruned_at IS NOT NULL"
        pruned = f"SELECT count(*) FROM artefacts WHERE {where}"  # noqa: S608 - the condition is written here
        return self._db.whole(pruned, (trial_id, paths.WEIGHTS, paths.VALID_LOGITS)) > 0

    def _environment(self, environment_id: int) -> dict[str, Any]:
        if environment_id not in self._environments:
            text = self._db.value("SELECT document FROM environments WHERE id = ?", (environment_id,))
            self._environments[environment_id] = records.read_environment(environment_id, text)
        return self._environments[environment_id]

    def _environment_id(self, document: str) -> int:
        digest = hashlib.sha256(document.encode()).hexdigest()
        self._db.execute("INSERT OR IGNORE INTO environments (sha256, document) VALUES (?, ?)", (digest, document))
        return self._db.whole("SELECT id FROM environments WHERE sha256 = ?", (digest,))

    def _count_completed(self) -> int:
        """How many trials are completed, inside a transaction; they stay completed, so only changes are counted."""
        where = "revision > ? AND +state = ?" if self._counted_to else "id > ? AND state = ?"  # + says: not that index
        since = (self._counted_to, TrialState.COMPLETED.value)
        self._completed += self._db.whole(f"SELECT count(*) FROM trials WHERE {where}", since)  # noqa: S608 - the condition is written here, its values are parameters
        self._counted_to = self._next_revision() - 1
        return self._completed

    def _next_revision(self) -> int:
        return self._db.whole("SELECT coalesce(max(revision), 0) + 1 FROM trials")

    def _begin_attempt(self, claim: Claim) -> None:
        process = self._process
        self._db.execute(
            "INSERT INTO attempts "
            "(trial_id, attempt, worker, host, pid, boot, namespace, started, heartbeats, began_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
            (
                claim.trial_id,
                claim.attempt,
                claim.worker,
                process.host,
                process.pid,
                process.boot,
                process.namespace,
                process.started,
                _now(),
            ),
        )

    def _end_attempt(self, trial_id: int, attempt: int, ending: str) -> None:
        self._db.execute(
            "UPDATE attempts SET ended_at = ?, ending = ? WHERE trial_id = ? AND attempt = ?",
            (_now(), ending, trial_id, attempt),
        )

    def _check_held(self, claim: Claim, *states: TrialState) -> None:
        """Refuses a claim that no longer holds its trial; inside of a transaction."""
        row = self._db.row("SELECT state, attempt, worker FROM trials WHERE id = ?", (claim.trial_id,))
        if row is None:
            raise StaleClaimError(f"there is no trial {claim.trial_id} in {self._db.path}; was the study overwritten?")
        state, attempt, worker = row
        if (attempt, worker) == (claim.attempt, claim.worker) and state in states:
            return
        raise StaleClaimError(
            f"trial {claim.trial_id} is {state} in attempt {attempt} of worker {worker!r}; attempt {claim.attempt} of "
            f"worker {claim.worker!r} expected it to be {' or '.join(states)} and is refused"
        )

    def _check_exists(self, trial_id: int, what: str) -> None:
        if self._db.value("SELECT id FROM trials WHERE id = ?", (trial_id,)) is None:
            raise StoreError(f"{what} is trial {trial_id}, which this study does not have")

    def _reclaim_one(self, beat: Heartbeat) -> bool:
        row = self._db.row(
            "SELECT t.vanished + 1, a.host, a.pid FROM trials t "
            "JOIN attempts a ON a.trial_id = t.id AND a.attempt = t.attempt "
            "WHERE t.id = ? AND t.attempt = ? AND a.heartbeats = ? AND t.state IN (?, ?)",
            (beat.trial_id, beat.attempt, beat.counter, *_HELD),
        )
        if row is None:
            return False
        vanished, host, pid = row
        lost = vanished >= self._max_attempts
        state = TrialState.LOST if lost else TrialState.INTERRUPTED
        times = "once" if vanished == 1 else f"{vanished} times"
        reason = f"its worker vanished {times}, the last time on {host} (process {pid})"
        self._db.execute(
            "UPDATE trials SET state = ?, vanished = ?, reason = ?, finished_at = ?, revision = ? WHERE id = ?",
            (state.value, vanished, reason, _now() if lost else None, self._next_revision(), beat.trial_id),
        )
        self._end_attempt(beat.trial_id, beat.attempt, "vanished")
        return True


def _now() -> str:
    """For people only: no decision depends on the clock of another machine."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
