"""Specifications in words: what one asks for, and how two differ."""

from __future__ import annotations

from typing import Any

from model_search import problem
from model_search.cells import MAP_OPERATIONS, STEP_OPERATIONS
from model_search.errors import SpecError
from model_search.macro import PLURALS, USUAL
from model_search.proto.phoenix_spec_pb2 import LearningSpec, PhoenixSpec
from model_search.spec import check_ensembles
from model_search.spec.check import check, problem_type, search_type
from model_search.spec.schedules import schedule_name, stopping_name
from model_search.spec.searches import SEARCHES, VERSION

# Fields that decide what a tower or its training data are; trials with other values cannot be compared.
_FIXED = (
    "disable_last_dense_layer",
    "weight_feature_name",
    "is_input_shared",
    "lengths_feature_name",
    "primary_task_name",
)


def warnings_of(spec: PhoenixSpec) -> list[str]:
    """What the specification asks for that this version does not do, and what happens instead; a sentence each."""
    return [problem.message for problem in check(spec) if problem.severity == "warning"]


def incompatibilities(old: PhoenixSpec, new: PhoenixSpec) -> list[str]:
    """The differences that forbid continuing a study with another specification; a sentence each.

    What only steers the search may change: depths, beam, probabilities, suggestions, learning settings, added blocks.

    Args:
        old: The specification of the study.
        new: The one that it is to be continued with.
    """
    differences = []
    if problem_type(old) != problem_type(new):
        differences.append(f"problem_type was {problem_type(old)} and is now {problem_type(new)}.")
    for name in _FIXED:
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            differences.append(f"{name} was {_value(before)} and is now {_value(now)}.")
    if list(old.multi_task_spec) != list(new.multi_task_spec):
        differences.append("multi_task_spec is another one.")
    if list(old.input_towers) != list(new.input_towers):
        differences.append("input_towers is another one.")
    if merges_losses(old) != merges_losses(new):
        differences.append("merge_losses_of_multitask is another one.")
    lengths = [_lengths(old), _lengths(new)]
    if lengths[0] != lengths[1]:
        differences.append(f"evaluation_schedule was {lengths[0]} and is now {lengths[1]}.")
    differences += _cells_changed(old, new)
    removed = [name for name in dict.fromkeys(old.blocks_to_use) if name not in new.blocks_to_use]
    if removed:
        differences.append(f"blocks_to_use no longer has {', '.join(removed)}.")
    return differences


def _cells_changed(old: PhoenixSpec, new: PhoenixSpec) -> list[str]:
    """The differences in cells, whose trials could not be compared; operations may be added."""
    if old.HasField("cell") != new.HasField("cell"):
        return [f"cell was {'given' if old.HasField('cell') else 'not given'} and is now the other."]
    fixed = ("nodes", "repeats", "reductions", "stem_stride", "layers")
    pairs = [(name, getattr(old.cell, name), getattr(new.cell, name)) for name in fixed]
    differences = [f"{name} of cell was {before} and is now {now}." for name, before, now in pairs if before != now]
    choices: dict[str, tuple[Any, ...]] = {"operations": (), **{PLURALS[field]: USUAL[field] for field in USUAL}}
    for field, usual in choices.items():
        before, now = (tuple(getattr(spec.cell, field)) or usual for spec in (old, new))
        removed = [str(value) for value in before if now and value not in now]
        differences += [f"{field} of cell no longer has {', '.join(removed)}."] if removed else []
    return differences


def merges_losses(spec: PhoenixSpec) -> bool:
    """Whether the losses of several tasks are added, rather than trained in turn.

    In turn is the archived system's way, for specifications that name tasks and do not say.
    """
    if spec.HasField("merge_losses_of_multitask"):
        return spec.merge_losses_of_multitask
    return not spec.multi_task_spec


def _lengths(spec: PhoenixSpec) -> str:
    """What decides how long the trials of each rung are trained; trials of a rung must stay comparable."""
    settings, kind = spec.evaluation_schedule, schedule_name(spec)
    if kind == "FULL":
        return kind
    fidelity = type(settings).Fidelity.Name(settings.fidelity)
    return f"{kind} by {settings.reduction_factor} from {settings.minimum_share:.7g} of the {fidelity}"


