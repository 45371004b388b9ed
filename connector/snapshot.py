"""The versioned envelope of a model on its way through Kafka: cut to fit, and checked before anyone builds from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.connector.errors import SnapshotError
from thalweg.connector.signing import Trust, join_signature
from thalweg.connector.snapshot_signature import check_snapshot
from thalweg.connector.wire import encode

__all__ = [
    "MAX_SNAPSHOT_BYTES",
    "NO_WATERMARK",
    "PROTOCOL",
    "Parts",
    "Snapshot",
    "assemble",
    "is_manifest",
    "record_key",
    "split",
]

PROTOCOL = 1
"""Version of the envelope; a reader refuses any other."""

MAX_SNAPSHOT_BYTES = 64 * 2**20
"""Default limit of a blob, in bytes."""

NO_WATERMARK = -(2**63)
"""``watermark_ms`` of an operator that has seen no watermark."""

_LENGTH = 5  # bytes that Avro takes at most for the length of a blob below 2 GiB
_SHARED = ("model", "key", "kind", "spec", "protocol", "version", "event_time_ms", "watermark_ms", "source_offsets")


@dataclass(frozen=True)
class Snapshot:
    """A whole model at one point of its life.

    Parameters
    ----------
    model, key : str
        Name of the model and canonical text of its key; the key of the shared model is empty.
    kind : str
        Engine that can restore the blob.
    spec : str
        EngineSpec as JSON.
    version : int
        Count of examples learned.
    event_time_ms : int
        Time of the last event learned, epoch ms.
    blob : bytes
        What the engine dumped.
    watermark_ms : int
        Watermark at the dump, epoch ms; ``NO_WATERMARK`` if none.
    source_offsets : str
        Position in the source as JSON text, empty if unknown.
    metrics : dict of str to float
        Measures at the dump; finite.
    writer : str
        Versions that wrote the blob.
    protocol : int
        Version of the envelope.
    signature : str
        Of ``sign_snapshot``; empty, nobody vouches for it.
    """

    model: str
    key: str
    kind: str
    spec: str
    version: int
    event_time_ms: int
    blob: bytes = field(repr=False)
    watermark_ms: int = NO_WATERMARK
    source_offsets: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    writer: str = ""
    protocol: int = PROTOCOL
    signature: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 of the blob, lower-case hexadecimal."""
        return hashlib.sha256(self.blob).hexdigest()

    @property
    def size(self) -> int:
        """Size of the blob in bytes."""
        return len(self.blob)


def split(
    snapshot: Snapshot, max_bytes: int = 900_000, *, slot: int = 0, max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES
) -> list[dict[str, Any]]:
    """Return the records that carry a snapshot, in the order to send them: the manifest last.

    Parameters
    ----------
    snapshot : Snapshot
        The model.
    max_bytes : int
        No encoded record is longer. The default leaves room below the broker's default limit of 1 MiB.
    slot : int
        0 or 1; alternate it from one snapshot of a model key to the next. The parts before the manifest have the slot
        in their key, so that compaction keeps the parts of the snapshot whose manifest is the newest while the next
        one is still being sent. A snapshot of one record needs no slot.
    max_snapshot_bytes : int
        Largest blob, in bytes.

    Returns
    -------
    list of dict
        Records of the schema ``snapshot``. Send them all with the Kafka key ``snapshot_key``.

    Raises
    ------
    SnapshotError
        The blob or what describes it is too large, or a field does not fit the schema.

    Examples
    --------
    >>> parts = split(Snapshot("delay", "UA", "river", "{}", 7, 0, bytes(2500)), max_bytes=1500, slot=1)
    >>> [(part["snapshot_key"], len(part["blob"])) for part in parts]
    [('delay/UA/1-0', 1366), ('delay/UA', 1134)]
    >>> assemble(parts).version
    7
    """
    name = _name(snapshot.model, snapshot.key)
    if slot not in (0, 1):
        raise SnapshotError(f"{name}: the slot is {slot}; it alternates between 0 and 1.")
    if snapshot.size > max_snapshot_bytes:
        raise SnapshotError(_too_large(name, snapshot.size, max_snapshot_bytes))
    manifest_key = record_key(snapshot.model, snapshot.key)
    shared = {
        **{part: getattr(snapshot, part) for part in _SHARED},
        "metrics": dict(snapshot.metrics),
        "sha256": snapshot.sha256,
        "size": snapshot.size,
        "writer": join_signature(snapshot.writer, snapshot.signature),
    }
    widest = {**shared, "snapshot_key": f"{manifest_key}/0-{snapshot.size}", "chunk": 2**31 - 1, "chunks": 2**31 - 1}
    room = max_bytes - len(encode("snapshot", {**widest, "blob": b""})) - _LENGTH
    if room < max_bytes // 2:
        raise SnapshotError(
            f"{name}: what describes the model leaves {max(room, 0)} of {max_bytes} bytes of a record for the model. "
            "Raise the limit of a record together with the topic's max.message.bytes, or shorten the model text."
        )
    parts = [snapshot.blob[start : start + room] for start in range(0, snapshot.size, room)] or [b""]
    last = len(parts) - 1
    return [
        {
            **shared,
            "snapshot_key": manifest_key if number == last else f"{manifest_key}/{slot}-{number}",
            "chunk": number,
            "chunks": len(parts),
            "blob": part,
        }
        for number, part in enumerate(parts)
    ]


