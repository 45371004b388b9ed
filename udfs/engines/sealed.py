"""The seal around a model's bytes: protocol number, checksum, and what the bytes must agree with."""

from __future__ import annotations

import struct
import zlib

from thalweg.connector.errors import SnapshotError

__all__ = ["check_counts", "inflate", "open_sealed", "seal"]

_PROTOCOL = 1
_HEAD = struct.Struct(">BI8s")  # protocol, checksum of all that follows, what the snapshot must agree with
_CHECKED_FROM = 5
_LARGEST_COUNT = 2**53  # no stream gets there, and beyond it neither 64 bits nor a double can go on


def seal(digest: bytes, content: bytes) -> bytes:
    """Return ``content`` under a seal; ``digest`` has eight bytes that stand for the spec.

    Examples
    --------
    >>> bytes(open_sealed(seal(b"eight by", b"model"), b"eight by", 5, "another one"))
    b'model'
    """
    rest = digest + content
    return struct.pack(">BI", _PROTOCOL, zlib.crc32(rest)) + rest


def open_sealed(blob: bytes, digest: bytes, least: int, differs: str) -> memoryview:
    """Return the content under a seal.

    Parameters
    ----------
    blob : bytes
        What ``seal`` wrote.
    digest : bytes
        What it must agree with.
    least : int
        Bytes that the content has at least.
    differs : str
        What must have been different where it does not agree, for people.

    Raises
    ------
    SnapshotError
        Damaged, of another protocol, or of another model.
    """
    if blob[:1] != bytes([_PROTOCOL]):
        found = blob[0] if blob else "nothing"
        raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {_PROTOCOL}.")
    if len(blob) < _HEAD.size + least:
        raise SnapshotError("the snapshot is damaged: it ends too early.")
    _, check, whose = _HEAD.unpack_from(blob)
    if zlib.crc32(memoryview(blob)[_CHECKED_FROM:]) != check:
        raise SnapshotError("the snapshot is damaged: its checksum does not fit.")
    if whose != digest:
        what = f"the snapshot was learned with {differs}"
        raise SnapshotError(f"{what}; to begin anew, give the model another name.")
    return memoryview(blob)[_HEAD.size :]


def inflate(packed: bytes, size: int) -> bytes:
    """Return what zlib packed, which has ``size`` bytes, above zero; never more than that is unpacked.

    Raises
    ------
    SnapshotError
        Damaged, or of another length.
    """
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size)
        # A stream of the right length has no more to give, and its end has been read: its checksum stands there.
        more = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise SnapshotError(f"the snapshot is damaged ({error}).") from error
    if len(body) != size or more or not stream.eof or stream.unused_data:
        raise SnapshotError("the snapshot is damaged: it is not as long as it says.")
    return body


def check_counts(*counts: int) -> None:
    """Raise SnapshotError for a count that nothing can have been counted to, and from which no engine could go on."""
    if max(counts) >= _LARGEST_COUNT:
        raise SnapshotError("the snapshot is damaged: it holds a count that cannot be.")
