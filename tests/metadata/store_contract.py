"""What every store promises. Subclass `StoreContract` and give it an `open_store` fixture."""

import dataclasses
import json
import math

import numpy as np
import pytest
from made_records import RECORD, make_ensemble, make_plan, make_result, make_student, run_one, vanish

from model_search.errors import RepeatedPlanError, StaleClaimError, StoreError, StudyError, UnstorableError
from model_search.metadata.final_models import FinalMember
from model_search.metadata.store import Claim, Heartbeat
from model_search.metadata.trial import (
    Artefact,
    DistillationPlan,
    EnsemblePlan,
    StartKind,
    TrialKind,
    TrialState,
    WarmStart,
)


class StoreContract:
    """`open_store()` opens one more instance on the same, at first empty, study; it lets a trial vanish three times."""

    @pytest.fixture
    def store(self, open_store):
        store = open_store()
        store.create_study(RECORD)
        return store

    # The study's own record.

    def test_there_is_no_study_before_it_is_created(self, open_store):
        store = open_store()
        with pytest.raises(StudyError, match="no study yet"):
            store.study()
        with pytest.raises(StudyError, match="no study yet"):
            store.change_settings({})

    def test_the_first_to_create_the_study_wins(self, open_store):
        assert open_store().create_study(RECORD) == RECORD
        late = dataclasses.replace(RECORD, owner="somebody else", seed=5)
        assert open_store().create_study(late) == RECORD
        assert open_store().study() == RECORD

    def test_settings_change_and_nothing_else_does(self, store, open_store):
        other = open_store()
        store.change_settings({"train_steps": 5, "given": {"origin": "x"}})
        other.change_settings({"number_models": 7})
        found = RECORD.settings | {"train_steps": 5, "given": {"origin": "x"}, "number_models": 7}
        assert open_store().study() == dataclasses.replace(RECORD, settings=found)
        other.change_settings({"train_steps": 6}, without=["given", "train_steps", "never there"])
        del found["given"]
        assert store.study() == dataclasses.replace(RECORD, settings=found | {"train_steps": 6})

    @pytest.mark.parametrize("wrong", [{"deterministic": 1}, {"train_steps": 0}, {"spec": 3}])
    def test_settings_that_could_not_be_read_are_not_written(self, store, open_store, wrong):
        with pytest.raises(UnstorableError, match=f"its setting {next(iter(wrong))} is"):
            store.change_settings(wrong)
        with pytest.raises(UnstorableError, match=f"its setting {next(iter(wrong))} is"):
            store.create_study(dataclasses.replace(RECORD, settings=wrong))
        assert open_store().study() == RECORD

    def test_an_owner_that_is_no_text_is_not_written(self, open_store):
        with pytest.raises(UnstorableError, match="the owner of the study is None; expected a text"):
            open_store().create_study(dataclasses.replace(RECORD, owner=None))

    @pytest.mark.parametrize("bad", [{"x": math.nan}, {"x": math.inf}, {"x": {3: "a"}}, {"x": object()}])
    def test_a_record_that_is_no_strict_json_is_refused(self, open_store, bad):
        store = open_store()
        with pytest.raises(StoreError, match="JSON"):
            store.create_study(dataclasses.replace(RECORD, data=bad))
        with pytest.raises(StudyError):
            store.study()

    # A trial's life.

    def test_ids_are_contiguous_from_one(self, store, open_store):
        claims = [store.claim("a", 10), open_store().claim("b", 10), store.claim("a", 10)]
        assert claims == [Claim(1, 1, "a"), Claim(2, 1, "b"), Claim(3, 1, "a")]

    def test_a_trial_goes_through_its_states(self, store):
        claim = store.claim("w", 5)
        trial = store.trial(1)
        assert (trial.state, trial.plan, trial.result, trial.attempt) == (TrialState.CLAIMED, None, None, 1)
        plan = make_plan(1)
        store.commit_plan(claim, plan)
        trial = store.trial(1)
        assert (trial.state, trial.plan, trial.worker, trial.finished_at) == (TrialState.RUNNING, plan, "w", None)
        store.heartbeat(claim)
        result = make_result()
        store.complete(claim, result)
        trial = store.trial(1)
        assert (trial.state, trial.plan, trial.result) == (TrialState.COMPLETED, plan, result)
        assert trial.created_at <= trial.finished_at
        assert store.trial(1).objective("loss") == 0.5

    def test_every_kind_of_plan_is_kept_as_it_is(self, store):
        run_one(store, 9)
        run_one(store, 9)
        plans = [
            make_plan(3, kind=TrialKind.ENSEMBLE, architecture=(), members=(1, 2), ensemble=EnsemblePlan("average")),
            make_plan(
                4,
                kind=TrialKind.DISTILLATION,
                teacher=(2,),
                distillation=DistillationPlan("balanced", 2.0, 0.5),
                parent=1,
                start=WarmStart(StartKind.COPY, (1,)),
            ),
            make_plan(5, kind=TrialKind.REPLAY, steps=0, seed=0, hyperparameters={}),
        ]
        for plan in plans:
            store.commit_plan(store.claim("w", 9), plan)
        assert [store.trial(plan.trial_id).plan for plan in plans] == plans

    def test_an_unknown_trial_is_a_key_error(self, store):
        for number in (1, 0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30):
            with pytest.raises(KeyError):
                store.trial(number)

    def test_a_failed_trial_keeps_its_reason_and_is_replaced(self, store):
        claim = store.claim("w", 1)
        store.commit_plan(claim, make_plan(1))
        assert store.claim("w", 1) is None
        store.fail(claim, "the loss is NaN at step 7 \udcff")
        trial = store.trial(1)
        assert trial.state is TrialState.FAILED
        assert trial.reason.startswith("the loss is NaN at step 7")
        assert trial.finished_at is not None
        assert run_one(store, 1) == 2
        assert store.claim("w", 1) is None

    def test_a_trial_may_fail_before_it_has_a_plan(self, store):
        store.fail(store.claim("w", 1), "no plan")
        assert store.trial(1).state is TrialState.FAILED

    # Whose turn it is.

    def test_the_target_counts_completed_and_unfinished_trials(self, store):
        run_one(store, 3)
        held = [store.claim("a", 3), store.claim("b", 3)]
        assert store.claim("c", 3) is None
        assert store.claim("c", 4).trial_id == 4
        store.fail(held[0], "x")
        assert store.claim("c", 4).trial_id == 5

    def test_an_interrupted_trial_is_taken_first_under_its_id_with_its_plan(self, store):
        claim = store.claim("a", 3)
        plan = make_plan(1)
        store.commit_plan(claim, plan)
        store.release(claim)
        assert store.trial(1).state is TrialState.INTERRUPTED
        again = store.claim("b", 3)
        assert again == Claim(1, 2, "b", plan)
        assert store.trial(1).state is TrialState.CLAIMED
        store.commit_plan(again, plan)
        store.complete(again, make_result())
        assert store.trial(1).attempt == 2

    def test_attempts_that_failed_for_an_outer_reason_are_counted(self, store):
        failures = []
        for has_failed in (False, True, False, True, False):
            claim = store.claim("a", 3)
            failures.append(claim.failures)
            store.release(claim, has_failed=has_failed)
        vanish(store)
        assert failures == [0, 0, 1, 1, 2]
        assert store.claim("a", 3) == Claim(1, 6, "a", failures=2)

    def test_the_first_interrupted_trial_comes_first(self, store):
        claims = [store.claim("a", 5) for _ in range(3)]
        for claim in (claims[2], claims[0]):
            store.release(claim)
        assert [store.claim("b", 5).trial_id for _ in range(3)] == [1, 3, 4]

    def test_an_interrupted_trial_is_left_alone_where_the_target_is_met(self, store):
        late = store.claim("a", 3)
        run_one(store, 3)
        run_one(store, 3)
        store.release(late)
        assert store.claim("b", 2) is None
        assert store.claim("b", 3).trial_id == late.trial_id

    def test_one_trial_may_be_claimed_however_many_there_are(self, store):
        first = store.claim("w", 1)
        assert store.claim("w", 1) is None
        assert store.claim_trial("w", first.trial_id) is None  # another worker holds it
        second = store.claim_trial("w")
        assert (second.trial_id, second.attempt, second.plan) == (2, 1, None)
        plan = make_plan(2)
        store.commit_plan(second, plan)
        store.release(second)
        store.release(first)
        assert store.claim_trial("w", 3) is None  # there is none
        again = store.claim_trial("w", 2)
        assert (again.trial_id, again.attempt, again.plan) == (2, 2, plan)
        assert [beat.trial_id for beat in store.heartbeats()] == [2]
        assert store.trial(1).state is TrialState.INTERRUPTED

    def test_a_trial_that_is_taken_up_again_keeps_its_plan(self, store):
        claim = store.claim("a", 3)
        store.commit_plan(claim, make_plan(1))
        store.release(claim)
        with pytest.raises(StoreError, match="keeps the plan"):
            store.commit_plan(store.claim("b", 3), make_plan(1, key="other"))

    # Repetitions.

    def test_a_repeated_plan_is_refused_and_the_claim_stays(self, store, open_store):
        store.commit_plan(store.claim("a", 5), make_plan(1, key="k"))
        other = open_store()
        claim = other.claim("b", 5)
        with pytest.raises(RepeatedPlanError, match="trial 2 would repeat trial 1"):
            other.commit_plan(claim, make_plan(2, key="k"))
        other.commit_plan(claim, make_plan(2, key="K"))

    @pytest.mark.parametrize("end", ["fail", "release", "complete"])
    def test_a_plan_counts_as_tried_however_its_trial_ended(self, store, end):
        claim = store.claim("a", 5)
        store.commit_plan(claim, make_plan(1, key="k"))
        blocker = store.claim("b", 5)
        {"fail": lambda: store.fail(claim, "x"), "release": lambda: store.release(claim)}.get(
            end, lambda: store.complete(claim, make_result())
        )()
        with pytest.raises(RepeatedPlanError):
            store.commit_plan(blocker, make_plan(2, key="k"))

    def test_the_plan_of_a_lost_trial_may_be_tried_again(self, store):
        for _ in range(3):
            claim = store.claim("a", 5)
            store.commit_plan(claim, make_plan(1, key="k"))
            vanish(store)
        assert store.trial(1).state is TrialState.LOST
        store.commit_plan(store.claim("a", 5), make_plan(2, key="k"))

    def test_keys_differ_by_every_character(self, store):
        keys = ["a", "A", "a ", "a\0", "a\0b", "a\\u0000", "ä", "a\u0308", "\ud800", ""]
        for trial_id, key in enumerate(keys, start=1):
            store.commit_plan(store.claim("w", 99), make_plan(trial_id, key=key))
        assert [trial.plan.key for trial in store.history()[0]] == keys

    # What is refused.

    def test_a_plan_for_another_trial_or_with_an_unknown_parent_is_refused(self, store):
        claim = store.claim("w", 5)
        with pytest.raises(StoreError, match="for trial 2"):
            store.commit_plan(claim, make_plan(2))
        store.fail(claim, "x")
        store.fail(store.claim("w", 5), "x")
        store.commit_plan(store.claim("w", 5), make_plan(3, parent=2))

    def test_a_plan_that_is_no_strict_json_is_refused(self, store):
        claim = store.claim("w", 5)
        with pytest.raises(StoreError, match="plan of trial 1"):
            store.commit_plan(claim, make_plan(1, hyperparameters={"learning_rate": math.nan}))
        with pytest.raises(StoreError, match="plan of trial 1"):
            store.commit_plan(claim, make_plan(1, hyperparameters={"learning_rate": object()}))
        assert store.trial(1).state is TrialState.CLAIMED

    @pytest.mark.parametrize(
        "changes",
        [
            {"timings": {"total": math.nan}},
            {"environment": {"x": math.inf}},
            {"environment": {"x": object()}},
            {"parameters": "many"},
            {"curve": ((1, "high"),)},
            {"curve": ((2**70, 0.5),)},
            {"artefacts": (Artefact("a", "../a", "00", 1),)},
            {"artefacts": (Artefact("a", "/etc/passwd", "00", 1),)},
            {"artefacts": (Artefact("a", "x/a", "00", 1), Artefact("a", "x/b", "00", 1))},
        ],
    )
    def test_a_result_that_cannot_be_kept_is_refused_whole(self, store, changes):
        claim = store.claim("w", 5)
        store.commit_plan(claim, make_plan(1))
        with pytest.raises(StoreError):
            store.complete(claim, make_result(**changes))
        assert store.trial(1).state is TrialState.RUNNING
        store.complete(claim, make_result())

    def test_a_result_needs_a_plan(self, store):
        claim = store.claim("w", 5)
        with pytest.raises(StoreError):
            store.complete(claim, make_result())

    # Late comers.

    @pytest.mark.parametrize("act", ["commit_plan", "heartbeat", "complete", "fail", "release"])
    @pytest.mark.parametrize("successor", ["same name", "other name", "none", "finished"])
    def test_a_worker_given_up_for_dead_is_refused(self, store, act, successor):
        claim = store.claim("w", 5)
        store.commit_plan(claim, make_plan(1))
        assert vanish(store) == [1]
        if successor != "none":
            again = store.claim("w" if successor == "same name" else "v", 5)
            store.commit_plan(again, again.plan)
            if successor == "finished":
                store.complete(again, make_result(0.25))
        before = store.trial(1)
        arguments = {"commit_plan": (make_plan(1),), "complete": (make_result(),), "fail": ("x",)}.get(act, ())
        with pytest.raises(StaleClaimError, match="trial 1 is"):
            getattr(store, act)(claim, *arguments)
        assert store.trial(1) == before

    @pytest.mark.parametrize("act", ["complete", "fail", "release", "heartbeat", "commit_plan"])
    def test_a_final_trial_stays_as_it_is(self, store, act):
        claim = store.claim("w", 5)
        store.commit_plan(claim, make_plan(1))
        store.complete(claim, make_result())
        before = store.trial(1)
        arguments = {"commit_plan": (make_plan(1),), "complete": (make_result(0.1),), "fail": ("x",)}.get(act, ())
        with pytest.raises(StaleClaimError):
            getattr(store, act)(claim, *arguments)
        assert store.trial(1) == before

    def test_a_claim_of_another_study_is_refused(self, store):
        with pytest.raises(StaleClaimError, match="no trial 4"):
            store.heartbeat(Claim(4, 1, "w"))

    # Signs of life.

    def test_the_first_heartbeat_comes_with_the_claim(self, store):
        claim = store.claim("w", 5)
        assert store.heartbeats() == [Heartbeat(1, 1, 1)]
        store.commit_plan(claim, make_plan(1))
        store.heartbeat(claim)
        assert store.heartbeats() == [Heartbeat(1, 1, 2)]
        store.complete(claim, make_result())
        assert store.heartbeats() == []

    def test_a_new_attempt_counts_from_one(self, store):
        claim = store.claim("w", 5)
        store.heartbeat(claim)
        store.release(claim)
        assert store.heartbeats() == []
        store.claim("w", 5)
        assert store.heartbeats() == [Heartbeat(1, 2, 1)]

    def test_of_two_who_reclaim_one_succeeds(self, store, open_store):
        store.claim("w", 5)
        stale, other = store.heartbeats(), open_store()
        assert store.reclaim(stale) == [1]
        assert other.reclaim(stale) == []
        assert store.trial(1).state is TrialState.INTERRUPTED

    def test_who_has_beaten_meanwhile_is_not_reclaimed(self, store):
        claim = store.claim("w", 5)
        stale = store.heartbeats()
        store.heartbeat(claim)
        assert store.reclaim(stale) == []
        store.commit_plan(claim, make_plan(1))

    def test_the_living_are_not_dead(self, store):
        claim = store.claim("w", 5)
        assert store.reclaim_dead() == []
        store.commit_plan(claim, make_plan(1))

    def test_a_trial_whose_workers_vanish_too_often_is_lost_and_replaced(self, store):
        for attempt in (1, 2, 3):
            assert store.claim("w", 1).attempt == attempt
            assert vanish(store) == [1]
        trial = store.trial(1)
        assert trial.state is TrialState.LOST
        assert "vanished 3 times" in trial.reason
        assert store.claim("w", 1) == Claim(2, 1, "w")

    def test_being_stopped_on_purpose_is_not_vanishing(self, store):
        for _ in range(5):
            store.release(store.claim("w", 1))
        store.claim("w", 1)
        vanish(store)
        assert store.trial(1).state is TrialState.INTERRUPTED

    # History.

    def test_history_tells_what_changed(self, store, open_store):
        assert store.history() == ([], 0)
        run_one(store, 9)
        claim = store.claim("w", 9)
        trials, revision = store.history()
        assert [trial.id for trial in trials] == [1, 2]
        assert store.history(revision) == ([], revision)
        other = open_store()
        other.commit_plan(claim, make_plan(2))
        changed, later = store.history(revision)
        assert [(trial.id, trial.state) for trial in changed] == [(2, TrialState.RUNNING)]
        assert later > revision
        other.heartbeat(claim)
        assert store.history(later) == ([], later)
        other.complete(claim, make_result(0.25))
        changed, last = store.history(later)
        assert changed == [store.trial(2)]
        assert changed[0].revision == last

    def test_history_fed_in_pieces_is_the_whole_history(self, store):
        known, revision = {}, 0
        for step in range(6):
            claim = store.claim("w", 99)
            if step % 3 != 2:
                store.commit_plan(claim, claim.plan or make_plan(claim.trial_id))
            if step % 3 == 0:
                store.complete(claim, make_result())
            elif step % 3 == 1:
                store.release(claim)
            trials, revision = store.history(revision)
            known |= {trial.id: trial for trial in trials}
        assert [known[trial_id] for trial_id in sorted(known)] == store.history()[0]

    def test_a_result_is_a_record_of_plain_values(self, store):
        claim = store.claim("w", 5)
        store.commit_plan(claim, make_plan(1))
        store.complete(
            claim,
            make_result(
                metrics={"loss": np.float32(0.5)},
                parameters=np.int64(3),
                timings={"total": np.float64(0.1)},
                curve=((np.int64(1), np.float32(0.5)),),
            ),
        )
        result = store.trial(1).result
        assert json.loads(json.dumps(dict(result.metrics))) == {"loss": 0.5}
        assert (result.parameters, result.timings["total"], result.curve) == (3, 0.1, ((1, 0.5),))

    def test_environments_of_trials_do_not_share_a_dict(self, store):
        run_one(store, 9)
        run_one(store, 9)
        first, second = store.history()[0]
        assert first.result.environment == second.result.environment
        first.result.environment["tensorflow"] = "changed"
        assert second.result.environment["tensorflow"] == store.trial(1).result.environment["tensorflow"] == "2.21"

    # Files that were deleted to save room.

    def test_pruned_files_are_recorded_and_returned_once(self, store, open_store):
        first = run_one(store, 9)
        second = run_one(store, 9)
        (artefact,) = make_result().artefacts
        assert store.prune([first, 77]) == [artefact]
        assert open_store().prune([first]) == []
        assert store.trial(first).result.artefacts == (dataclasses.replace(artefact, pruned=True),)
        assert store.trial(second).result.artefacts == (artefact,)
        assert store.history(2)[0][-1].result.artefacts == (artefact,)

    @pytest.mark.parametrize(
        "builds_on",
        [
            {"start": WarmStart(StartKind.COPY, (1,))},
            {"members": (1,), "ensemble": EnsemblePlan("average")},
            {"teacher": (1,), "distillation": DistillationPlan("mse_logits")},
        ],
    )
    def test_what_an_unfinished_trial_builds_on_is_not_pruned(self, store, builds_on):
        run_one(store, 9)
        claim = store.claim("w", 9)
        store.commit_plan(claim, make_plan(claim.trial_id, **builds_on))
        assert store.prune([1]) == []
        store.release(claim)
        assert store.prune([1]) == []
        again = store.claim("w", 9)
        store.commit_plan(again, again.plan)
        store.complete(again, make_result())
        assert len(store.prune([1])) == 1

    def test_files_that_were_made_again_are_there_again(self, store):
        run_one(store, 9)
        same = make_result().artefacts[0]
        changed = Artefact("weights.npz", "trials/000001/weights.11.npz", "11" * 32, 18)
        store.restore(1, [dataclasses.replace(changed, name="another.npz")])
        assert store.trial(1).result.artefacts == (same,)
        store.restore(1, [changed])  # the stored file was damaged
        assert store.trial(1).result.artefacts == (changed,)
        store.prune([1])
        store.restore(1, [same])
        assert store.trial(1).result.artefacts == (same,)

    # Final models, files of the study.

    def test_final_models_come_back_and_are_replaced_as_a_whole(self, store, open_store):
        assert store.final_models() == []
        store.save_final_models([make_student(), make_ensemble()])
        assert open_store().final_models() == [make_ensemble(), make_student()]
        store.save_final_models([make_ensemble(accepted=False, calibration=None)])
        assert open_store().final_models() == [make_ensemble(accepted=False, calibration=None)]
        assert store.save_final_models([])
        assert store.final_models() == []

    def test_final_models_are_replaced_only_where_they_are_known(self, store, open_store):
        first, second = make_ensemble(), make_ensemble(accepted=False, calibration=None)
        assert store.save_final_models([first], instead_of=[])
        assert not open_store().save_final_models([second], instead_of=[])
        assert not open_store().save_final_models([second], instead_of=[second])
        assert not open_store().save_final_models([second], instead_of=[first, make_student()])
        assert store.final_models() == [first]
        assert open_store().save_final_models([second], instead_of=store.final_models())
        assert store.final_models() == [second]

    def test_what_a_final_model_consists_of_and_what_is_pruned_are_never_the_same(self, store, open_store):
        run_one(store, 9)
        store.commit_plan(claim := store.claim("w", 9), make_plan(2, members=(1,), ensemble=EnsemblePlan("average")))
        store.complete(claim, make_result())
        made = make_ensemble(trials=(1, 2), members=(FinalMember(2, 1.0),))
        store.save_final_models([made])
        assert open_store().prune([1, 2]) == []
        store.save_final_models([])
        assert len(store.prune([1])) == 1
        assert not open_store().save_final_models([made])
        assert store.final_models() == []

    def test_two_ensembles_or_a_figure_that_is_none_are_refused_and_change_nothing(self, store):
        store.save_final_models([make_ensemble()])
        with pytest.raises(StoreError, match="one of each kind"):
            store.save_final_models([make_ensemble(), make_ensemble()])
        with pytest.raises(StoreError, match="finite"):
            store.save_final_models([make_ensemble(gain=math.nan)])
        with pytest.raises(StoreError, match="not a path inside"):
            store.save_final_models([make_student(artefacts=(Artefact("w", "../w", "00" * 32, 1),))])
        assert store.final_models() == [make_ensemble()]

    def test_a_file_of_the_study_replaces_the_one_of_its_name(self, store, open_store):
        first = Artefact("validation.npz", "files/validation.00.npz", "00" * 32, 17)
        other = Artefact("validation.npz", "files/validation.11.npz", "11" * 32, 18)
        assert store.files() == {}
        store.save_file(first)
        store.save_file(other)
        assert open_store().files() == {"validation.npz": other}
        with pytest.raises(StoreError, match="not a path inside"):
            store.save_file(Artefact("w", "/etc/passwd", "00" * 32, 1))

    def test_files_of_the_study_are_forgotten_by_name(self, store, open_store):
        files = [Artefact(f"{name}.npz", f"files/{name}.00.npz", "00" * 32, 17) for name in "abc"]
        for file in files:
            store.save_file(file)
        assert store.forget_files(["c.npz", "none.npz", "a.npz", "c.npz"]) == [files[2], files[0]]
        assert open_store().files() == {"b.npz": files[1]}
        assert store.forget_files([]) == store.forget_files(["a.npz"]) == []

    def test_closing_twice_does_no_harm(self, open_store):
        store = open_store()
        store.close()
        store.close()
