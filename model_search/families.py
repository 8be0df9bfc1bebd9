"""Which family of blocks is better on some data: "is an LSTM enough, or are transformer layers better, or both?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_search.errors import StudyError, UserError
from model_search.metadata.study_folder import OpenFolder
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.report.comparison import Comparison, FamilyScores, TowerScores, checked_families, keep_comparison
from model_search.single_trainer import SingleTrainer
from model_search.spec.load import load_spec
from model_search.spec.tower_suggestions import tower_suggestion

if TYPE_CHECKING:
    import os

    from model_search.data.provider import Provider
    from model_search.metadata.trial import TrialPlan
    from model_search.study import Study

# Parts of a specification that would add towers of other blocks, or change what a trial is.
_LEFT_OUT = ("user_suggestions", "ensemble_spec", "distillation_spec", "replay", "tuning", "evaluation_schedule")


def compare_families(
    data: Provider,
    spec: str | os.PathLike[str] | PhoenixSpec,
    families: Mapping[str, Sequence[str]],
    *,
    test: Any = None,
    best: int = 3,
    seeds: int = 3,
    **search: Any,
) -> Comparison:
    """Searches each family of blocks by itself, and trains its best towers again.

    Each family gets a search of `number_models` trials with its blocks alone. The best towers of each are then trained
    anew, once for each of further seeds: the figures that chose them are left out, since the best of many noisy results
    is partly luck. A further seed changes the initial weights, the order of the rows and, where no validation rows are
    given, the rows that are validated on. What is finished is kept in studies `<experiment_name>/<family>` and
    `<experiment_name>/<family>-again-<seed>`; a call with the same arguments reads them. The comparison is kept beside
    each family's search, whose report shows it.

    Args:
        data: Where the rows come from.
        spec: The specification; its `blocks_to_use` and what would add other towers are replaced.
        families: Blocks of each family by its name; a block may be in several.
        test: Rows kept aside, as `Study.evaluate` takes them, that the figures are of; the validation rows where None.
        best: How many towers of each family are trained again.
        seeds: How often each of them is.
        **search: What `SingleTrainer.try_models` takes; `seed` is needed.

    Returns:
        The figures of each family with intervals, and what can be said: `print` it, or write its `report(path)`.

    Raises:
        UserError: for arguments that make no sense.
        StudyError: if a family has fewer completed trials than towers are to be trained again.
    """
    named = checked_families(dict(families))
    if best < 1 or seeds < 1:
        raise UserError(f"best is {best}, seeds is {seeds}; expected at least 1 each")
    if not isinstance(search.get("seed"), int):
        raise UserError("a comparison needs a seed; give seed=1, say")
    common = {"finish": "neither", "members": "networks"} | search
    base = spec if isinstance(spec, PhoenixSpec) else load_spec(spec)
    found, studies = [], []
    for name, blocks in named.items():
        here = f"{search['experiment_name']}/{name}"
        study = SingleTrainer(data, _of_family(base, blocks)).try_models(**common | {"experiment_name": here})
        studies.append(OpenFolder(study.folder))
        chosen = [trial for trial in study.history.best(best) if trial.plan is not None]
        if len(chosen) < best:
            raise StudyError(f"family {name!r} has {len(chosen)} completed trials; expected at least {best}")
        plans = [trial.plan for trial in chosen if trial.plan is not None]
        scores = [
            _again(data, _replay(base, blocks, plans), common, f"{here}-again-{number}", number, test)
            for number in range(search["seed"] + 1, search["seed"] + 1 + seeds)
        ]
        towers = tuple(
            TowerScores(plan.architecture, plan.trial_id, tuple(of_seed[place] for of_seed in scores))
            for place, plan in enumerate(plans)
        )
        found.append(FamilyScores(name, blocks, len(study.history.completed), towers))
    rows = "the validation rows" if test is None else "the test rows"
    compared = Comparison(study.metric, study.record.goal, rows, tuple(found))
    keep_comparison(compared, studies)
    return compared


def _of_family(base: PhoenixSpec, blocks: Sequence[str]) -> PhoenixSpec:
    """The specification with these blocks alone."""
    spec = PhoenixSpec()
    spec.CopyFrom(base)
    for field in _LEFT_OUT:
        spec.ClearField(field)
    del spec.blocks_to_use[:]
    spec.blocks_to_use.extend(blocks)
    return spec


def _replay(base: PhoenixSpec, blocks: Sequence[str], plans: Sequence[TrialPlan]) -> PhoenixSpec:
    """The specification that trains these towers and nothing else."""
    spec = _of_family(base, blocks)
    spec.replay.towers.extend(tower_suggestion(plan.architecture, plan.hyperparameters) for plan in plans)
    return spec


def _again(
    data: Provider, spec: PhoenixSpec, common: Mapping[str, Any], name: str, seed: int, test: Any
) -> list[float]:
    """The metric of each tower of a replay."""
    changed = {"experiment_name": name, "seed": seed, "number_models": len(spec.replay.towers)}
    study = SingleTrainer(data, spec).try_models(**{**common, **changed})
    return [_score(study, number, test) for number in range(1, len(spec.replay.towers) + 1)]


def _score(study: Study, trial: int, test: Any) -> float:
    if test is not None:
        return study.evaluate(test, trial)[study.metric]
    result = study.trial(trial).result
    if result is None:
        raise StudyError(f"trial {trial} of study {study.name!r} failed; its tower cannot be compared")
    return result.metrics[study.metric]