def _value(value: str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if value else "empty"


def explain(spec: PhoenixSpec) -> str:
    """A short summary for people."""
    lines = [
        f"Towers for {problem_type(spec)} of {_size(spec)}.",
        _search(spec),
        _parts(spec),
        f"Hyperparameters: {', '.join(_hyperparameters(spec))}.",
    ]
    lines += check_ensembles.in_words(spec)
    if spec.multi_task_spec:
        names = ", ".join(task.label_name for task in spec.multi_task_spec)
        primary = spec.primary_task_name or spec.multi_task_spec[0].label_name
        lines.append(
            f"Tasks: {names}; models are compared by {primary}, and losses are "
            f"{'added' if merges_losses(spec) else 'trained in turn'}."
        )
    lines += _transfer(spec)
    if spec.user_suggestions:
        lines.append(f"First {len(spec.user_suggestions)} suggested by you.")
    return "\n".join([*lines, *_budget(spec), *warnings_of(spec)])


def _size(spec: PhoenixSpec) -> str:
    if not spec.HasField("cell"):
        return f"{spec.minimum_depth} to {spec.maximum_depth} blocks"
    cell, about = spec.cell, problem.problem_type(problem_type(spec))
    if cell.layers:
        return f"a macro tower of {cell.layers} convolutions with learnt skips"
    if not about.reads_maps:
        return f"a recurrent cell of {cell.nodes} nodes"
    return (
        f"cells of {cell.nodes} nodes: {cell.reductions + 1} stages of {cell.repeats} normal cells, reductions between"
    )


def _parts(spec: PhoenixSpec) -> str:
    if not spec.HasField("cell"):
        return f"{len(spec.blocks_to_use)} blocks: {', '.join(spec.blocks_to_use)}."
    if spec.cell.layers:
        values = {name: list(getattr(spec.cell, name)) or USUAL[field] for field, name in PLURALS.items()}
        return "; ".join(f"{name} {', '.join(map(str, sizes))}" for name, sizes in values.items()) + "."
    usual = MAP_OPERATIONS if problem.problem_type(problem_type(spec)).reads_maps else STEP_OPERATIONS
    operations = list(spec.cell.operations) or usual
    return f"{len(operations)} operations: {', '.join(operations)}."


def _budget(spec: PhoenixSpec) -> list[str]:
    """How long trials are trained, where they are not all trained in full."""
    lines, settings = [], spec.evaluation_schedule
    kind, stopping = schedule_name(spec), stopping_name(spec)
    if kind != "FULL":
        of_what = "steps, on the same share of the rows" if settings.fidelity == type(settings).ROWS else "steps"
        lines.append(
            f"{kind}: towers begin with {settings.minimum_share:.0%} or more of the {of_what}; one in "
            f"{settings.reduction_factor} goes on."
        )
    if stopping != "NONE":
        lines.append(f"Hopeless trials are stopped early ({stopping}).")
    if spec.tuning.trials:
        lines.append(
            f"The last {spec.tuning.trials} trials tune the hyperparameters of the best {spec.tuning.architectures} "
            "architectures."
        )
    final = spec.final_training
    if final.time_share:
        larger = "" if final.towers == 1 else f", and up to {final.towers - 1} larger beside it"
        lines.append(
            f"For {final.time_share:.0%} of a time limit, at its end, the best tower is trained longer{larger}."
        )
    return lines


def _transfer(spec: PhoenixSpec) -> list[str]:
    """How new towers start, where not all of them start from fresh weights."""
    settings = spec.transfer_learning_spec
    kinds = {
        settings.UNIFORM_AVERAGE_TRANSFER_LEARNING: "the mean of the weights that fit of the latest trials",
        settings.SNAPSHOT_TRANSFER_LEARNING: "the weights of their parent that fit",
        settings.LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING: "a mean of the weights that fit, by the loss of the trials",
    }
    found = kinds.get(settings.transfer_learning_type)
    lines = [] if found is None else [f"New towers start from {found}."]
    if spec.HasField("morphisms"):
        share = f"{spec.morphisms.steps_share:.0%}"
        lines.append(f"Towers grown from another one begin as its function, where possible, and train {share} as long.")
    return lines


def _search(spec: PhoenixSpec) -> str:
    name = search_type(spec)
    search = SEARCHES.find(name)
    if search is None:
        return f"{name}, a search that is not registered here."
    sentence = f"{name}: {search.describe(spec)}" if search.describe is not None else f"{name}."
    try:
        values = search.values(spec)
        if VERSION not in spec.search_settings.hparam:
            values.pop(VERSION, None)  # the study knows it
        settings = ", ".join(f"{setting} {value}" for setting, value in values.items())
    except SpecError:  # the check says what is wrong with them
        settings = ""
    return f"{sentence} Settings: {settings}." if settings else sentence


def _hyperparameters(spec: PhoenixSpec) -> list[str]:
    learning = spec.learning_spec
    optimizers = f" ({', '.join(learning.optimizers)})" if learning.optimizers else ""
    listed = [f"optimizer{optimizers}", f"learning rate{_learning_rates(learning)}"]
    optional = (
        (learning.apply_momentum, f"momentum {learning.min_momentum:.7g} to {learning.max_momentum:.7g}"),
        (
            learning.apply_exponential_decay,
            f"decay {learning.min_learning_rate_decay_rate:.7g} to {learning.max_learning_rate_decay_rate:.7g}",
        ),
        (
            learning.apply_gradient_clipping,
            f"clipping at a norm of {learning.min_gradient_norm_when_clipping} to "
            f"{learning.max_gradient_norm_when_clipping}",
        ),
        (
            learning.apply_l2_regularization,
            f"L2 {learning.min_l2_regularization:.7g} to {learning.max_l2_regularization:.7g}",
        ),
        (
            learning.apply_weight_decay,
            f"weight decay {learning.min_weight_decay:.7g} to {learning.max_weight_decay:.7g}",
        ),
        (
            spec.apply_dropouts_between_blocks,
            f"dropout {learning.min_dropout:.7g} to {learning.max_dropout:.7g} or none",
        ),
        (
            learning.cooldown_share > 0,
            f"a learning rate that falls to zero over the last {learning.cooldown_share:.0%} of the steps",
        ),
        (bool(learning.batch_sizes), f"batch size {', '.join(map(str, learning.batch_sizes))}"),
    )
    return listed + [words for is_on, words in optional if is_on]


def _learning_rates(learning: LearningSpec) -> str:
    ranges = [
        f"{given.minimum:.7g} to {given.maximum:.7g}" + (f" for {given.optimizer}" if given.optimizer else "")
        for given in learning.learning_rate_range
    ]
    return f" {', '.join(ranges)}" if ranges else ""
