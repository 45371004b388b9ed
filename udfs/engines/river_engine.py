"""Any River estimator behind the engine protocol: gated, exact, repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from river import linear_model
from thalweg.connector.errors import ConfigError, ModelError, Problem, RecordError, SnapshotError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.gate import Gate
from thalweg.udfs.engines.model_text import ModelText, parse
from thalweg.udfs.engines.river_kernel import LinearKernel
from thalweg.udfs.engines.river_steps import Steps, Traces
from thalweg.udfs.engines.river_tasks import TASKS, Task
from thalweg.udfs.engines.safe_pickle import dumps, loads

__all__ = ["RiverEngine"]

PROTOCOL = 1
_PARAMS = {"min-samples": "1", "on-null": "refuse", "seed": "0"}
_CHECK_EVERY = 256
_LARGEST_WEIGHT = 1e12  # River clips gradients there; a weight that size is no longer learning
_new = tuple.__new__


class _Plan(NamedTuple):
    """What all models of one spec share."""

    text: ModelText
    task: Task
    gate: Gate
    seed: int
    min_samples: int
    shape: str
    kernel: bool


class RiverEngine:
    """A River model that scores and learns rows of plain values.

    A customer's own engine is a class with these five methods (``build``, ``restore``, ``score``, ``learn``, ``dump``)
    that its package names in the entry-point group ``thalweg.engines``; ``checks.check_engine`` tells whether it keeps
    the promises that a job relies on.

    Parameters
    ----------
    spec : EngineSpec
        ``model`` is the model text. Engine options: ``min-samples``, how many rows are learned before the first answer
        (default 1; HalfSpaceTrees always waits for its first window); ``on-null``, ``refuse`` a row with a NULL feature
        (default) or ``skip`` the feature; ``seed``, for components without a seed of their own (default 0).

    Attributes
    ----------
    learned : int
        How many rows the model has learned; part of the dump.

    Notes
    -----
    Scores are bit for bit those of River's own loop (``predict_proba_one``, then ``learn_one``). Unlike there, a score
    leaves no trace in the model, and one bad value is refused instead of turning every weight into NaN.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> text = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
    >>> spec = EngineSpec("river", "classification", text, (Field("amount", "number"),), Field("fraud", "boolean"))
    >>> engine = RiverEngine.build(spec)
    >>> engine.score([{"amount": 3.5}])[0].status
    'not_ready'
    >>> for amount in range(20):
    ...     engine.learn({"amount": amount}, amount > 10)
    >>> engine.score([{"amount": 18}, {"amount": None}])[0].label
    'true'
    >>> RiverEngine.restore(spec, engine.dump()).learned
    20
    """

    def __init__(self, spec: EngineSpec, model: Any, learned: int, seen: tuple[str, ...]) -> None:
        self.spec = spec
        self.learned = learned
        plan = _plan(spec)
        self._model, self._gate, self._task = model, plan.gate, plan.task
        self._unseen = set(plan.gate.names) - set(seen)
        self._broken = ""
        self._last: Any = None
        self._kernel = LinearKernel.of(model, plan.gate.names) if plan.kernel else None
        self._steps = Steps(model)
        self._traces = Traces(model)
        self._ready_at = max(plan.min_samples, plan.task.warm_up(self._steps.last))

    @classmethod
    def build(cls, spec: EngineSpec) -> RiverEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        plan = _plan(spec)
        return cls(spec, plan.text.construct(plan.seed), 0, ())

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> RiverEngine:
        """Return the model that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of a model with another shape than the spec's.
        """
        if blob[:1] != bytes([PROTOCOL]):
            found = blob[0] if blob else "nothing"
            raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {PROTOCOL}.")
        state = loads(blob[1:])
        plan = _plan(spec)
        if type(state) is not list or len(state) != 3 or type(state[0]) is not int or type(state[1]) is not tuple:
            raise SnapshotError("the snapshot does not hold a River model.")
        learned, seen, model = state
        if (shape := _shape(model)) != plan.shape:
            raise SnapshotError(f"the snapshot holds {shape}; the spec describes {plan.shape}.")
        return cls(spec, model, learned, seen)

    @property
    def model(self) -> Any:
        """The River model, with all that has been learned."""
        if self._kernel is not None:
            self._kernel.flush()
        return self._model

    @property
    def advice(self) -> tuple[str, ...]:
        """Settings of the model text that are legal and known to go wrong."""
        return _plan(self.spec).text.advice

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order; a row that does not fit is refused with its reason."""
        return [self._score(row) for row in rows]

    def _score(self, row: Mapping[str, Value]) -> Score:
        try:
            taken = self._take(row)
        except RecordError as error:
            return Score(None, None, None, "refused", str(error))
        return self._answer(taken)

    def _take(self, row: Mapping[str, Value]) -> Any:
        return self._gate.values(row) if self._kernel is not None else self._gate.row(row)

    def _answer(self, taken: Any) -> Score:
        if self.learned < self._ready_at:
            return NOT_READY
        kernel = self._kernel
        if kernel is not None:
            value = kernel.probability(taken) if kernel.logistic else kernel.raw(taken)
            if not isfinite(value):
                return Score(None, None, None, "refused", "the model's answer is not a finite number")
            label = None if not kernel.logistic else "true" if value > 1.0 - value else "false"
            return _new(Score, (value, label, None, "ok", ""))
        if self._unseen:
            # A feature the model has never learned has no weight in it, and asking would put it there.
            taken = {name: value for name, value in taken.items() if name not in self._unseen}
        try:
            score: Score = self._traces.keep(self._task.ask, self._steps, taken)
        except Exception as error:
            return Score(
                None, None, None, "refused", f"the model cannot score this row ({type(error).__name__}: {error})"
            )
        return score

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn from one row, in place.

        Raises
        ------
        RecordError
            The row or the label does not fit; the model is unchanged.
        ModelError
            The model has diverged or failed inside; roll back to its last good bytes.
        """
        taken = self._take(row)
        self._teach(taken, self._task.label(label))

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score a row, then learn it: test-then-train in one call; raises like ``learn``."""
        taken = self._take(row)
        known = self._task.label(label)
        score = self._answer(taken)
        self._teach(taken, known)
        return score

    def _teach(self, taken: Any, label: Any) -> None:
        try:
            if self._kernel is not None:
                fine = self._kernel.learn(taken, label)
            else:
                if self._unseen:
                    self._unseen.difference_update(taken)
                self._task.learn(self._steps.last, self._steps.learn(taken), label)
                fine = True
        except Exception as error:
            self._broken = f"failed while learning ({type(error).__name__}: {error})"
            raise ModelError(f"the model {self._broken}; roll back to its last good bytes.") from error
        self.learned += 1
        self._last = taken
        if not fine or (self.learned % _CHECK_EVERY == 0 and not self.healthy()):
            self._broken = self._broken or "diverged: its numbers are no longer finite, or have grown past all use"
            raise ModelError(f"the model {self._broken}; roll back to its last good bytes and scale its features.")

    def healthy(self) -> bool:
        """Return whether the model's numbers are still of use: finite, and no linear weight beyond 1e12."""
        if self._broken:
            return False
        for linear in _linear_parts(self.model):
            size = sum(map(abs, linear.weights.values())) + abs(linear.intercept)
            if not size < _LARGEST_WEIGHT:
                return False
        return self._last is None or not self._answer(self._last).reason.startswith("the model's answer is not")

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state.

        Raises
        ------
        ModelError
            The model has diverged: such a state must not replace the last good one.
        """
        if not self.healthy():
            what = self._broken or "diverged: its numbers are no longer finite, or have grown past all use"
            raise ModelError(f"the model {what}; roll back to its last good bytes.")
        seen = tuple(name for name in self._gate.names if name not in self._unseen)
        return bytes([PROTOCOL]) + dumps([self.learned, seen, self.model])


def _linear_parts(model: Any) -> list[Any]:
    parts = list(model.steps.values()) if hasattr(model, "steps") else [model]
    return [part for part in parts if isinstance(part, linear_model.base.GLM)]


def _shape(model: Any) -> str:
    """Return the class names of a model and its steps."""
    inner: Mapping[str, Any] = getattr(model, "steps", None) or getattr(model, "transformers", None) or {}
    name = type(model).__name__
    return f"{name}({', '.join(map(_shape, inner.values()))})" if isinstance(inner, dict) and inner else name


@lru_cache(maxsize=256)
def _plan(spec: EngineSpec) -> _Plan:
    problems: list[Problem] = []
    where = f"model {spec.output.name}"
    if spec.task not in TASKS:
        raise ConfigError(
            [Problem(f"task '{spec.task}'", "River has no such task.", f"Known: {', '.join(sorted(TASKS))}.")]
        )
    task = TASKS[spec.task](spec)
    problems.extend(_field_problems(spec, task))
    numbers = {name: _whole(spec, name, problems) for name in ("min-samples", "seed")}
    if spec.param("on-null", "refuse") not in ("refuse", "skip"):
        problems.append(Problem("option 'on-null'", "is neither refuse nor skip.", "Give one of the two."))
    for name, _ in spec.params:
        if name not in _PARAMS:
            problems.append(
                Problem(f"option '{name}'", "the River engine has no such option.", f"Known: {', '.join(_PARAMS)}.")
            )
    try:
        text = parse(spec.model)
        model = text.construct(numbers["seed"])
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if not problems and (misfit := task.fit(model)):
        problems.append(misfit)
    if not problems:
        try:
            loads(dumps(model))
        except (ModelError, SnapshotError) as error:
            problems.append(Problem(where, f"cannot be kept in a snapshot: {error}", "Choose another estimator."))
    if problems:
        raise ConfigError(problems)
    strict = spec.param("on-null", "refuse") == "refuse"
    numeric = all(field.kind in ("number", "integer", "boolean") for field in spec.inputs)
    gate = Gate(spec.inputs, skip_null=not strict)
    kernel = strict and numeric and spec.task in ("classification", "regression")
    return _Plan(text, task, gate, numbers["seed"], numbers["min-samples"], _shape(model), kernel)


def _whole(spec: EngineSpec, name: str, problems: list[Problem]) -> int:
    given = spec.param(name, _PARAMS[name])
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        problems.append(Problem(f"option '{name}'", f"'{given}' is not a whole number.", "Give digits."))
        return 0
    return int(given)


def _field_problems(spec: EngineSpec, task: Task) -> list[Problem]:
    problems = []
    if not spec.inputs:
        problems.append(Problem("inputs", "there are none.", "Declare at least one feature."))
    for name, kind in spec.inputs:
        if kind not in ("number", "integer", "boolean", "string"):
            problems.append(
                Problem(f"input '{name}'", f"River takes no {kind}.", "Spread it into one column per number.")
            )
    names = [field.name for field in spec.inputs]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(f"input '{name}'", "is declared twice.", "Give each feature its own name."))
    if spec.output.kind not in task.outputs:
        remedy = f"Declare one of: {', '.join(task.outputs)}."
        problems.append(Problem(f"output '{spec.output.name}'", f"{spec.task} gives no {spec.output.kind}.", remedy))
    return problems
