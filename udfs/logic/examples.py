"""Labelled examples that a model keeps: those that wait for its next update, and old ones against forgetting."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.packing import pack_columns, unpack_columns

__all__ = ["Example", "Examples"]

# protocol, examples that have become old, updates; bytes of the waiting, of the old ones
_FIRST_HEAD = struct.Struct("<BQQII")
# since protocol 2 also: updates that were refused, examples that were held out from the last one
_HEAD = struct.Struct("<BQQQIII")
_PROTOCOL = 2
_HOLD_FROM = 100  # new examples; of fewer none is held out, for a handful says nothing
_HOLD_EACH = 10
_MOST_HELD = 200
_MASK = (1 << 64) - 1


class Example(NamedTuple):
    """One labelled event; ``values`` are its features in the order of the declaration."""

    event_id: str
    event_ms: int
    label: Any
    values: tuple[Any, ...]


class Examples:
    """Examples of one model, in bounded memory and with the same choice of old ones after every restart.

    Parameters
    ----------
    spec : EngineSpec
        Says of which kinds features and label are.
    keep : int
        How many old examples are kept.
    newest : bool
        Keep the newest ones; else a sample in which every old example has the same chance.

    Attributes
    ----------
    waiting : list of Example
        Those to be learned next; first the ``carried`` ones that were held out from the last update.
    old : list of Example
        Those that were learned.
    aged, updates, refused : int
        How many have become old; how many updates there were, and how many of them were refused.

    References
    ----------
    Vitter, Random Sampling with a Reservoir (1985), algorithm R. The random numbers are splitmix64 of a counter
    (Steele, Lea and Flood, 2014), so that they are part of the state without taking room in it.
    """

    def __init__(self, spec: EngineSpec, keep: int, newest: bool) -> None:
        self._kinds = ("string", "integer", spec.output.kind, *(kind for _, kind in spec.inputs))
        self._keep, self._newest = keep, newest
        self.waiting: list[Example] = []
        self.old: list[Example] = []
        self.aged = self.updates = self.refused = self.carried = 0

    def add(self, example: Example) -> None:
        """Let an example wait for the next update."""
        self.waiting.append(example)

    @property
    def fresh(self) -> int:
        """How many have come since the last update."""
        return len(self.waiting) - self.carried

    def held_out(self) -> list[Example]:
        """Return the examples by which the next update is to be judged: of the new ones every tenth, the newest 200.

        They are learned by the update after that. Of fewer than 100 new examples none is held out.
        """
        if self.fresh < _HOLD_FROM:
            return []
        return self.waiting[self.carried + _HOLD_EACH - 1 :: _HOLD_EACH][-_MOST_HELD:]

    def replayed(self, ratio: float, held: Sequence[Example] = ()) -> list[Example]:
        """Return the waiting examples but those held out, with old ones spread between them: ``ratio`` for each."""
        waiting = _without(self.waiting, held)
        count = min(round(ratio * len(waiting)), len(self.old))
        if not count:
            return waiting
        start = self.updates << 32
        places = sorted(sorted(range(len(self.old)), key=lambda at: _mixed(start + at))[:count])
        every = (len(waiting) + count) / count
        mixed, fresh = [], iter(waiting)
        wanted = [int(every * n) for n in range(count)]
        picked = dict(zip(wanted, places, strict=True))
        for at in range(len(waiting) + count):
            mixed.append(self.old[picked[at]] if at in picked else next(fresh))
        return mixed

    def settle(self, held: Sequence[Example] = ()) -> None:
        """Make the waiting examples old ones, and keep as many of those as there is room for; ``held`` wait on."""
        self.updates += 1
        waiting = _without(self.waiting, held)
        if self._newest:
            self.old = (self.old + waiting)[-self._keep :] if self._keep else []
            self.aged += len(waiting)
        else:
            for example in waiting:
                self.aged += 1
                if len(self.old) < self._keep:
                    self.old.append(example)
                elif (place := _mixed(self.aged) % self.aged) < self._keep:
                    self.old[place] = example
        self.waiting, self.carried = list(held), len(held)

    def dump(self) -> bytes:
        """Return the examples as bytes."""
        waiting, old = self._packed(self.waiting), self._packed(self.old)
        counts = (self.aged, self.updates, self.refused, self.carried)
        return _HEAD.pack(_PROTOCOL, *counts, len(waiting), len(old)) + waiting + old

    def load(self, data: bytes) -> None:
        """Take over what ``dump`` wrote.

        Raises
        ------
        SnapshotError
            The bytes are damaged, or of other columns.
        """
        head = {1: _FIRST_HEAD, _PROTOCOL: _HEAD}.get(data[0] if data else 0)
        if head is None or len(data) < head.size:
            raise SnapshotError("the examples that wait are damaged: they begin with other bytes.")
        _, self.aged, self.updates, *counts, first, second = head.unpack_from(data)
        self.refused, self.carried = counts or (0, 0)
        if len(data) != head.size + first + second:
            raise SnapshotError("the examples that wait are damaged: they end too early.")
        self.waiting = self._unpacked(data[head.size : head.size + first])
        self.old = self._unpacked(data[head.size + first :])
        if self.carried > len(self.waiting):
            raise SnapshotError("the examples that wait are damaged: more were held out than wait.")

    @staticmethod
    def aged_in(data: bytes) -> int:
        """Return how many examples have become old, reading nothing else of what ``dump`` wrote; 0 of no bytes."""
        return int(_FIRST_HEAD.unpack_from(data)[1]) if len(data) >= _FIRST_HEAD.size else 0

    def _packed(self, examples: Sequence[Example]) -> bytes:
        rows = [(example.event_id, example.event_ms, example.label, *example.values) for example in examples]
        columns = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in self._kinds]
        return pack_columns(zip(self._kinds, columns, strict=True), len(rows))

    def _unpacked(self, block: bytes) -> list[Example]:
        _, columns = unpack_columns(block)
        if len(columns) != len(self._kinds):
            raise SnapshotError("the examples that wait have other columns than the model.")
        return [Example(row[0], row[1], row[2], row[3:]) for row in zip(*columns, strict=True)]


def _without(waiting: Sequence[Example], held: Sequence[Example]) -> list[Example]:
    """Return the examples that are not held out; two that are alike are still two."""
    out = set(map(id, held))
    return [example for example in waiting if id(example) not in out]


def _mixed(number: int) -> int:
    z = (number * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
