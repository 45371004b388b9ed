"""A ``CREATE MODEL`` with the provider ``compare``, held against the models that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.logic.arm_guard import ArmRole
from thalweg.udfs.logic.arm_outcomes import known_losses
from thalweg.udfs.logic.compare_options import COMPARE_OPTIONS, read_shares
from thalweg.udfs.logic.comparison_plan import Arm, Plan
from thalweg.udfs.logic.declaration import Declaration, field_kind
from thalweg.udfs.logic.guardrails import unknown_in_guardrails
from thalweg.udfs.logic.options import OPTIONS
from thalweg.udfs.logic.scorecard import main_loss

__all__ = ["CompareDeclaration", "arm_names", "arm_role", "declare_comparison"]

# What has to be the same for all models, so that their answers and outcomes stand side by side.
_COMMON = (
    "input_table", "event_id", "event_time", "label_table", "label", "label_event_id", "label_timeout", "label_default",
    "on_malformed",
)  # fmt: skip

_NEEDS = {
    "reward-cap": "reward", "reward-base": "reward", "shadow-budget": "mirror", "control-keys": "control-table",
    "control-max-age": "control-keys",
}  # fmt: skip

_Wrong = Callable[[str, str, str], None]


@dataclass(frozen=True)
class CompareDeclaration:
    """What one comparison does in a job; every field has been checked.

    Attributes
    ----------
    name : str
        Name of the comparison, and prefix of its views.
    plan : Plan
        What the machine is told.
    arms : tuple of Declaration
        The models, in the order of ``plan.arms``.
    unit : str or None
        Column that names the unit; None, each event is one.
    reward, reward_base : str or None
        Columns of the labels, or of the events where those have the label.
    control_table : str or None
        Table with the orders of people.
    control_keys : tuple of str
        Where the keys lie whose orders are obeyed; empty, everybody's are.
    shadow_budget : int or None
        Time per event that a shadow may take, in ms.
    """

    name: str
    plan: Plan
    arms: tuple[Declaration, ...]
    unit: str | None
    reward: str | None
    reward_base: str | None
    control_table: str | None
    shadow_budget: int | None = None
    control_keys: tuple[str, ...] = ()

    def carried(self) -> tuple[str, ...]:
        """Return the columns of the events that must go with the answers of each model."""
        names = [*([self.unit] if self.unit else []), *self.plan.slices]
        if self.arms[0].label_table is None:
            names += self.rewards()
        return tuple(dict.fromkeys(names))

    def rewards(self) -> tuple[str, ...]:
        """Return the columns of a reward: none, itself, or itself and its base."""
        return tuple(name for name in (self.reward, self.reward_base) if name)


def arm_names(options: Mapping[str, str]) -> list[str]:
    """Return the models that the options name, as far as they can be read.

    Examples
    --------
    >>> arm_names({"default": "v1", "candidates": "v2:20", "mirror": "v3"})
    ['v1', 'v2']
    """
    names = [options["default"].strip()] if options.get("default", "").strip() else []
    for option in ("candidates", "mirror"):
        with suppress(ValueError, KeyError):
            names += [name for name, _ in read_shares(options[option])]
    return list(dict.fromkeys(names))


def arm_role(name: str, comparisons: Sequence[CompareDeclaration]) -> ArmRole | None:
    """Return what a model is in all comparisons of a job; None where nobody compares it.

    Its budget is the least one; it has none where it is more than a shadow in any of them.
    """
    found = [(arm, c) for c in comparisons for arm in c.plan.arms if arm.name == name]
    if not found:
        return None
    carried = dict.fromkeys(column for _, c in found for column in c.carried())
    shadow = all(arm.mirror for arm, _ in found)
    budgets = [c.shadow_budget for _, c in found if shadow and c.shadow_budget is not None]
    share = max(arm.share for arm, _ in found) / 100 if shadow else 1.0
    return ArmRole(tuple(carried), shadow, min(budgets, default=None), share)


def declare_comparison(
    name: str,
    outputs: Sequence[tuple[str, str]],
    options: Mapping[str, str],
    models: Mapping[str, Declaration | None],
    known: Collection[str],
) -> CompareDeclaration:
    """Check a comparison and return it as plain data.

    Parameters
    ----------
    name : str
        Name of the comparison.
    outputs : sequence of (column, SQL type)
        The OUTPUT clause, which may be left out: it is that of the models.
    options : mapping of str to str
        The WITH clause.
    models : mapping of str to Declaration or None
        The models that it names; None for one whose own declaration is wrong, which has been told already.
    known : collection of str
        Names of all models there are, for a hint.

    Raises
    ------
    ConfigError
        Lists everything that is wrong, not only the first.
    """
    problems: list[Problem] = []

    def wrong(option: str, what: str, remedy: str) -> None:
        problems.append(Problem(f"model {name}, option '{option}'", what, remedy))

    values = _read(options, wrong)
    arms = _arms(name, values, models, known, wrong)
    found = [models[arm.name] for arm in arms if models.get(arm.name) is not None]
    declared = [model for model in found if model is not None]
    if declared:
        _check_common(name, outputs, declared, problems)
        _check_outcomes(values, declared[0], options, wrong)
    if not problems and len(declared) == len(arms):
        return CompareDeclaration(
            name, _plan(name, values, arms, declared), tuple(declared), values["unit"], values["reward"],
            values["reward-base"], values["control-table"], values["shadow-budget"],
            values["control-keys"] or (),
        )  # fmt: skip
    raise ConfigError(problems or [Problem(f"model {name}", "a model that it names is wrong.", "Correct that first.")])


def _read(options: Mapping[str, str], wrong: _Wrong) -> dict[str, Any]:
    """Return the values of the options; those that cannot be read have their default."""
    values: dict[str, Any] = {}
    for option, entry in COMPARE_OPTIONS.items():
        text = options.get(option, entry.default)
        try:
            values[option] = None if text is None else entry.read(text)
        except ValueError as error:
            wrong(option, str(error), f"It is {entry.meaning}.")
            values[option] = None if entry.default is None else entry.read(entry.default)
    for option in sorted(set(options) - set(COMPARE_OPTIONS)):
        near = get_close_matches(option, COMPARE_OPTIONS, 1)
        remedy = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(COMPARE_OPTIONS))}."
        if option in OPTIONS:
            wrong(
                option, "is an option of the models that are compared.", "Give it to each of them, and remove it here."
            )
        else:
            wrong(option, "unknown option.", remedy)
    if "default" not in options:
        wrong("default", "is missing.", f"It is {COMPARE_OPTIONS['default'].meaning}.")
    if "candidates" not in options and "mirror" not in options:
        wrong("candidates", "is missing, and so is 'mirror': there is nothing to compare with.", "Give one of them.")
    total = sum(share for _, share in values["candidates"] or ())
    if total > 100:
        wrong("candidates", f"their shares are {total:g} percent together.", "Give at most 100.")
    for option, needs in _NEEDS.items():
        if option in options and needs not in options:
            wrong(option, f"is given without '{needs}'.", f"Give '{needs}', or remove it.")
    if "exploration" in options and values["allocation"] == "fixed":
        wrong("exploration", "is given, and the shares are fixed.", "Give an 'allocation', or remove it.")
    for option in ("allocation", "apprentice-threshold", "serve-after"):
        if option in options and "candidates" not in options and options[option] not in ("fixed", "0"):
            wrong(option, "is given without 'candidates'.", "Name candidates, or remove it.")
    return values


def _arms(
    name: str,
    values: Mapping[str, Any],
    models: Mapping[str, Declaration | None],
    known: Collection[str],
    wrong: _Wrong,
) -> list[Arm]:
    """Return the models in the order default, candidates, shadows."""
    named = [("default", values["default"], 0.0)] if values["default"] else []
    named += [(option, *pair) for option in ("candidates", "mirror") for pair in values[option] or ()]
    arms: list[Arm] = []
    for option, arm, share in named:
        if arm in (other.name for other in arms):
            wrong(option, f"'{arm}' takes part already.", "Name each model once.")
            continue
        arms.append(Arm(arm, share, option == "mirror"))
        if arm == name:
            wrong(option, f"'{arm}' is this comparison itself.", "Name the models that it compares.")
        elif arm not in models:
            near = get_close_matches(arm, set(known) - {name}, 1)
            remedy = f"Did you mean '{near[0]}'?" if near else "Declare it with CREATE MODEL."
            wrong(option, f"there is no model '{arm}' that could be compared.", remedy)
    return arms


def _check_common(
    name: str, outputs: Sequence[tuple[str, str]], models: Sequence[Declaration], problems: list[Problem]
) -> None:
    """Hold the models against the first one, and all against the OUTPUT."""
    first = models[0]
    for model in models:
        differs = [field for field in _COMMON if getattr(model, field) != getattr(first, field)]
        for field in differs:
            theirs, own = (_shown(getattr(m, field)) for m in (model, first))
            what = f"is {theirs} here, and {own} in model {first.name}, with which it is compared in {name}."
            problems.append(
                Problem(f"model {model.name}, option '{field.replace('_', '-')}'", what, "Make them the same.")
            )
        if model.spec.output != first.spec.output or model.spec.task != first.spec.task:
            what = (
                f"predicts {_told(model)}, and model {first.name}, with which it is compared in {name}, {_told(first)}."
            )
            problems.append(Problem(f"model {model.name}, OUTPUT", what, "Make them the same."))
        if model.order == "arrival":
            what = f"is 'arrival', and the answers that {name} compares meet in the order of their time."
            problems.append(Problem(f"model {model.name}, option 'order'", what, "Remove it."))
    for column, sql_type in outputs:
        if len(outputs) > 1 or (column, _kind(column, sql_type)) != tuple(first.spec.output):
            what = f"is {column} {sql_type}, and the models predict {_told(first)}."
            problems.append(Problem(f"model {name}, OUTPUT", what, "Leave INPUT and OUTPUT out."))


def _check_outcomes(values: Mapping[str, Any], model: Declaration, options: Mapping[str, str], wrong: _Wrong) -> None:
    """Hold what is judged by outcomes against whether there are any."""
    if model.label is None:
        for option in ("metric", "reward", "guardrails", "allocation", "serve-after"):
            if option in options:
                wrong(option, "is given, and the models have no 'label'.", "Name their label, or remove it.")
        if values["promote"] == "auto":
            wrong("promote", "is 'auto', and the models have no 'label' to tell which is better.", "Remove it.")
        return
    spec, rules, reward = model.spec, values["guardrails"], values["reward"]
    known = known_losses(spec.task, spec.output.kind)
    if values["metric"] is not None and values["metric"] not in known:
        what = f"models cannot be compared by '{values['metric']}' in {spec.task} of {spec.output.kind}."
        wrong("metric", what, f"Known: {', '.join(known)}." if known else "Give a 'reward' instead.")
    if values["serve-after"] and (reward is not None or not known):
        what = "is given, and a candidate that answers nobody is compared by a loss alone."
        wrong("serve-after", what, "Remove it." if known else f"{spec.task} has none; remove it.")
    if not known and reward is None and values["promote"] == "auto":
        wrong("promote", f"is 'auto', and {spec.task} has no loss to tell which is better.", "Give a 'reward'.")
    measured = (*known, *(["Reward"] if reward else []))
    for rule in unknown_in_guardrails(rules, measured, _slices(values)):
        wrong("guardrails", f"the rule '{rule}' names what is not measured.", f"Measured: {', '.join(measured)}.")


def _plan(name: str, values: Mapping[str, Any], arms: Sequence[Arm], models: Sequence[Declaration]) -> Plan:
    spec = models[0].spec
    return Plan(
        name=name,
        arms=tuple(arms),
        default=values["default"],
        salt=values["salt"] or "",
        task=spec.task,
        output=spec.output.kind,
        metric=values["metric"] or main_loss(spec.task, spec.output.kind) or "LogLoss",
        reward=values["reward"] is not None,
        reward_cap=values["reward-cap"],
        alpha=values["alpha"],
        min_samples=values["min-samples"],
        min_duration_ms=values["min-duration"] or 0,
        promote=values["promote"],
        guardrails=values["guardrails"],
        allocation=values["allocation"],
        exploration=values["exploration"],
        apprentice_threshold=values["apprentice-threshold"],
        serve_after=values["serve-after"],
        # The default comes a millisecond after the timeout, and is in time.
        label_timeout_ms=models[0].label_timeout + (models[0].label_default is not None),
        every=values["metrics-every"],
        slices=_slices(values),
        order_max_age_ms=values["control-max-age"] if values["control-keys"] else None,
    )


def _slices(values: Mapping[str, Any]) -> tuple[str, ...]:
    asked = [rule.metric for rule in values["guardrails"] if rule.sign == "slice"]
    return tuple(dict.fromkeys([*(values["slices"] or ()), *asked]))


def _kind(column: str, sql_type: str) -> str:
    try:
        return field_kind(column, sql_type)
    except ValueError:
        return sql_type


def _shown(value: object) -> str:
    return "not given" if value is None else f"'{value}'"


def _told(model: Declaration) -> str:
    return f"{model.spec.output.name} {model.spec.output.kind} ({model.spec.task})"
