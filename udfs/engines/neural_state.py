"""The bytes of a network that learns: a head, what its codec learned, weights and optimiser, rows that wait."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.sealed import check_counts, open_sealed, seal

__all__ = ["Parts", "join", "pack_rows", "split", "unpack_rows"]

_HEAD = struct.Struct(">QII")  # rows learned, lengths of codec and weights


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
    return seal(digest, _HEAD.pack(learned, len(codec), len(weights)) + codec + weights + rows)


def split(blob: bytes, digest: bytes) -> Parts:
    """Return the parts of a snapshot.

    Raises
    ------
    SnapshotError
        Damaged, of another protocol, or of another model.
    """
    differs = "another network, other features, another output, optimiser or trainable part"
    content = open_sealed(blob, digest, _HEAD.size, differs)
    learned, first, second = _HEAD.unpack_from(content)
    check_counts(learned)
    rest = content[_HEAD.size :]
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
