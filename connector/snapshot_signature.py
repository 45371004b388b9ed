"""Snapshots that somebody vouches for: what a signature of one stands for, how it is made, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thalweg.connector.keys import Key
from thalweg.connector.signing import Trust, part_signature, sign
from thalweg.connector.wire import encode

if TYPE_CHECKING:
    from thalweg.connector.snapshot import Snapshot

__all__ = ["check_snapshot", "sign_snapshot"]

_PURPOSE = "snapshot"
_FIELDS = (
    "model", "key", "kind", "spec", "protocol", "version", "event_time_ms", "watermark_ms", "source_offsets", "sha256",
    "size",
)  # fmt: skip


def sign_snapshot(snapshot: Snapshot, key: Key) -> Snapshot:
    """Return a snapshot with the signature of a key in place of any other.

    It stands for every field, model, key and version among them, and for the blob by its checksum; not for how the blob
    is cut into records.

    Raises
    ------
    WireError
        A field does not fit the schema.

    Examples
    --------
    >>> from thalweg.connector.keys import generate_key
    >>> from thalweg.connector.snapshot import Snapshot, assemble, split
    >>> key = generate_key("ed25519", "ci")
    >>> made = sign_snapshot(Snapshot("delay", "UA", "river", "{}", 7, 0, b"model", writer="me"), key)
    >>> assemble(split(made), trust=Trust([key.public()], required=True)) == made
    True
    """
    record = {name: getattr(snapshot, name) for name in _FIELDS} | {"metrics": snapshot.metrics}
    return replace(snapshot, signature=sign(key, _PURPOSE, _content(record, snapshot.writer)))


def check_snapshot(record: Mapping[str, Any], trust: Trust | None, name: str) -> tuple[str, str]:
    """Return who wrote a snapshot, and its signature.

    Parameters
    ----------
    record : mapping
        One of the snapshot's records, of whose blob the checksum has been found right.
    trust : Trust or None
        Whose signatures are believed; None, none is looked at.
    name : str
        Names the snapshot in an error.

    Raises
    ------
    SignatureError
        ``trust`` refuses it.
    """
    writer, signature = part_signature(record["writer"])
    if trust is not None:
        trust.check(_PURPOSE, _content(record, writer), signature, name)
    return writer, signature


def _content(record: Mapping[str, Any], writer: str) -> bytes:
    """Return what is signed: the record that would carry the whole snapshot, with the checksum in place of the blob."""
    # A map has no order, and each sink writes it in its own.
    metrics = dict(sorted(record["metrics"].items()))
    told = {name: record[name] for name in _FIELDS} | {"metrics": metrics, "writer": writer}
    return encode("snapshot", told | {"snapshot_key": record["model"], "chunk": 0, "chunks": 1, "blob": b""})
