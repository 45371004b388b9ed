"""Finds the newest snapshot of some keys of one model, in a topic that may hold those of millions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from thalweg.connector.errors import SignatureError, SnapshotError, WireError
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import MAX_SNAPSHOT_BYTES, Parts, Snapshot, assemble, record_key
from thalweg.connector.snapshot_places import Place, Places
from thalweg.connector.wire import decode

__all__ = ["Log", "SnapshotIndex"]

_log = logging.getLogger(__name__)
_ROUNDS = 5  # how often a snapshot may be replaced while it is being read


class Log(Protocol):
    """What the index reads: a ``TopicLog``, or a fake in a test. Records are kafka-python's."""

    def new(self) -> Iterator[Any]:
        """Yield what has come since the last call."""
        ...

    def at(self, places: Mapping[int, Sequence[int]]) -> Iterator[Any]:
        """Yield the records at offsets of partitions; those that are gone are left out."""
        ...

    def all(self) -> Iterator[Any]:
        """Yield everything that is there."""
        ...


class SnapshotIndex:
    """An index of the snapshots of one model: only places are kept, and a model is read when it is asked for.

    Parameters
    ----------
    log : Log
        The topic; read once, in whole, at the start.
    model : str
        Name of the model.
    report : callable, optional
        Takes one sentence about each snapshot that was passed over; by default it is logged as a warning.
    max_snapshot_bytes : int
        Largest blob to accept, in bytes.
    trust : Trust, optional
        Whose signatures are believed; what others have sent is passed over.

    Attributes
    ----------
    refused : dict of str to str
        Keys of which something was passed over because of its signature, and why; whoever tells of them empties it.

    Raises
    ------
    SetupError
        The broker cannot be used, or fell silent. So do all methods: a key that has a snapshot is never told as one
        that has none.
    """

    def __init__(
        self,
        log: Log,
        model: str,
        *,
        report: Callable[[str], None] = _log.warning,
        max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES,
        trust: Trust | None = None,
    ) -> None:
        self._log, self._model, self._report, self._limit = log, model, report, max_snapshot_bytes
        self._trust = trust
        self.refused: dict[str, str] = {}
        self._head = record_key(model, "").encode()
        self._places = Places()
        self.update()

    def __len__(self) -> int:
        """Return how many records have their place in the index: one per key, more of a snapshot of many parts."""
        return len(self._places)

    def update(self) -> None:
        """Take in what has been published since the last time."""
        for raw in self._log.new():
            key = _record_key(raw)
            if key is None or not key.startswith(self._head):
                continue
            if raw.value is None:
                self._places.remove(key)
            else:
                self._places.put(key, raw.partition, raw.offset)

    def find(self, keys: Iterable[str]) -> dict[str, Snapshot]:
        """Return the newest whole snapshot of each of some model keys; a key without one is left out.

        A snapshot that is damaged or not whole is reported, and passed over for an older one where the topic has it.
        """
        found: dict[str, Snapshot] = {}
        asked = list(dict.fromkeys(keys))
        strange: list[str] = []
        for _ in range(_ROUNDS):
            places = {key: place for key in asked if (place := self._places.get(self._name(key))) is not None}
            if not places:
                break
            whole, broken = self._read(places)
            found |= whole
            strange += broken
            asked = [key for key in places if key not in whole and key not in broken]
            if not asked:
                break
            self.update()  # compaction has removed what a newer one has replaced
        else:
            strange += asked
        return found | (self._search(strange) if strange else {})

    def _name(self, key: str) -> bytes:
        return record_key(self._model, key).encode()

    def _read(self, places: Mapping[str, Place]) -> tuple[dict[str, Snapshot], list[str]]:
        """Return the snapshots at some places, and the keys whose record is not what it should be."""
        keys = {place: key for key, place in places.items()}
        whole: dict[str, Snapshot] = {}
        strange = [] if len(keys) == len(places) else [key for key, place in places.items() if keys[place] != key]
        heads: dict[str, Mapping[str, Any]] = {}
        for raw in self._records(keys):
            key = keys[Place(raw.partition, raw.offset)]
            record = _decoded(raw)
            if record is None or (record["model"], record["key"]) != (self._model, key):
                strange.append(key)
            elif record["chunks"] > 1:
                heads[key] = record
            else:
                self._assembled(key, [record], whole, strange)
        for key, record in heads.items():
            self._assembled(key, [record, *self._parts(key, record)], whole, strange)
        return whole, strange

    def _parts(self, key: str, head: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the parts before the last one of a snapshot; which of two slots they are in, only they tell."""
        if head["chunks"] > self._limit:  # a record that claims more parts than bytes is hostile
            return
        wanted = [self._name(key) + f"/{slot}-{at}".encode() for slot in (0, 1) for at in range(head["chunks"] - 1)]
        places = [place for name in wanted if (place := self._places.get(name)) is not None]
        for raw in self._records(places):
            record = _decoded(raw)
            if record is not None and record["sha256"] == head["sha256"] and record["version"] == head["version"]:
                yield record

    def _assembled(
        self, key: str, records: Sequence[Mapping[str, Any]], whole: dict[str, Snapshot], strange: list[str]
    ) -> None:
        try:
            whole[key] = assemble(records, max_snapshot_bytes=self._limit, trust=self._trust)
        except SnapshotError as error:
            if isinstance(error, SignatureError):
                self.refused[key] = str(error)
            strange.append(key)

    def _records(self, places: Iterable[Place]) -> Iterator[Any]:
        wanted: dict[int, list[int]] = {}
        for partition, offset in places:
            wanted.setdefault(partition, []).append(offset)
        return self._log.at(wanted)

    def _search(self, keys: Sequence[str]) -> dict[str, Snapshot]:
        """Read the whole topic for keys whose newest record is damaged, not whole, or has another key of one hash.

        This is slow, and rare.
        """
        names = set(keys)
        found: dict[str, tuple[int, Snapshot]] = {}
        collected = Parts()
        for raw in self._log.all():
            record = None if raw.value is None else _decoded(raw)
            if record is None or record["model"] != self._model or record["key"] not in names:
                continue
            parts = collected.add(record, raw)
            if not parts:
                continue
            try:
                each = (part for part, _ in parts.values())
                snapshot = assemble(each, max_snapshot_bytes=self._limit, trust=self._trust)
            except SnapshotError as error:
                if isinstance(error, SignatureError):
                    self.refused[record["key"]] = str(error)
                self._report(f"A snapshot is passed over: {error}")
                continue
            last = parts[record["chunks"] - 1][1].offset
            if record["key"] not in found or last > found[record["key"]][0]:
                found[record["key"]] = (last, snapshot)
        for key in sorted(names - set(found)):
            self._report(f"Snapshot of model '{self._model}', key '{key}': no whole one is there; it begins anew.")
        return {key: snapshot for key, (_, snapshot) in found.items()}


def _record_key(raw: Any) -> bytes | None:
    """Return the key that compaction goes by; of a record that was sent without one, the key that it should have."""
    if raw.key is not None:
        return bytes(raw.key)
    record = None if raw.value is None else _decoded(raw)
    return None if record is None else str(record["snapshot_key"]).encode()


def _decoded(raw: Any) -> Mapping[str, Any] | None:
    try:
        return decode("snapshot", raw.value)
    except WireError:
        return None
