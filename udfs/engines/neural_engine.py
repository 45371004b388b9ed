"""A neural network that goes on learning, behind the engine protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thalweg.connector.errors import RecordError, SnapshotError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.neural_codec import Codec
from thalweg.udfs.engines.neural_options import PARAMS
from thalweg.udfs.engines.neural_plan import NeuralPlan, plan_of
from thalweg.udfs.engines.neural_state import join, pack_rows, split, unpack_rows
from thalweg.udfs.engines.neural_steps import Steps, joined
from thalweg.udfs.engines.neural_warm import layout_of_file
from thalweg.udfs.engines.neural_weights import Weights
from thalweg.udfs.engines.onnx_outputs import refused

__all__ = ["NeuralEngine"]

_CANNOT = "the model cannot"
_LARGEST_BATCH = 4096  # rows of one call of the runtime when many are scored


class NeuralEngine:
    """An ONNX network that scores and learns rows of plain values.

    Parameters
    ----------
    spec : EngineSpec
        ``model`` is a file (path, ``file:`` or ``data:;base64,`` URI) or a text such as
        ``mlp(32, 16, embedding(carrier, 8))``. Engine options: ``loss``, ``optimiser`` (sgd, momentum, adam, adagrad,
        ftrl), ``learning-rate``, ``schedule``, ``momentum``, ``clip-norm``, ``l2``, ``batch-size`` (rows per step,
        default 1), ``trainable`` (all, last-layer, embeddings, or a pattern of names of weights), ``min-samples`` (rows
        before the first answer: 0 for a file, 1 for a text); of a file also those of the ONNX engine; of a text
        ``classes``, ``max-classes`` and ``seed``.

    Attributes
    ----------
    learned : int
        Rows learned; part of the dump. Rows that wait for a mini-batch to fill up count.

    Notes
    -----
    The backward pass is derived in ONNX operators from the forward pass. Both are one graph whose weights are inputs:
    a step is one call of the runtime, for answers and gradients, and a few operations of NumPy that move the weights in
    place. A dump holds weights, optimiser and what was learned of the features; the graph of a customer's network stays
    in its file, which must hash to the same bytes when the dump is restored.

    In the runtime rows are run in multiples of four, filled up with copies that have no weight, because it multiplies
    what is left over by another routine: so a row is answered alike alone, in a batch and on the way to being learned.
    A chain of dense layers, all of them trained, is answered and learned by machine code instead.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> spec = EngineSpec("neural", "classification", "mlp(8)", (Field("amount", "number"),), Field("fraud", "boolean"),
    ...                   (("learning-rate", "0.1"),))
    >>> engine = NeuralEngine.build(spec)
    >>> engine.score([{"amount": 3.5}])[0].status
    'not_ready'
    >>> for amount in [1, 9, 2, 8, 3, 7] * 50:
    ...     engine.learn({"amount": amount}, amount > 5)
    >>> [answer.label for answer in engine.score([{"amount": 9}, {"amount": 1}])]
    ['true', 'false']
    >>> NeuralEngine.restore(spec, engine.dump()).learned
    300
    """

    OPTIONS = tuple(PARAMS)

    def __init__(self, spec: EngineSpec, plan: NeuralPlan) -> None:
        self.spec, self.plan = spec, plan
        self.learned = 0
        self.codec: Codec = plan.codec()
        self.weights = Weights(plan.layout, plan.options.training)
        self._waiting: list[tuple[dict[str, Any], Any]] = []
        self._batch = plan.options.batch
        self._nulls = spec.param("on-null", PARAMS["on-null"]) == "nan"
        self._steps = Steps(plan, self.codec, self.weights)

    @classmethod
    def build(cls, spec: EngineSpec) -> NeuralEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        return cls(spec, plan_of(spec))

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> NeuralEngine:
        """Return the model that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model than the spec's.
        """
        engine = cls(spec, plan_of(spec))
        parts = split(blob, engine.plan.digest)
        try:
            engine.codec.unpack(parts.codec)
            engine.weights.unpack(parts.weights, engine.codec.used())
            engine._waiting = unpack_rows(parts.rows, engine.plan.row, engine.plan.head.width)
            if len(engine._waiting) >= max(engine._batch, 1) and engine._waiting:
                raise ValueError("more rows wait than a mini-batch has")
        except Exception as error:
            raise SnapshotError(f"the snapshot is damaged ({type(error).__name__}: {error}).") from error
        engine.learned = parts.learned
        return engine

    @classmethod
    def warm(cls, spec: EngineSpec, data: bytes) -> NeuralEngine:
        """Return a new model that begins with the weights of an ONNX file with the same graph as that of ``spec``.

        Raises
        ------
        SnapshotError
            The graph is another one, or the network is one from text, which has learned more than its weights.
        ConfigError
            The file is no ONNX model, or the spec is wrong.
        """
        plan = plan_of(spec)
        return cls.restore(spec, cls(spec, replace(plan, layout=layout_of_file(plan, data))).dump())

    @property
    def version(self) -> str:
        """Name of this state of the model: the number of rows it has learned."""
        return str(self.learned)

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order; a row that does not fit is refused with its reason."""
        found: list[Score] = []
        for start in range(0, len(rows), _LARGEST_BATCH):
            found += self._score(rows[start : start + _LARGEST_BATCH])
        return found

    def _score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        feeds, faults = self.codec.read(rows)
        count = len(rows) - len(faults)
        if self.learned < self.plan.ready_at:
            answers = [NOT_READY] * count
        else:
            answers = self._steps.answers(feeds, count) if count else []
        if not faults:
            return answers
        rest = iter(answers)
        return [refused(faults[at]) if at in faults else next(rest) for at in range(len(rows))]

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn from one row, in place; with ``batch-size`` above 1 the step comes when the mini-batch is full.

        Raises
        ------
        RecordError
            The row or the label does not fit; the model is unchanged.
        """
        taken = self.codec.take(row)
        self._learn(taken, self.codec.check(label), False)

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score a row, then learn it: one call of the runtime where a step is of one row; raises like ``learn``."""
        taken = self.codec.take(row)
        known = self.codec.check(label)
        whole = self._batch == 1 and self._steps.whole and self.learned >= self.plan.ready_at
        if whole and not self.codec.admits(known) and (answer := self._learn(taken, known, True)) is not None:
            return answer
        ready = self.learned >= self.plan.ready_at
        score = self._steps.answers(self.codec.feeds([taken]), 1)[0] if ready else NOT_READY
        self._learn(taken, known, False)
        return score

    def learn_many(self, rows: Sequence[Mapping[str, Value]], labels: Sequence[Value]) -> dict[int, str]:
        """Learn some rows by one step on the mean of their losses, whatever ``batch-size`` is.

        Parameters
        ----------
        rows : sequence of mapping
            The mini-batch.
        labels : sequence
            One per row.

        Returns
        -------
        dict of int to str
            Why a row was refused, by its place; the others were learned.
        """
        taken, known, places, faults = [], [], [], {}
        whole = self.codec.take_plain(rows)
        for at, (row, label) in enumerate(zip(rows, labels, strict=True)):
            try:
                features = self.codec.take(row) if whole is None else whole[at]
                checked = self.codec.check(label)
                self._try(features)
            except RecordError as error:
                faults[at] = str(error)
            else:
                self.codec.admit(checked)
                taken.append(features)
                known.append(checked)
                places.append(at)
        if taken:
            try:
                self._steps.many(self.codec.feeds(taken), self.codec.targets(known))
            except Exception as error:
                return {**faults, **dict.fromkeys(places, _failed(error))}
            self.codec.absorb(taken, known)
            self.learned += len(taken)
        return faults

    def _learn(self, taken: Any, label: Any, ask: bool) -> Score | None:
        codec = self.codec
        whole = self._batch == 1 and self._steps.whole
        if self._nulls or not whole:
            self._try(taken)
        codec.admit(label)
        target, score = codec.targets([label]), None
        if whole:
            try:
                score = self._steps.one(taken, target, ask)
            except Exception as error:
                raise RecordError(_failed(error)) from error
        else:
            self._waiting.append((codec.feeds([taken]), target))
            if len(self._waiting) >= self._batch:
                feeds, targets = joined(self._waiting)
                self._waiting = []
                self._steps.many(feeds, targets)
        codec.absorb([taken], [label])
        self.learned += 1
        return score

    def _try(self, taken: Any) -> None:
        """Raise RecordError for a row that would fail in a mini-batch, or make every weight NaN."""
        if not (self._nulls or self.plan.picky):
            return
        answer = self._steps.answers(self.codec.feeds([taken]), 1)[0]
        if answer.status == "refused" and (self._nulls or answer.reason.startswith(_CANNOT)):
            raise RecordError(f"{answer.reason}: nothing is learned of it")

    def healthy(self) -> bool:
        """Return whether all weights are finite and none is far beyond what the network began with."""
        return self.weights.healthy()

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state."""
        weights = self.weights.pack(self.codec.used())
        return join(self.plan.digest, self.learned, self.codec.pack(), weights, pack_rows(self._waiting))

    def __reduce__(self) -> tuple[Any, tuple[EngineSpec, bytes]]:
        return NeuralEngine.restore, (self.spec, self.dump())


def _failed(error: Exception) -> str:
    return f"the model cannot learn this row ({error})"[:500]
