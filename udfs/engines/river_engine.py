"""Any River estimator behind the engine protocol: gated, exact, repeatable."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from river import linear_model
from thalweg.connector.errors import ConfigError, Problem, RecordError, SnapshotError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.known_values import KnownValues
from thalweg.udfs.engines.river_adopt import changes, check_same_question
from thalweg.udfs.engines.river_hst_kernel import HalfSpaceKernel
from thalweg.udfs.engines.river_kernel import LinearKernel
from thalweg.udfs.engines.river_onehot_kernel import OneHotKernel
from thalweg.udfs.engines.river_plan import PARAMS, RiverPlan, plan_of
from thalweg.udfs.engines.river_steps import Steps, Traces, shape
from thalweg.udfs.engines.river_task import UNFINISHED
from thalweg.udfs.engines.safe_pickle import dumps, loads
from thalweg.udfs.engines.sealed import check_counts, open_sealed, seal

__all__ = ["RiverEngine"]

_HEAD = struct.Struct(">BQ")  # form, rows learned
_PICKLED, _PACKED = range(2)
_LARGEST_WEIGHT = 1e12  # River clips gradients there; a weight that size is no longer learning
_new = tuple.__new__


class RiverEngine:
    """A River model that scores and learns rows of plain values.

    Parameters
    ----------
    spec : EngineSpec
        ``model`` is the model text. Engine options: ``min-samples``, how many rows are learned before the first answer
        (default 1; HalfSpaceTrees always waits for its first window); ``on-null``, ``refuse`` a row with a NULL feature
        (default) or ``skip`` the feature; ``seed``, for components without a seed of their own (default 0);
        ``max-values``, how many values of a text feature are told apart (default 100000). Of single tasks:
        ``threshold``, the score of an anomaly, for detectors that do not decide; ``horizon``, the steps of a forecast
        (default 1); ``arms``, the arms of a bandit, between commas.

    Attributes
    ----------
    learned : int
        How many rows the model has learned; part of the dump.

    Notes
    -----
    Scores are bit for bit those of River's own loop (``predict_proba_one``, then ``learn_one``). Unlike there, a score
    leaves no trace in the model, and one bad value is refused instead of turning every weight into NaN.

    Weights can nevertheless grow past all use. Then ``healthy`` is False and answers that are not finite are refused,
    until the operator puts the last good copy in the model's place.

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

    OPTIONS = tuple(PARAMS)

    def __init__(self, spec: EngineSpec, plan: RiverPlan, state: _State) -> None:
        self.spec = spec
        self.learned, self._kernel, model, seen, self._known = state
        self._plan, self._gate, self._task, self._ready_at = plan, plan.gate, plan.task, plan.ready_at
        if self._kernel is None:
            self._model = model
            self._unseen = set(plan.gate.names).difference(seen)
            self._steps = Steps(model, plan.task.aside)
            self._traces = Traces(model)
            self._last: Any = None

    @classmethod
    def build(cls, spec: EngineSpec) -> RiverEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        plan = plan_of(spec)
        return cls(spec, plan, _empty(plan))

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> RiverEngine:
        """Return the model that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model than the spec's.
        """
        plan = plan_of(spec)
        differs = "another model text, other features or another output"
        content = open_sealed(blob, plan.digest, _HEAD.size, differs)
        form, learned = _HEAD.unpack_from(content)
        check_counts(learned)
        try:
            return cls(spec, plan, _state(plan, form, learned, bytes(content[_HEAD.size :])))
        except SnapshotError:
            raise
        except Exception as error:
            raise SnapshotError(f"the snapshot is damaged ({type(error).__name__}: {error}).") from error

    @classmethod
    def adopt(cls, old: EngineSpec, blob: bytes, new: EngineSpec) -> RiverEngine:
        """Return the model that ``dump`` wrote, under another text of it, with all that it has learned.

        Raises
        ------
        ConfigError
            Lists every change that River does not allow in a model that has learned.
        SnapshotError
            As ``restore``.
        """
        check_same_question(old, new)
        plan = plan_of(new)
        changed = changes(plan_of(old).model(), plan.model())
        return cls(new, plan, cls.restore(old, blob)._under(plan, changed))  # noqa: SLF001

    def _under(self, plan: RiverPlan, changed: dict[str, Any]) -> _State:
        """Return the state of this model as one of another plan; the model is then no longer its own."""
        if plan.kernel is None:
            model = self.model
            model.mutate(changed)
            seen = self._seen() if self._kernel is None else plan.gate.names if self.learned else ()
            return self.learned, None, model, tuple(seen), self._known
        if self._kernel is None:
            what = "the new text is kept in another form than the old one."
            raise ConfigError([Problem("model", what, "Put back what has been taken away, or begin anew.")])
        kernel = plan.kernel.fresh()
        kernel.unpack(self._kernel.pack())
        return self.learned, kernel, None, (), self._known

    def _seen(self) -> tuple[str, ...]:
        return tuple(name for name in self._gate.names if name not in self._unseen)

    @property
    def version(self) -> str:
        """Name of this state of the model: the number of rows it has learned."""
        return str(self.learned)

    @property
    def model(self) -> Any:
        """The River model, with all that has been learned."""
        if self._kernel is None:
            return self._model
        model = self._plan.model()
        self._kernel.fill(model, self._gate.names)
        return model

    @property
    def advice(self) -> tuple[str, ...]:
        """Settings of the model text that are legal and known to go wrong."""
        return self._plan.text.advice

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
        if self._known is not None:
            row = self._known.limited(row)
        return self._gate.values(row) if self._kernel is not None else self._gate.row(row)

    def _answer(self, taken: Any) -> Score:
        if self.learned < self._ready_at:
            return NOT_READY
        kernel = self._kernel
        if kernel is not None:
            value = kernel.probability(taken) if kernel.logistic else kernel.raw(taken)
            if not isfinite(value):
                return UNFINISHED
            label = None if not kernel.logistic else "true" if value > 1.0 - value else "false"
            if kernel.threshold is not None:
                label = "true" if value >= kernel.threshold else "false"
            return _new(Score, (value, label, None, "ok", ""))
        if self._unseen:
            # A feature the model has never learned has no weight in it, and asking would put it there.
            taken = {name: value for name, value in taken.items() if name not in self._unseen}
        try:
            score: Score = self._traces.keep(self._task.ask, self._steps, taken)
        except Exception as error:
            reason = f"the model cannot score this row ({type(error).__name__}: {error})"
            return Score(None, None, None, "refused", reason)
        return score

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn from one row, in place.

        Raises
        ------
        RecordError
            The row or the label does not fit, and the model is unchanged; or River failed on the row, and what its
            parts had learned of it by then stays.
        """
        taken = self._take(row)
        self._teach(taken, self._task.label(label), row)

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score a row, then learn it: test-then-train in one call; raises like ``learn``."""
        taken = self._take(row)
        known = self._task.label(label)
        score = self._answer(taken)
        self._teach(taken, known, row)
        return score

    def _teach(self, taken: Any, label: Any, row: Mapping[str, Value]) -> None:
        if self._kernel is not None:
            self._kernel.learn(taken, label)
        else:
            label = self._task.example(taken, label)
            try:
                self._task.learn(self._steps.last, self._steps.learn(taken), label)
            except Exception as error:
                reason = f"the model cannot learn this row ({type(error).__name__}: {error})"
                raise RecordError(reason) from error
            if self._unseen:
                self._unseen.difference_update(taken)
            self._last = taken
        if self._known is not None:
            self._known.learn(row)
        self.learned += 1

    def healthy(self) -> bool:
        """Return whether the model's numbers are still of use: finite, and no linear weight beyond 1e12."""
        if self._kernel is not None:
            return self._kernel.size() < _LARGEST_WEIGHT
        sizes = [sum(map(abs, part.weights.values())) + abs(part.intercept) for part in _linear(self._model)]
        if not all(size < _LARGEST_WEIGHT for size in sizes):
            return False
        return self._last is None or self._answer(self._last).reason != UNFINISHED.reason

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state.

        Raises
        ------
        ModelError
            The model is nested too deeply to be written.
        """
        if self._kernel is not None:
            form, body = _PACKED, self._kernel.pack()
        else:
            known = [] if self._known is None else [self._known.dump()]
            form, body = _PICKLED, dumps([self._seen(), self._model, *known])
        return seal(self._plan.digest, _HEAD.pack(form, self.learned) + body)


_State = tuple[int, "LinearKernel | HalfSpaceKernel | None", Any, tuple[str, ...], "KnownValues | None"]
"""Rows learned, the tight loop or None, the River model where there is none, features seen, values of texts seen."""


def _empty(plan: RiverPlan) -> _State:
    if plan.kernel is not None:
        return 0, plan.kernel.fresh(), None, (), plan.known()
    return 0, None, plan.model(), (), plan.known()


def _state(plan: RiverPlan, form: int, learned: int, body: bytes) -> _State:
    known, kernel = plan.known(), None if plan.kernel is None else plan.kernel.fresh()
    if form == _PACKED and kernel is not None:
        kernel.unpack(body)
        if known is not None and isinstance(kernel, OneHotKernel):
            known.load({name: values for name, values in kernel.categories().items() if name in plan.limited})
        return learned, kernel, None, (), known
    # Before there was a loop for them, such models were written as River has them.
    if form != _PICKLED or not (kernel is None or isinstance(kernel, HalfSpaceKernel)):
        raise SnapshotError("the snapshot is damaged: it has a form that this model does not have.")
    found = loads(body)
    if type(found) is not list or len(found) not in (2, 3) or type(found[0]) is not tuple:
        raise SnapshotError("the snapshot does not hold a River model.")
    seen, model, *values = found
    if values and known is not None:  # snapshots of the first version have none
        known.load(values[0])
    if (held := shape(model)) != plan.shape:
        raise SnapshotError(f"the snapshot holds {held}; the spec describes {plan.shape}.")
    if kernel is not None:
        kernel.take(model)
        return learned, kernel, None, (), known
    return learned, None, model, seen, known


def _linear(model: Any) -> list[Any]:
    parts = list(model.steps.values()) if hasattr(model, "steps") else [model]
    return [part for part in parts if isinstance(part, linear_model.base.GLM)]
