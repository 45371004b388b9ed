"""One key's model and its book-keeping, as it lives in Flink state."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import cast

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Learner
from thalweg.udfs.logic.error_watch import WATCH_MAGIC, ErrorWatch
from thalweg.udfs.logic.examples import Examples
from thalweg.udfs.logic.never import NEVER

__all__ = ["Cell", "spec_mark"]

_PROTOCOL = 3
# protocol, last event, due, published, snapshots, examples in the good copy, loss, its weight, bytes of the good copy
_HEAD = struct.Struct("<BqqqqqddI")
# since protocol 2: examples the model had learned before it became this key's, time of the next update, frozen, mark of
# the spec, bytes of the watch for drift, bytes of the examples that wait
_MORE = struct.Struct("<qqB8sII")
# since protocol 3: bytes of the second model
_SECOND = struct.Struct("<I")
_KEEP_GOOD_BELOW = 1 << 16  # bytes; a larger model keeps no second copy of itself in state
_GOOD_EVERY = 512  # examples between two copies to roll back to


@lru_cache(maxsize=256)
def spec_mark(spec: EngineSpec) -> bytes:
    """Return eight bytes that stand for a spec, to tell whether a model in state was built from another one."""
    return hashlib.sha256(spec.to_json().encode("utf-8", "surrogatepass")).digest()[:8]


class Cell:
    """A model with what the operator must know about it.

    The engine inside is the live object; it is serialised when Flink asks for it, once per key and bundle. After a
    restore it stays bytes until it is first used, so that a restart costs only the keys that come back.

    Attributes
    ----------
    last_event_ms : int
        Time of the last event learned, epoch ms; the smallest long before the first.
    due_ms : int
        When the next snapshot is due, epoch ms; the smallest long where nothing waits to be published.
    published : int
        Examples that the last published snapshot had learned.
    snapshots : int
        Snapshots published so far.
    inherited : int
        Examples that the model had learned before it became this key's: those of the prior, or of a snapshot.
    frozen : bool
        Whether the model has stopped learning, for it grew too large.
    update_ms : int
        When the model is to be updated, epoch ms; the smallest long where that is not a matter of time.
    examples : Examples or bytes
        What waits for the next update; bytes until it is first used.
    mark : bytes
        ``spec_mark`` of the spec that the model was built from; empty where it was written by a version without marks.
    """

    __slots__ = (
        "_blob",
        "_engine",
        "_good",
        "_good_at",
        "_loss",
        "_second",
        "_watch",
        "_weight",
        "due_ms",
        "examples",
        "frozen",
        "inherited",
        "last_event_ms",
        "mark",
        "published",
        "snapshots",
        "update_ms",
    )

    def __init__(self) -> None:
        self._engine: Learner | None = None
        self._blob = b""
        self._good = b""
        self._good_at = 0
        self._loss = 0.0
        self._weight = 0.0
        self._watch: ErrorWatch | bytes = b""
        self._second: Learner | bytes = b""
        self.last_event_ms = NEVER
        self.due_ms = NEVER
        self.published = 0
        self.snapshots = 0
        self.inherited = 0
        self.frozen = False
        self.update_ms = NEVER
        self.examples: Examples | bytes = b""
        self.mark = b""

    def empty(self) -> bool:
        """Return whether there is no model yet."""
        return self._engine is None and not self._blob

    def fill(self, spec: EngineSpec, engine: Learner | None = None) -> None:
        """Put a model into the cell: ``engine``, or one that has learned nothing."""
        # One that goes on under another declaration may not bear it: it begins with a copy to go back to.
        revised = engine is not None and self._blob != b""
        self._engine = cast("Learner", build(spec)) if engine is None else engine
        self._blob = b""
        self._good, self._good_at = (self._engine.dump(), self._engine.learned) if revised else (b"", 0)
        self.inherited = self.published = self._engine.learned
        self.frozen = False
        self.mark = spec_mark(spec)

    def version(self, spec: EngineSpec) -> int:
        """Return how many examples are behind the model: what it has learned, or what all its versions have."""
        kept = self.examples
        aged = kept.aged if isinstance(kept, Examples) else Examples.aged_in(kept)
        return max(self.engine(spec).learned, aged)

    def exchange(self, engine: Learner) -> None:
        """Put another version of the model in its place."""
        self._engine = engine

    def wake_ms(self) -> int:
        """Return when the cell is to be seen to, epoch ms: for a snapshot or an update; the smallest long for never."""
        times = [at for at in (self.due_ms, self.update_ms) if at != NEVER]
        return min(times, default=NEVER)

    def sleeping(self) -> bytes:
        """Return the model's bytes where it has not been used since it was read; empty where it is live."""
        return self._blob

    def engine(self, spec: EngineSpec) -> Learner:
        """Return the live model, restoring it on first use."""
        if self._engine is None:
            self._engine = cast("Learner", restore(spec, self._blob))
            self._blob = b""
            self.mark = spec_mark(spec)
        return self._engine

    def note(self, event_ms: int, loss: float | None) -> None:
        """Remember that an event was learned, and how wrong the model had been just before (fading over 1,000)."""
        if event_ms > self.last_event_ms:
            self.last_event_ms = event_ms
        if loss is None:
            return
        self._loss += (loss - self._loss) / min(self._weight + 1.0, 1000.0)
        self._weight += 1.0

    def losses(self) -> tuple[float, float]:
        """Return the fading mean loss and how many examples are in it, for a loop that notes them itself."""
        return self._loss, self._weight

    def go_on(self, last_event_ms: int, loss: float, weight: float) -> None:
        """Take over what such a loop has noted, as ``note`` would have for each example."""
        self.last_event_ms, self._loss, self._weight = last_event_ms, loss, weight

    def progressive_loss(self) -> float | None:
        """Return the fading mean loss; None before the first example."""
        return self._loss if self._weight else None

    def drifted(self, spec: EngineSpec, loss: float | None) -> bool:
        """Watch the loss of one more example, and return whether the model has just become worse for good."""
        if loss is None:
            return False
        return self._watching().add_loss(loss, spec.task, spec.output.kind)

    def _watching(self) -> ErrorWatch:
        if isinstance(self._watch, bytes):
            # Earlier versions watched with another detector: its state says nothing of this one.
            mine = self._watch[:4] == WATCH_MAGIC
            self._watch = ErrorWatch.load(self._watch) if mine else ErrorWatch()
        return self._watch

    def warned(self) -> bool | None:
        """Return whether the errors watched are strangely many; None where that is neither so nor over."""
        return self._watching().warns()

    def error_rates(self) -> tuple[float, float]:
        """Return the newest mean error of those watched, and the usual one."""
        return self._watching().rates()

    def forget_errors(self) -> None:
        """Watch from here on, for the model is another one."""
        self._watch = b""

    def second(self, spec: EngineSpec) -> Learner:
        """Return the model that learns beside the first one; a new one where there is none."""
        if isinstance(self._second, bytes):
            self._second = cast("Learner", restore(spec, self._second) if self._second else build(spec))
        return self._second

    def has_second(self) -> bool:
        """Return whether there is one."""
        return self._second != b""

    def drop_second(self) -> None:
        """Let it go."""
        self._second = b""

    def keep_good(self, spec: EngineSpec, learned: int) -> int:
        """Keep a copy to roll back to, every so many examples, and return its bytes; 0 where none was due."""
        if learned // _GOOD_EVERY <= self._good_at // _GOOD_EVERY:
            return 0
        self._good, self._good_at = self.engine(spec).dump(), learned
        return len(self._good)

    def roll_back(self, spec: EngineSpec) -> int:
        """Put the last good copy in place of a diverged model, and return how many examples that copy had learned."""
        self._engine = cast("Learner", restore(spec, self._good) if self._good else build(spec))
        self.inherited = min(self.inherited, self._good_at)
        return self._good_at

    def dump(self) -> bytes:
        """Return the cell as bytes: heads, good copy, watch for drift, waiting examples, second model, model."""
        blob = self._blob if self._engine is None else self._engine.dump()
        good = self._good if len(self._good) <= _KEEP_GOOD_BELOW else b""
        watch = self._watch if isinstance(self._watch, bytes) else self._watch.state()
        head = _HEAD.pack(
            _PROTOCOL, self.last_event_ms, self.due_ms, self.published, self.snapshots, self._good_at if good else 0,
            self._loss, self._weight, len(good),
        )  # fmt: skip
        waits = self.examples if isinstance(self.examples, bytes) else self.examples.dump()
        more = _MORE.pack(self.inherited, self.update_ms, self.frozen, self.mark, len(watch), len(waits))
        second = self._second if isinstance(self._second, bytes) else self._second.dump()
        return head + more + _SECOND.pack(len(second)) + good + watch + waits + second + blob

    @classmethod
    def load(cls, data: bytes) -> Cell:
        """Return the cell that ``dump`` wrote, in this version or an earlier one; its model is restored on first use.

        Raises
        ------
        SnapshotError
            The bytes are of another protocol or cut short.
        """
        protocol = data[0] if data else 0
        begin = _HEAD.size + (_MORE.size if protocol >= 2 else 0) + (_SECOND.size if protocol >= 3 else 0)
        if protocol not in (1, 2, _PROTOCOL) or len(data) < begin:
            raise SnapshotError(f"model state has protocol {data[:1].hex() or 'none'}, this version reads 01 to 03.")
        cell = cls()
        (
            _,
            cell.last_event_ms,
            cell.due_ms,
            cell.published,
            cell.snapshots,
            cell._good_at,
            cell._loss,
            cell._weight,
            good,
        ) = _HEAD.unpack_from(data)
        watch = waits = second = 0
        if protocol >= 3:
            (second,) = _SECOND.unpack_from(data, _HEAD.size + _MORE.size)
        if protocol >= 2:
            cell.inherited, cell.update_ms, frozen, mark, watch, waits = _MORE.unpack_from(data, _HEAD.size)
            cell.frozen, cell.mark = bool(frozen), b"" if mark == bytes(8) else mark
        cell._good = data[begin : begin + good]
        begin += good
        cell._watch = data[begin : begin + watch]
        cell.examples = data[begin + watch : begin + watch + waits]
        begin += watch + waits
        cell._second = data[begin : begin + second]
        cell._blob = data[begin + second :]
        return cell

    def __reduce__(self) -> tuple[Callable[[bytes], Cell], tuple[bytes]]:
        # Flink's Python state pickles what it stores; the only thing in that pickle is our own audited bytes.
        return (Cell.load, (self.dump(),))
