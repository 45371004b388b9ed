"""A spec of a River model, checked once: what all models of the spec share."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any, NamedTuple

from thalweg.connector.errors import ConfigError, ModelError, Problem, RecordError, SnapshotError
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.gate import Gate
from thalweg.udfs.engines.known_values import KnownValues
from thalweg.udfs.engines.model_text import ModelText, parse
from thalweg.udfs.engines.river_hst_kernel import HalfSpaceKernel
from thalweg.udfs.engines.river_kernel import LinearKernel
from thalweg.udfs.engines.river_limits import worded
from thalweg.udfs.engines.river_onehot_kernel import OneHotKernel
from thalweg.udfs.engines.river_steps import Steps, shape
from thalweg.udfs.engines.river_task import Task
from thalweg.udfs.engines.river_tasks import TASKS
from thalweg.udfs.engines.safe_pickle import dumps, loads

__all__ = ["PARAMS", "RiverPlan", "plan_of"]

PARAMS = {
    "arms": "",
    "horizon": "1",
    "max-values": "100000",
    "min-samples": "1",
    "on-null": "refuse",
    "seed": "0",
    "threshold": "",
}
"""The options of the River engine and their defaults; arms, horizon and threshold are each for one task."""

_KINDS = ("number", "integer", "boolean", "string")
_SAMPLES: dict[str, tuple[Any, Any]] = {
    "number": (0.25, 0.75),
    "integer": (1, 2),
    "boolean": (False, True),
    "string": ("a", "b"),
}


class RiverPlan(NamedTuple):
    """What all models of one spec share.

    Attributes
    ----------
    text : ModelText
        The audited model text.
    task : Task
        What the model is asked for.
    gate : Gate
        What a row must be.
    seed : int
        For components without one.
    ready_at : int
        Rows to be learned before the first answer.
    shape : str
        Class names of the model and its steps.
    digest : bytes
        Eight bytes that stand for text, task and features: what a snapshot must agree with.
    kernel : LinearKernel, HalfSpaceKernel or None
        The tight loop in its first state, for the pipelines that have one.
    limited : tuple of str
        The texts of whose values only so many are told apart.
    max_values : int
        How many.
    """

    text: ModelText
    task: Task
    gate: Gate
    seed: int
    ready_at: int
    shape: str
    digest: bytes
    kernel: LinearKernel | HalfSpaceKernel | None
    limited: tuple[str, ...]
    max_values: int

    def known(self) -> KnownValues | None:
        """Return the values of the texts that a new model has met, none; None where the model has no such texts."""
        return KnownValues(self.limited, self.max_values) if self.limited else None

    def model(self) -> Any:
        """Return a River model that has learned nothing."""
        return self.text.construct(self.seed)


@lru_cache(maxsize=256)
def plan_of(spec: EngineSpec) -> RiverPlan:
    """Check a spec.

    Raises
    ------
    ConfigError
        Everything that is wrong with it.
    """
    if spec.task not in TASKS:
        raise ConfigError(
            [Problem(f"task '{spec.task}'", "River has no such task.", f"Known: {', '.join(sorted(TASKS))}.")]
        )
    task = TASKS[spec.task](spec)
    problems = spec.problems("River", tuple(PARAMS)) + _field_problems(spec, task) + task.problems()
    for name, _ in spec.params:
        owners = [other for other, made in TASKS.items() if name in made.options]
        if owners and spec.task not in owners:
            remedy = f"It belongs to the task {owners[0]}: remove it, or declare that task."
            problems.append(Problem(f"option '{name}'", f"means nothing to the task {spec.task}.", remedy))
    if spec.param("on-null", PARAMS["on-null"]) not in ("refuse", "skip"):
        problems.append(Problem("option 'on-null'", "is neither refuse nor skip.", "Give one of the two."))
    min_samples, seed, max_values = (_whole(spec, name, problems) for name in ("min-samples", "seed", "max-values"))
    if not max_values and not problems:
        problems.append(Problem("option 'max-values'", "is not above zero.", "Give how many values are told apart."))
    try:
        text = parse(spec.model)
        model = text.construct(seed)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if not problems:
        problems.extend(_misfits(spec, task, model))
    strict = spec.param("on-null", PARAMS["on-null"]) == "refuse"
    kernel: LinearKernel | HalfSpaceKernel | None = None
    if not problems:
        if strict and spec.task in ("classification", "regression"):
            kernel = LinearKernel.of(model, spec.inputs) or OneHotKernel.of_union(model, spec.inputs)
        elif strict and spec.task == "anomaly":
            kernel = HalfSpaceKernel.of(model, spec.inputs, spec.param("threshold", ""))
        ready_at = max(min_samples, task.warm_up(Steps(model, task.aside).last))
        problems.extend(_trial(spec, task, model))
    if problems:
        raise ConfigError(problems)
    identity = json.dumps([spec.task, spec.model, spec.inputs, spec.output])
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:8]
    gate = Gate(spec.inputs, skip_null=task.may_lack(lenient=not strict))
    texts = [name for name, kind in spec.inputs if kind == "string" and name not in task.aside]
    whole = worded(text.plan, texts)
    limited = tuple(name for name in texts if name not in whole)
    return RiverPlan(text, task, gate, seed, ready_at, shape(model), digest, kernel, limited, max_values)


def _misfits(spec: EngineSpec, task: Task, model: Any) -> list[Problem]:
    try:
        misfit = task.fit(model)
    except AttributeError as error:  # a wrapper asks its parts what they are
        remedy = "Check which estimators it is given."
        misfit = Problem(f"model '{spec.model[:80]}'", f"is made of parts that do not fit ({error}).", remedy)
    return [] if misfit is None else [misfit]


def _trial(spec: EngineSpec, task: Task, model: Any) -> list[Problem]:
    """Keep, restore and teach a throw-away model: what fails for every row fails here, with a remedy."""
    where = f"model '{spec.model[:80]}'"
    if problems := _unkept(where, model):
        return problems
    steps = Steps(model, task.aside)
    label: Any = {"boolean": True, "string": "a", "integer": 1, "number": 0.5}[spec.output.kind]
    for at in (0, 1):
        row = task.sample({name: _SAMPLES[kind][at] for name, kind in spec.inputs})
        try:
            task.learn(steps.last, steps.learn(row), task.example(row, task.label(label)))
        except (AttributeError, LookupError, NotImplementedError, RecordError, TypeError, ValueError) as error:
            what = f"fails on rows of these types ({type(error).__name__}: {error})."
            strings = ", ".join(name for name, kind in spec.inputs if kind == "string")
            remedy = "Check which step takes which features."
            if "got Counter" in str(error):
                remedy = "Put compose.Prefixer('h') behind the step that counts: River's linear models take no Counter."
            elif strings:
                remedy = (
                    f"Give texts ({strings}) their own branch: compose.SelectType(str) | "
                    "preprocessing.OneHotEncoder(drop_zeros=True), joined by '+' with compose.SelectType(float) | ... ."
                )
            return [Problem(where, what, remedy)]
    return _unkept(where, model)  # some parts come with the first row


def _unkept(where: str, model: Any) -> list[Problem]:
    try:
        loads(dumps(model))
    except (ModelError, SnapshotError) as error:
        return [Problem(where, f"cannot be kept in a snapshot: {error}", "Choose another estimator.")]
    return []


def _whole(spec: EngineSpec, name: str, problems: list[Problem]) -> int:
    given = spec.param(name, PARAMS[name])
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        problems.append(Problem(f"option '{name}'", f"'{given}' is not a whole number.", "Give up to nine digits."))
        return 0
    return int(given)


def _field_problems(spec: EngineSpec, task: Task) -> list[Problem]:
    problems = []
    if not spec.inputs:
        problems.append(Problem("inputs", "there are none.", "Declare at least one feature."))
    for name, kind in spec.inputs:
        if kind not in _KINDS:
            remedy = "Spread it into one column per number."
            problems.append(Problem(f"input '{name}'", f"River takes no {kind}.", remedy))
    if spec.output.kind not in task.outputs:
        remedy = f"Declare one of: {', '.join(task.outputs)}."
        problems.append(Problem(f"output '{spec.output.name}'", f"{spec.task} gives no {spec.output.kind}.", remedy))
    return problems