class Parts:
    """Snapshot records as they come from a topic, each kept until the last one of its snapshot is there.

    Attributes
    ----------
    waiting : dict
        Parts of snapshots that are not whole, with where each came from, by (model, key, version, sha256, chunks) and
        number.
    """

    def __init__(self) -> None:
        self.waiting: dict[tuple[Any, ...], dict[int, tuple[Mapping[str, Any], Any]]] = {}

    def add(self, record: Mapping[str, Any], origin: Any = None) -> dict[int, tuple[Mapping[str, Any], Any]]:
        """Return all parts of the record's snapshot, for ``assemble``, if none is missing any more; else nothing."""
        group = tuple(record[part] for part in ("model", "key", "version", "sha256", "chunks"))
        parts = self.waiting.setdefault(group, {})
        parts[record["chunk"]] = (record, origin)
        # Parts may lie in other partitions than their manifest and then come after it.
        return {} if len(parts) < record["chunks"] else self.waiting.pop(group)


def is_manifest(record: Mapping[str, Any]) -> bool:
    """Tell whether a snapshot record is the last part, the one that completes its snapshot."""
    return bool(record["chunk"] == record["chunks"] - 1)


def assemble(
    records: Iterable[Mapping[str, Any]],
    *,
    max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES,
    trust: Trust | None = None,
) -> Snapshot:
    """Return the snapshot that records carry, or nothing at all: never half of one.

    Parameters
    ----------
    records : iterable of mapping
        Decoded records of the schema ``snapshot``, of one snapshot, in any order; a record may come twice.
    max_snapshot_bytes : int
        Largest blob to accept, in bytes.
    trust : Trust, optional
        Whose signatures are believed; without it none is looked at.

    Raises
    ------
    SignatureError
        ``trust`` refuses it; nothing that it carries has been parsed.
    SnapshotError
        Names the model, the key and what is wrong: a part missing, parts of different snapshots, an unknown
        protocol, a size or a checksum that differs, a spec that is not JSON, a blob above the limit.
    """
    parts: dict[int, Mapping[str, Any]] = {}
    first: Mapping[str, Any] | None = None
    for record in records:
        first = first or record
        name = _name(first["model"], first["key"])
        if any(record[part] != first[part] for part in (*_SHARED, "metrics", "chunks", "sha256", "size", "writer")):
            raise SnapshotError(f"{name}: the records are parts of different snapshots.")
        known = parts.setdefault(record["chunk"], record)
        if known["blob"] != record["blob"]:
            raise SnapshotError(f"{name}: part {record['chunk']} is there twice, with different bytes.")
    if first is None:
        raise SnapshotError("There is no record to make a snapshot of.")
    _check_claims(first, max_snapshot_bytes)
    name = _name(first["model"], first["key"])
    # Counted, not listed: a hostile record may claim two thousand million parts.
    if len(parts) != first["chunks"] or min(parts) != 0 or max(parts) != first["chunks"] - 1:
        raise SnapshotError(f"{name}: {len(parts)} of {first['chunks']} parts are there.")
    blob = b"".join(parts[number]["blob"] for number in range(len(parts)))
    if len(blob) != first["size"]:
        raise SnapshotError(f"{name}: the blob has {len(blob)} bytes and not {first['size']} as it should.")
    if hashlib.sha256(blob).hexdigest() != first["sha256"]:
        raise SnapshotError(f"{name}: the blob does not have the checksum that it was sent with.")
    writer, signature = check_snapshot(first, trust, name)
    _check_spec(first["spec"], name)
    fields = {part: first[part] for part in _SHARED}
    return Snapshot(**fields, metrics=dict(first["metrics"]), writer=writer, blob=blob, signature=signature)


def record_key(model: str, key: str) -> str:
    """Return the ``snapshot_key`` of the last record of a model key's snapshots; those of other parts begin with it.

    Examples
    --------
    >>> record_key("delay", "B/%")
    'delay/B%2F%25'
    """
    return f"{_escape(model)}/{_escape(key)}"


def _check_claims(record: Mapping[str, Any], limit: int) -> None:
    """Check what a record says of its snapshot, before its blob is touched."""
    name = _name(record["model"], record["key"])
    if record["protocol"] != PROTOCOL:
        raise SnapshotError(
            f"{name}: the envelope has protocol {record['protocol']}, this version reads {PROTOCOL}. "
            f"It was written by '{record['writer'][:80]}': read it with that version."
        )
    if record["size"] > limit:
        raise SnapshotError(_too_large(name, record["size"], limit))
    if record["size"] < 0 or record["chunks"] < 1 or record["version"] < 0:
        raise SnapshotError(f"{name}: its size, version or count of parts is negative.")


def _check_spec(spec: str, name: str) -> None:
    try:
        parsed = json.loads(spec)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"{name}: its spec is not JSON.") from error
    if not isinstance(parsed, dict):
        raise SnapshotError(f"{name}: its spec is not a JSON object.")


def _too_large(name: str, size: int, limit: int) -> str:
    return (
        f"{name}: the blob has {size} bytes, the limit is {limit}. "
        "Make the model smaller (fewer trees, a bound on its vocabulary), or raise 'max-snapshot-bytes'."
    )


def _name(model: str, key: str) -> str:
    return f"Snapshot of model '{model}', key '{key}'"


def _escape(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")
