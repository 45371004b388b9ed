"""Labelled examples of the past that the models of a shard answer again and again."""

from __future__ import annotations

import json
import zlib
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.outcomes import as_numbers
from thalweg.udfs.logic.packing import pack_columns, unpack_columns

__all__ = ["OldExamples"]

_PROTOCOL = b"\x01"
_NO_FIRST = ""


class OldExamples:
    """Two sets of one shard: the first labelled examples (``reference``), and a sample of all (``reservoir``).

    The sample are the examples whose event ids have the smallest checksums: each has the same chance, whatever the
    order, the same ones are chosen again after every restart, and nothing is drawn.

    Parameters
    ----------
    spec : EngineSpec
        The model.
    size : int
        Examples in each set.
    every_ms : int
        They are answered on whole multiples of it, as of the rows before that time.

    References
    ----------
    Cohen and Kaplan, Summarizing Data Using Bottom-k Sketches (2007).
    """

    def __init__(self, spec: EngineSpec, size: int, every_ms: int) -> None:
        self._spec, self._size, self._every = spec, size, every_ms
        self._kinds = ("string", "string", spec.output.kind, "string", *(kind for _, kind in spec.inputs))
        self._names = [name for name, _ in spec.inputs]
        # Checksum, then key, event id, label, answer when it was first answered again, features.
        self._sets: dict[str, list[tuple[int, list[Any]]]] = {"reference": [], "reservoir": []}
        self.due_ms = NEVER

    def parts(self, columns: Sequence[list[Any]]) -> Iterator[tuple[Sequence[list[Any]], int | None]]:
        """Yield rows of ``LearningLogic.on_rows``, cut where the examples are to be answered, and that time, if any."""
        times, begin = columns[4], 0
        for at, time_ms in enumerate(times):
            if self.due_ms == NEVER:
                self.due_ms = (time_ms // self._every + 1) * self._every
            elif time_ms >= self.due_ms:
                yield [column[begin:at] for column in columns], self.due_ms
                begin, self.due_ms = at, (time_ms // self._every + 1) * self._every
        yield (columns if begin == 0 else [column[begin:] for column in columns]), None

    def pass_time(self, now_ms: int) -> int | None:
        """Return the time at which the examples are to be answered, if that is over at ``now_ms``."""
        if self.due_ms == NEVER or now_ms < self.due_ms:
            return None
        due, self.due_ms = self.due_ms, NEVER
        return due

    def add(self, columns: Sequence[list[Any]], learns: Sequence[bool]) -> bool:
        """Take rows whose label is learned, by kind of row, and return whether one was kept."""
        kinds, keys, ids, _, _, labels, *features = columns
        first, sample = self._sets["reference"], self._sets["reservoir"]
        kept = False
        for at, kind in enumerate(kinds):
            if not learns[kind] or labels[at] is None or keys[at] is None or ids[at] is None:
                continue
            mark = zlib.crc32(ids[at].encode("utf-8", "surrogatepass"))
            early = len(first) < self._size
            if not early and len(sample) >= self._size and mark >= sample[-1][0]:
                continue
            example = [keys[at], ids[at], labels[at], _NO_FIRST, *(column[at] for column in features)]
            if early:
                first.append((mark, example))
            insort(sample, (mark, [*example]), key=lambda entry: (entry[0], entry[1][1]))
            del sample[self._size :]
            kept = True
        return kept

    def answered(self, score: Callable[[str, dict[str, Any]], Score | None]) -> str:
        """Answer all examples, and return the answers as text for ``OldPerformance``.

        Parameters
        ----------
        score : callable
            Model key and row to the answer of the model as it is; None where there is none.
        """
        found: dict[str, list[list[float]]] = {}
        for name, entries in self._sets.items():
            rows = found[name] = []
            for _, example in entries:
                key, _, label, first, *values = example
                answer = score(key, dict(zip(self._names, values, strict=True)))
                if answer is None or answer.score is None:
                    continue
                truth = label if isinstance(label, str) else json.dumps(label)
                detail = None if answer.probabilities is None else json.dumps(answer.probabilities)
                now = list(as_numbers(self._spec, answer.score, answer.label, detail, truth))
                if not first:
                    example[3] = json.dumps(now)
                rows.append([*now, *(json.loads(first) if first else now)])
        return json.dumps(found, separators=(",", ":"))

    def dump(self) -> bytes:
        """Return the examples as bytes."""
        rows = [(name, mark, *example) for name, entries in self._sets.items() for mark, example in entries]
        kinds = ("string", "integer", *self._kinds)
        columns = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in kinds]
        head = pack_columns([("integer", [self.due_ms])], 1)
        return (
            _PROTOCOL
            + len(head).to_bytes(4, "little")
            + head
            + pack_columns(zip(kinds, columns, strict=True), len(rows))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.dump(),)  # what Flink's pickle holds is our own bytes

    def load(self, data: bytes) -> None:
        """Take over what ``dump`` wrote; examples of other columns are left behind.

        Raises
        ------
        SnapshotError
            The bytes are damaged.
        """
        if data[:1] != _PROTOCOL or len(data) < 5:
            raise SnapshotError("the old examples are damaged: they begin with other bytes.")
        length = int.from_bytes(data[1:5], "little")
        self.due_ms = unpack_columns(data[5 : 5 + length])[1][0][0]
        _, columns = unpack_columns(data[5 + length :])
        if len(columns) != len(self._kinds) + 2:
            return
        for name, mark, *example in zip(*columns, strict=True):
            if len(self._sets[name]) < self._size:
                self._sets[name].append((mark, example))
