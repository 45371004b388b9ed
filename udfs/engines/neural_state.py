"""The bytes of a network that learns: a head, what its codec learned, weights and optimiser, rows that wait."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.connector.errors import SnapshotError

__all__ = ["PROTOCOL", "Parts", "join", "pack_rows", "split", "unpack_rows"]

PROTOCOL = 1
# protocol, checksum of all that follows, what the snapshot must agree with, rows learned, lengths of codec and weights
_HEAD = struct.Struct(">BI8sQII")
_CHECKED_FROM = 5


class Parts(NamedTuple):
    """What a snapshot holds.

    Attributes
    ----------
    learned : int
        Rows learned.
    codec, weights, rows : memoryview
        Each in its own form.
    """

    learned: int
    codec: memoryview
    weights: memoryview
    rows: memoryview


def join(digest: bytes, learned: int, codec: bytes, weights: bytes, rows: bytes) -> bytes:
    """Return a snapshot as bytes, the same for the same state."""
    rest = _HEAD.pack(PROTOCOL, 0, digest, learned, len(codec), len(weights))[_CHECKED_FROM:] + codec + weights + rows
    return struct.pack(">BI", PROTOCOL, zlib.crc32(rest)) + rest


def split(blob: bytes, digest: bytes) -> Parts:
    """Return the parts of a snapshot.

    Raises
    ------
    SnapshotError
        Damaged, of another protocol, or of another model.
    """
    if blob[:1] != bytes([PROTOCOL]):
        found = blob[0] if blob else "nothing"
        raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {PROTOCOL}.")
    if len(blob) < _HEAD.size:
        raise SnapshotError("the snapshot is damaged: it ends too early.")
    _, check, whose, learned, first, second = _HEAD.unpack_from(blob)
    if zlib.crc32(blob[_CHECKED_FROM:]) != check:
        raise SnapshotError("the snapshot is damaged: its checksum does not fit.")
    if whose != digest:
        what = (
            "the snapshot was learned with another network, other features, another output, optimiser or trainable part"
        )
        raise SnapshotError(f"{what}; to begin anew, give the model another name.")
    rest = memoryview(blob)[_HEAD.size :]
    if first + second > len(rest):
        raise SnapshotError("the snapshot is damaged: its parts are longer than it is.")
    return Parts(learned, rest[:first], rest[first : first + second], rest[first + second :])


def pack_rows(rows: Sequence[tuple[dict[str, Any], Any]]) -> bytes:
    """Return rows that wait for the next step, as what the network is fed and should give."""
    if not rows:
        return b""
    plain = [[{name: part.tolist() for name, part in feeds.items()}, target.tolist()] for feeds, target in rows]
    return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()


def unpack_rows(blob: memoryview, like: dict[str, Any], width: int) -> list[tuple[dict[str, Any], Any]]:
    """Return what ``pack_rows`` wrote.

    Parameters
    ----------
    blob : memoryview
        The bytes.
    like : dict of str to ndarray
        One row as the network is fed it: names, types and sizes.
    width : int
        Numbers per row that the network should give.

    Raises
    ------
    ValueError
        They are not rows of this network.
    """
    rows = []
    for feeds, target in json.loads(bytes(blob)) if len(blob) else ():
        found = {name: np.array(feeds[name], part.dtype).reshape(part.shape) for name, part in like.items()}
        truth = np.array(target, np.float32)
        if truth.shape != (1, width) or len(feeds) != len(like):
            raise ValueError("a row that waits is not one of this network")
        rows.append((found, truth))
    return rows
