"""Labelled examples of the past that the models of a shard answer again and again."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.outcomes import as_numbers
from thalweg.udfs.logic.packing import pack_columns, unpack_columns

__all__ = ["REFERENCE", "OldExamples"]

REFERENCE = 4
"""Row kind beside those of ``learning``: an example of a reference table, neither answered nor learned."""

_PROTOCOL = b"\x01"
_STEPS = 10  # how often at most they are answered for the sake of new versions, in the time of one regular answer
_NO_FIRST = ""
_OF_TABLE = "\x1e"  # before the row of a table, where other examples have their event id


class OldExamples:
    """Two sets of one shard: the first labelled examples (``reference``), and a sample of all (``reservoir``).

    The sample are the examples whose event ids have the smallest checksums: each has the same chance, whatever the
    order, the same ones are chosen again after every restart, and nothing is drawn. Where a table gives the reference,
    it is such a sample of its rows, by what is in them: the same rows again change nothing.

    Parameters
    ----------
    spec : EngineSpec
        The model.
    size : int
        Examples in each set.
    every_ms : int
        They are answered on whole multiples of it, as of the rows before that time; and on whole multiples of a tenth
        of it, if since the last one a new version of a model has been told of.
    given : bool
        Whether a table gives the reference: ``add_reference``.

    References
    ----------
    Cohen and Kaplan, Summarizing Data Using Bottom-k Sketches (2007).
    """

    def __init__(self, spec: EngineSpec, size: int, every_ms: int, given: bool = False) -> None:
        self._spec, self._size, self._every, self._given = spec, size, every_ms, given
        self._step = every_ms // _STEPS if every_ms % _STEPS == 0 else every_ms
        self._kinds = ("string", "string", spec.output.kind, "string", *(kind for _, kind in spec.inputs))
        self._names = [name for name, _ in spec.inputs]
        # Checksum, then key, event id, label, answer when it was first answered again, features.
        self._sets: dict[str, list[tuple[int, list[Any]]]] = {"reference": [], "reservoir": []}
        self._edge = NEVER  # the first multiple of the step after the rows that came since the last answer
        self._renewed = NEVER  # the same after a new version of a model

    @property
    def due_ms(self) -> int:
        """When they are to be answered, epoch ms; the smallest long where nothing has come since the last answer."""
        regular = self._edge if self._edge == NEVER else -(-self._edge // self._every) * self._every
        return min((at_ms for at_ms in (regular, self._renewed) if at_ms != NEVER), default=NEVER)

    def renew(self, at_ms: int) -> None:
        """Hear that there is a new version of a model since ``at_ms``."""
        renewed = max(self._after(at_ms), self._edge)
        self._renewed = renewed if self._renewed == NEVER else min(self._renewed, renewed)

    def _after(self, at_ms: int) -> int:
        return (at_ms // self._step + 1) * self._step

    def parts(self, columns: Sequence[list[Any]]) -> Iterator[tuple[Sequence[list[Any]], int | None]]:
        """Yield rows of ``LearningLogic.on_rows`` up to where the examples may have to be answered.

        With each part comes the time of the row that follows, None after the last one. Before the next part is asked
        for, its rows are to be learned, new versions told to ``renew``, and ``pass_time`` asked with that time.
        """
        times, begin = columns[4], 0
        for at, time_ms in enumerate(times):
            if self._edge == NEVER:
                self._edge = self._after(time_ms)
            elif time_ms >= self._edge:
                yield [column[begin:at] for column in columns], time_ms
                begin, self._edge = at, self._after(time_ms)
        yield (columns if begin == 0 else [column[begin:] for column in columns]), None

    def crosses(self, next_ms: int, period_ms: int) -> bool:
        """Return whether a whole multiple of a period may lie between a part of ``parts`` and the row that follows."""
        return bool((self._edge - self._step) // period_ms != next_ms // period_ms)

    def pass_time(self, now_ms: int) -> int | None:
        """Return the time at which the examples are to be answered, if that is over at ``now_ms``."""
        due = self.due_ms
        if due == NEVER or now_ms < due:
            return None
        self._edge = self._renewed = NEVER
        return due

    def add_reference(
        self, columns: Sequence[list[Any]]
    ) -> tuple[list[list[Any]], list[tuple[str, dict[str, Any], Any]]]:
        """Take the rows of a reference table, and return all others, and what is refused: reason, row and label."""
        kinds, keys, _, _, _, labels, *features = columns
        refused: list[tuple[str, dict[str, Any], Any]] = []
        first = self._sets["reference"]
        for at in [at for at, kind in enumerate(kinds) if kind == REFERENCE]:
            values = [column[at] for column in features]
            missing = [what for what, value in (("label", labels[at]), ("model key", keys[at])) if value is None]
            if missing:
                reason = f"a row of the reference table has no {' and no '.join(missing)}."
                refused.append((reason, dict(zip(self._names, values, strict=True)), labels[at]))
                continue
            text = _OF_TABLE + json.dumps([keys[at], labels[at], *values], ensure_ascii=False)
            mark = zlib.crc32(text.encode("utf-8", "surrogatepass"))
            entry = (mark, [keys[at], text, labels[at], _NO_FIRST, *values])
            place = bisect_left(first, (mark, text), key=lambda known: (known[0], known[1][1]))
            if place == len(first) or first[place][1][1] != text:
                first.insert(place, entry)
                del first[self._size :]
        chosen = [kind != REFERENCE for kind in kinds]
        return [list(compress(column, chosen)) for column in columns], refused

    def add(self, columns: Sequence[list[Any]], learns: Sequence[bool]) -> bool:
        """Take rows whose label is learned, by kind of row, and return whether one was kept."""
        kinds, keys, ids, _, _, labels, *features = columns
        first, sample = self._sets["reference"], self._sets["reservoir"]
        kept = False
        for at, kind in enumerate(kinds):
            if not learns[kind] or labels[at] is None or keys[at] is None or ids[at] is None:
                continue
            mark = zlib.crc32(ids[at].encode("utf-8", "surrogatepass"))
            early = not self._given and len(first) < self._size
            if not early and len(sample) >= self._size and mark >= sample[-1][0]:
                continue
            example = [keys[at], ids[at], labels[at], _NO_FIRST, *(column[at] for column in features)]
            if early:
                first.append((mark, example))
            insort(sample, (mark, [*example]), key=lambda entry: (entry[0], entry[1][1]))
            del sample[self._size :]
            kept = True
        return kept

    def answered(self, score: Callable[[str, dict[str, Any]], Score | None], shard: str = "") -> str:
        """Answer all examples, and return the answers as text for ``OldPerformance``.

        Parameters
        ----------
        score : callable
            Model key and row to the answer of the model as it is; None where there is none.
        shard : str
            Whose examples they are, and how many shards there are: ``3/16``.
        """
        found: dict[str, Any] = {"shard": shard}
        for name, entries in self._sets.items():
            rows: list[list[float]] = []
            found[name] = rows
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
        head = pack_columns([("integer", [self._edge]), ("integer", [self._renewed])], 1)
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
        # The first version answered at regular times alone.
        self._edge, self._renewed = [*(times[0] for times in unpack_columns(data[5 : 5 + length])[1]), NEVER][:2]
        _, columns = unpack_columns(data[5 + length :])
        if len(columns) != len(self._kinds) + 2:
            return
        for name, mark, *example in zip(*columns, strict=True):
            # What a stream gave before a table was declared does not stay beside its rows, nor the other way round.
            if name == "reference" and example[1].startswith(_OF_TABLE) != self._given:
                continue
            if len(self._sets[name]) < self._size:
                self._sets[name].append((mark, example))
