"""MIDAS behind the engine protocol: bursts of edges in a stream, found without labels and in constant memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.gate import coerce
from thalweg.udfs.engines.midas_hash import text_key, text_keys
from thalweg.udfs.engines.midas_kernel import run
from thalweg.udfs.engines.midas_quantile import ABOVE, WITHIN
from thalweg.udfs.engines.midas_settings import DEFAULTS, MidasSettings, settings_of
from thalweg.udfs.engines.midas_state import MidasState

__all__ = ["EdgeScores", "MidasEngine"]

_LATEST = 1 << 52  # ms: the difference of two such times is a whole number in a float
_64_BITS = (1 << 64) - 1
_LABELS = {ABOVE: "true", WITHIN: "false"}
_new = tuple.__new__


class EdgeScores(NamedTuple):
    """The answers to a block of edges.

    Attributes
    ----------
    scores : array of float64, shape (n,)
        How anomalous each edge is; of the very first edge of a model 0, where ``step`` says ``not_ready``.
    flags : array of int8, shape (n,), or None
        1, above the ``quantile``; 0, not; -1, too few scores to say. None without that option.
    """

    scores: NDArray[np.float64]
    flags: NDArray[np.int8] | None


class MidasEngine:
    """Scores edges of a graph by how much faster they come than they used to, and learns them.

    Parameters
    ----------
    spec : EngineSpec
        Task ``anomaly``; three inputs: source and destination, each a text or an integer, and the event time in epoch
        ms. Engine options:

        ``variant``: ``normal``, MIDAS (default); ``relational``, MIDAS-R: nodes count beside edges, and what came
        before fades; ``filtering``, MIDAS-F: what scores high is also kept out of the normal.
        ``num-rows`` (2), ``num-columns`` (1024) of each count-min sketch.
        ``factor`` (0.5): what a tick leaves of a count; ``relational`` and ``filtering`` only.
        ``threshold`` (1000): the score from which a count is kept out; ``filtering`` only.
        ``tick`` (``60 s``): into which event time is cut, from the first edge on.
        ``decay``: by ``elapsed`` ticks (default), or ``per-tick`` that has an edge, as the reference.
        ``quantile``, such as ``0.999``: an edge that scores above this quantile of the scores before it has the label
        ``true``, others ``false``. Without it there is no label.
        ``seed`` of the hashes (0).

    Attributes
    ----------
    learned : int
        How many edges the model has learned; part of the dump.

    Notes
    -----
    Bhatia et al., "MIDAS: Microcluster-Based Detector of Anomalies in Edge Streams", AAAI 2020, and "Real-time Anomaly
    Detection in Edge Streams", TKDD 2022. With ``per-tick``, ``step`` gives the scores of the authors' program, with
    counts that do not saturate and hashes that share no pattern. A score has no upper bound: an edge that was never
    seen before scores about the number of ticks.

    *Elapsed or per tick.* The reference decays once when it sees a later tick, however much later; ``elapsed`` decays
    by ``factor`` for every tick that went by, with edges or without. Where each tick has an edge, the two agree.

    *Late edges*, of a tick before the current one. With ``elapsed`` an edge counts as much as it would count now had it
    come in time: ``factor`` to the power of the ticks it is late; in ``normal`` only into the total. So a replay is no
    burst, and in ``normal`` and ``relational`` the order of arrival leaves no trace but rounding. With ``per-tick`` it
    counts into the current tick, as in the reference. Either way it is scored against the current tick.

    Nodes are the same if they are equal as texts or as integers; composite ones are put together in SQL.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> inputs = (Field("user", "string"), Field("shop", "string"), Field("ts", "integer"))
    >>> spec = EngineSpec("midas", "anomaly", "midas", inputs, Field("score", "number"), (("tick", "60 s"),))
    >>> engine = MidasEngine.build(spec)
    >>> for minute in range(30):
    ...     engine.learn({"user": "ann", "shop": "books", "ts": 1_700_000_000_000 + 60_000 * minute})
    >>> steady, burst = {"user": "ann", "shop": "books", "ts": 1_700_001_800_000}, None
    >>> engine.score([steady])[0].score
    0.0
    >>> burst = engine.step_many([["eve"] * 50, ["games"] * 50, [1_700_001_800_000] * 50])
    >>> burst.scores[[0, 49]].tolist()
    [30.0, 1500.0]
    """

    OPTIONS = tuple(DEFAULTS)

    def __init__(self, spec: EngineSpec, settings: MidasSettings, state: MidasState) -> None:
        self.spec = spec
        self._settings, self._state, self._gate = settings, state, settings.gate
        first, second = state.text_salts.tolist()
        self._text_salts = (first, second)
        self._edge = [np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.zeros(1, np.int64)]
        # Compiled here, or read from the cache, rather than in the first answer.
        if True in settings.texts:
            text_keys([""], state.text_salts)
        self._run([column[:0] for column in self._edge], False)

    @classmethod
    def build(cls, spec: EngineSpec) -> MidasEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        settings = settings_of(spec)
        return cls(spec, settings, MidasState(settings))

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> MidasEngine:
        """Return the model that ``dump`` wrote; ``threshold`` and ``quantile`` may have changed since.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model than the spec's.
        """
        settings = settings_of(spec)
        return cls(spec, settings, MidasState.restore(settings, blob))

    @property
    def learned(self) -> int:
        """Edges learned so far."""
        return self._state.learned

    @property
    def version(self) -> str:
        """Name of this state of the model: the number of edges it has learned."""
        return str(self._state.learned)

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order, each as if its edge were inserted now; a row that does not fit is refused."""
        answers: list[Score] = []
        places: list[int] = []
        edges: list[tuple[Any, Any, int]] = []
        for place, row in enumerate(rows):
            answers.append(NOT_READY)
            try:
                edges.append(self._take(row))
                places.append(place)
            except RecordError as error:
                answers[place] = Score(None, None, None, "refused", str(error))
        if edges and self._state.learned:
            found = self._run(self._keys(*zip(*edges, strict=True)), False)
            labels = [None] * len(edges) if found.flags is None else map(_LABELS.get, found.flags.tolist())
            for place, score, label in zip(places, found.scores.tolist(), labels, strict=True):
                answers[place] = _new(Score, (score, label, None, "ok", ""))
        return answers

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Insert an edge, in place; a label is not needed and not looked at.

        Raises
        ------
        RecordError
            The row does not fit; the model is unchanged.
        """
        self.step(row, label)

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score an edge and insert it, in one pass; raises as ``learn``."""
        source, destination, time = self._take(row)
        fresh, edge, salts, (named, also) = not self._state.learned, self._edge, self._text_salts, self._settings.texts
        edge[0][0] = text_key(source, salts) if named else source & _64_BITS
        edge[1][0] = text_key(destination, salts) if also else destination & _64_BITS
        edge[2][0] = time
        scores, flags = self._run(edge, True)
        if fresh:
            return NOT_READY
        flag = None if flags is None else _LABELS.get(flags.item())
        return _new(Score, (scores.item(), flag, None, "ok", ""))

    def step_many(self, columns: Sequence[Any]) -> EdgeScores:
        """Score edges and insert them, in order: bit for bit what ``step`` gives one by one, and many times faster.

        Beyond the protocol: a caller that finds no ``step_many`` goes on with ``step``.

        Parameters
        ----------
        columns : sequence of three lists or arrays, each of length n
            Sources, destinations and event times, as in a row. Arrays of integers are taken as they are.

        Raises
        ------
        RecordError
            A column does not fit; none of the edges is inserted. ``step`` tells which are at fault.
        """
        return self._run(self._block(columns), True)

    def score_many(self, columns: Sequence[Any]) -> EdgeScores:
        """Score edges, each as if it were inserted now, without inserting any; takes and raises as ``step_many``."""
        return self._run(self._block(columns), False)

    def healthy(self) -> bool:
        """Return True: counts cannot diverge."""
        return True

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state."""
        return self._state.dump()

    def _take(self, row: Mapping[str, Value]) -> tuple[Any, Any, int]:
        source, destination, time = self._gate.values(row)
        if not -_LATEST <= time <= _LATEST:
            raise RecordError(f"'{self._gate.names[2]}' is no time in epoch ms ({time})")
        return source, destination, time

    def _block(self, columns: Sequence[Any]) -> tuple[Any, Any, Any]:
        if len(columns) != 3 or len({len(column) for column in columns}) != 1:
            raise RecordError("a block has three columns of one length: source, destination and time")
        taken = [self._column(*given) for given in zip(self.spec.inputs, columns, strict=True)]
        keys = self._keys(*taken)
        if len(times := keys[2]) and not -_LATEST <= times.min() <= times.max() <= _LATEST:
            raise RecordError(f"'{self._gate.names[2]}' has a number that is no time in epoch ms")
        return keys

    @staticmethod
    def _column(field: tuple[str, str], column: Any) -> Any:
        """Return a column as texts or as an array of integers; raises RecordError."""
        name, kind = field
        if isinstance(column, np.ndarray):
            if kind == "integer" and column.ndim == 1 and column.dtype.kind == "i":
                return column
            column = column.tolist()
        if set(map(type, column)) <= {int if kind == "integer" else str}:
            try:
                return np.array(column, np.int64) if kind == "integer" else column
            except OverflowError:
                pass
        if any(value is None for value in column):
            raise RecordError(f"'{name}' is NULL")
        return [coerce(name, kind, value) for value in column]

    def _keys(self, sources: Any, destinations: Any, times: Any) -> tuple[Any, Any, Any]:
        salts = self._state.text_salts
        first, second = (
            text_keys(nodes, salts) if text else np.ascontiguousarray(nodes, np.int64).view(np.uint64)
            for text, nodes in zip(self._settings.texts, (sources, destinations), strict=True)
        )
        return first, second, np.ascontiguousarray(times, np.int64)

    def _run(self, edges: Sequence[Any], learn: bool) -> EdgeScores:
        settings, state = self._settings, self._state
        sources, destinations, times = edges
        scores = np.empty(len(times))
        run(
            settings.variant,
            settings.elapsed,
            learn,
            settings.tick_ms,
            settings.factor,
            settings.threshold,
            settings.rows,
            settings.columns,
            state.salts,
            state.head,
            state.cells,
            sources,
            destinations,
            times,
            scores,
        )
        if learn:
            state.learned += len(times)
        return EdgeScores(scores, None if state.quantile is None else state.quantile.judge(scores, learn))
