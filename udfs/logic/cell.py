"""One key's model and its book-keeping, as it lives in Flink state."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import cast

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Learner
from thalweg.udfs.logic.durations import NEVER

__all__ = ["Cell"]

_PROTOCOL = 1
# protocol, last event, due, published, snapshots, examples in the good copy, loss, its weight, bytes of the good copy
_HEAD = struct.Struct("<BqqqqqddI")
_KEEP_GOOD_BELOW = 1 << 16  # bytes; a larger model keeps no second copy of itself in state
_GOOD_EVERY = 512  # examples between two copies to roll back to


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
    """

    __slots__ = (
        "_blob",
        "_engine",
        "_good",
        "_good_at",
        "_loss",
        "_weight",
        "due_ms",
        "last_event_ms",
        "published",
        "snapshots",
    )

    def __init__(self) -> None:
        self._engine: Learner | None = None
        self._blob = b""
        self._good = b""
        self._good_at = 0
        self._loss = 0.0
        self._weight = 0.0
        self.last_event_ms = NEVER
        self.due_ms = NEVER
        self.published = 0
        self.snapshots = 0

    def empty(self) -> bool:
        """Return whether there is no model yet."""
        return self._engine is None and not self._blob

    def fill(self, spec: EngineSpec) -> None:
        """Put a model that has learned nothing into an empty cell."""
        self._engine = cast("Learner", build(spec))

    def engine(self, spec: EngineSpec) -> Learner:
        """Return the live model, restoring it on first use."""
        if self._engine is None:
            self._engine = cast("Learner", restore(spec, self._blob))
            self._blob = b""
        return self._engine

    def note(self, event_ms: int, loss: float | None) -> None:
        """Remember that an event was learned, and how wrong the model had been just before (fading over 1,000)."""
        if event_ms > self.last_event_ms:
            self.last_event_ms = event_ms
        if loss is None:
            return
        self._loss += (loss - self._loss) / min(self._weight + 1.0, 1000.0)
        self._weight += 1.0

    def progressive_loss(self) -> float | None:
        """Return the fading mean loss; None before the first example."""
        return self._loss if self._weight else None

    def keep_good(self, spec: EngineSpec, learned: int) -> None:
        """Keep a copy to roll back to, every so many examples."""
        if learned // _GOOD_EVERY > self._good_at // _GOOD_EVERY:
            self._good, self._good_at = self.engine(spec).dump(), learned

    def roll_back(self, spec: EngineSpec) -> int:
        """Put the last good copy in place of a diverged model, and return how many examples that copy had learned."""
        self._engine = cast("Learner", restore(spec, self._good) if self._good else build(spec))
        return self._good_at

    def dump(self) -> bytes:
        """Return the cell as bytes: a head, the copy to roll back to, the model."""
        blob = self._blob if self._engine is None else self._engine.dump()
        good = self._good if len(self._good) <= _KEEP_GOOD_BELOW else b""
        head = _HEAD.pack(
            _PROTOCOL, self.last_event_ms, self.due_ms, self.published, self.snapshots, self._good_at if good else 0,
            self._loss, self._weight, len(good),
        )  # fmt: skip
        return head + good + blob

    @classmethod
    def load(cls, data: bytes) -> Cell:
        """Return the cell that ``dump`` wrote; its model is restored on first use.

        Raises
        ------
        SnapshotError
            The bytes are of another protocol or cut short.
        """
        if len(data) < _HEAD.size or data[0] != _PROTOCOL:
            raise SnapshotError(f"model state has protocol {data[:1].hex() or 'none'}, this version reads 01.")
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
            length,
        ) = _HEAD.unpack_from(data)
        cell._good = data[_HEAD.size : _HEAD.size + length]
        cell._blob = data[_HEAD.size + length :]
        return cell

    def __reduce__(self) -> tuple[Callable[[bytes], Cell], tuple[bytes]]:
        # Flink's Python state pickles what it stores; the only thing in that pickle is our own audited bytes.
        return (Cell.load, (self.dump(),))
