"""Any River estimator behind the engine protocol: gated, exact, repeatable."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from river import linear_model
from thalweg.connector.errors import RecordError, SnapshotError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.river_kernel import LinearKernel
from thalweg.udfs.engines.river_plan import PARAMS, RiverPlan, plan_of
from thalweg.udfs.engines.river_steps import Steps, Traces, shape
from thalweg.udfs.engines.river_tasks import UNFINISHED
from thalweg.udfs.engines.safe_pickle import dumps, loads

__all__ = ["RiverEngine"]

PROTOCOL = 1
# protocol, checksum of all that follows, what the snapshot must agree with, form, rows learned
_HEAD = struct.Struct(">BI8sBQ")
_CHECKED_FROM = 5
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
        (default) or ``skip`` the feature; ``seed``, for components without a seed of their own (default 0).

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
        self.learned, self._kernel, model, seen = state
        self._plan, self._gate, self._task, self._ready_at = plan, plan.gate, plan.task, plan.ready_at
        if self._kernel is None:
            self._model = model
            self._unseen = set(plan.gate.names).difference(seen)
            self._steps = Steps(model)
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
        if blob[:1] != bytes([PROTOCOL]):
            found = blob[0] if blob else "nothing"
            raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {PROTOCOL}.")
        if len(blob) < _HEAD.size:
            raise SnapshotError("the snapshot is damaged: it ends too early.")
        _, check, digest, form, learned = _HEAD.unpack_from(blob)
        if zlib.crc32(blob[_CHECKED_FROM:]) != check:
            raise SnapshotError("the snapshot is damaged: its checksum does not fit.")
        if digest != plan.digest:
            what = "the snapshot was learned with another model text, other features or another output"
            raise SnapshotError(f"{what}; to begin anew, give the model another name.")
        try:
            return cls(spec, plan, _state(plan, form, learned, blob[_HEAD.size :]))
        except SnapshotError:
            raise
        except Exception as error:
            raise SnapshotError(f"the snapshot is damaged ({type(error).__name__}: {error}).") from error

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
        self._teach(taken, self._task.label(label))

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score a row, then learn it: test-then-train in one call; raises like ``learn``."""
        taken = self._take(row)
        known = self._task.label(label)
        score = self._answer(taken)
        self._teach(taken, known)
        return score

    def _teach(self, taken: Any, label: Any) -> None:
        if self._kernel is not None:
            self._kernel.learn(taken, label)
        else:
            try:
                self._task.learn(self._steps.last, self._steps.learn(taken), label)
            except Exception as error:
                reason = f"the model cannot learn this row ({type(error).__name__}: {error})"
                raise RecordError(reason) from error
            if self._unseen:
                self._unseen.difference_update(taken)
            self._last = taken
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
            seen = tuple(name for name in self._gate.names if name not in self._unseen)
            form, body = _PICKLED, dumps([seen, self._model])
        rest = _HEAD.pack(PROTOCOL, 0, self._plan.digest, form, self.learned)[_CHECKED_FROM:] + body
        return struct.pack(">BI", PROTOCOL, zlib.crc32(rest)) + rest


_State = tuple[int, "LinearKernel | None", Any, tuple[str, ...]]
"""Rows learned, the tight loop or None, the River model where there is none, features seen."""


def _empty(plan: RiverPlan) -> _State:
    return (0, plan.kernel.fresh(), None, ()) if plan.kernel is not None else (0, None, plan.model(), ())


def _state(plan: RiverPlan, form: int, learned: int, body: bytes) -> _State:
    if form == _PACKED and plan.kernel is not None:
        kernel = plan.kernel.fresh()
        kernel.unpack(body)
        return learned, kernel, None, ()
    if form != _PICKLED or plan.kernel is not None:
        raise SnapshotError("the snapshot is damaged: it has a form that this model does not have.")
    found = loads(body)
    if type(found) is not list or len(found) != 2 or type(found[0]) is not tuple:
        raise SnapshotError("the snapshot does not hold a River model.")
    seen, model = found
    if (held := shape(model)) != plan.shape:
        raise SnapshotError(f"the snapshot holds {held}; the spec describes {plan.shape}.")
    return learned, None, model, seen


def _linear(model: Any) -> list[Any]:
    parts = list(model.steps.values()) if hasattr(model, "steps") else [model]
    return [part for part in parts if isinstance(part, linear_model.base.GLM)]
