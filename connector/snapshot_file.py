"""A snapshot as one file: an Avro container that holds its record of the wire contract, with all parts joined.

Any Avro tool reads it, and nothing in it is trusted: the schema, the record and the blob's checksum are checked before
anyone builds from it. The blob stays the engine's own, which the engine audits in turn.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import fastavro
from thalweg.connector.errors import SnapshotError, WireError
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import MAX_SNAPSHOT_BYTES, Snapshot, assemble, split
from thalweg.connector.wire import decode, encode, schema

__all__ = ["snapshot_from_file", "snapshot_to_file"]

_MAGIC = b"Obj\x01"
_ROOM = 4 * 2**20  # bytes for all that describes a model
_FORM = {"avro.codec": "null"}


def snapshot_to_file(snapshot: Snapshot, *, max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES) -> bytes:
    """Return a snapshot as the bytes of a file, the same bytes for the same snapshot.

    Parameters
    ----------
    snapshot : Snapshot
        The model.
    max_snapshot_bytes : int
        Largest blob, in bytes.

    Raises
    ------
    SnapshotError
        The blob is too large, or a field does not fit the schema.

    Examples
    --------
    >>> made = Snapshot("delay", "UA", "river", "{}", 7, 0, b"model")
    >>> snapshot_from_file(snapshot_to_file(made)) == made
    True
    """
    (record,) = split(snapshot, 2 * (snapshot.size + _ROOM), max_snapshot_bytes=max_snapshot_bytes)
    try:
        encode("snapshot", record)
    except WireError as error:
        raise SnapshotError(f"Snapshot of model '{snapshot.model}': {error}") from error
    stream = io.BytesIO()
    # The marker between blocks is random by default; a file of the same model shall be the same.
    marker = hashlib.sha256(snapshot.sha256.encode()).digest()[:16]
    fastavro.writer(stream, fastavro.parse_schema(schema("snapshot")), [record], codec="null", sync_marker=marker)
    return stream.getvalue()


def snapshot_from_file(
    data: bytes, *, max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES, trust: Trust | None = None
) -> Snapshot:
    """Return the snapshot that ``snapshot_to_file`` wrote.

    Parameters
    ----------
    data : bytes
        The file.
    max_snapshot_bytes : int
        Largest blob to accept, in bytes.
    trust : Trust, optional
        Whose signatures are believed; without it none is looked at.

    Raises
    ------
    SignatureError
        ``trust`` refuses it.
    SnapshotError
        No such file, damaged, of another schema, or too large.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise SnapshotError("The file is no snapshot: it does not begin as an Avro container does.")
    if len(data) > max_snapshot_bytes + _ROOM:
        what = f"The file has {len(data)} bytes, the limit is {max_snapshot_bytes + _ROOM}."
        raise SnapshotError(f"{what} Raise 'max-snapshot-bytes'.")
    record = _only_record(data)
    try:
        records = [decode("snapshot", encode("snapshot", record))]
        return assemble(records, max_snapshot_bytes=max_snapshot_bytes, trust=trust)
    except WireError as error:
        raise SnapshotError(f"The file holds no snapshot: {error}") from error


def _only_record(data: bytes) -> dict[str, Any]:
    """Return the one record of a container that has the schema of a snapshot and is not compressed."""
    try:
        found = fastavro.reader(io.BytesIO(data))
        form = {name: found.metadata.get(name) for name in _FORM}
        same = _canonical(found.writer_schema) == _canonical(schema("snapshot"))
        if form != _FORM or not same:
            raise SnapshotError("The file is an Avro container of something else than snapshots.")
        records = list(found)
    except SnapshotError:
        raise
    except Exception as error:  # a damaged container fails in any way
        raise SnapshotError(f"The file is damaged ({type(error).__name__}: {str(error)[:200]}).") from error
    if len(records) != 1 or not isinstance(records[0], dict):
        raise SnapshotError(f"The file holds {len(records)} records, and a snapshot is one.")
    return records[0]


def _canonical(avro: Any) -> str:
    """Return a schema without what does not change its bytes, such as its documentation."""
    return str(fastavro.schema.to_parsing_canonical_form(avro))
