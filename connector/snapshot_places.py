"""Where records lie in a topic, by their keys, for millions of keys in little memory."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

__all__ = ["Place", "Places"]

_FEW = 4096  # places that wait to be merged into the arrays: at least so many, at most this share of all
_SHARE = 64
_GONE = -1


class Place(NamedTuple):
    """Partition and offset of a record."""

    partition: int
    offset: int


class Places:
    """A map from record key to the place of the newest record of that key.

    Keys are kept as hashes of 64 bits, in sorted arrays: 20 bytes per key, whatever its length. Two keys of one hash
    share a place, so whoever reads the record has to look at its key; among a million keys that is one in 37 million.

    Examples
    --------
    >>> places = Places()
    >>> places.put(b"delay/UA", 0, 17)
    >>> places.get(b"delay/UA"), places.get(b"delay/AA")
    (Place(partition=0, offset=17), None)
    """

    def __init__(self) -> None:
        self._hashes = np.empty(0, np.uint64)
        self._partitions = np.empty(0, np.int32)
        self._offsets = np.empty(0, np.int64)
        self._fresh: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        self._merge()
        return len(self._hashes)

    def put(self, key: bytes, partition: int, offset: int) -> None:
        """Set the place of a key."""
        self._fresh[_hash(key)] = (partition, offset)
        if len(self._fresh) > max(_FEW, len(self._hashes) // _SHARE):
            self._merge()

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        self.put(key, 0, _GONE)

    def get(self, key: bytes) -> Place | None:
        """Return the place of a key; None where it has none."""
        hashed = _hash(key)
        fresh = self._fresh.get(hashed)
        if fresh is not None:
            return None if fresh[1] == _GONE else Place(*fresh)
        at = int(np.searchsorted(self._hashes, np.uint64(hashed)))
        if at == len(self._hashes) or self._hashes[at] != hashed:
            return None
        return Place(int(self._partitions[at]), int(self._offsets[at]))

    def _merge(self) -> None:
        """Bring the fresh places into the arrays."""
        if not self._fresh:
            return
        hashes = np.fromiter(self._fresh, np.uint64, len(self._fresh))
        order = np.argsort(hashes)
        hashes = hashes[order]
        partitions = np.fromiter((place[0] for place in self._fresh.values()), np.int32, len(hashes))[order]
        offsets = np.fromiter((place[1] for place in self._fresh.values()), np.int64, len(hashes))[order]
        self._fresh.clear()
        at = np.searchsorted(self._hashes, hashes)
        known = np.zeros(len(hashes), bool)
        inside = at < len(self._hashes)
        known[inside] = self._hashes[at[inside]] == hashes[inside]
        self._partitions[at[known]], self._offsets[at[known]] = partitions[known], offsets[known]
        new = ~known
        self._hashes = np.insert(self._hashes, at[new], hashes[new])
        self._partitions = np.insert(self._partitions, at[new], partitions[new])
        self._offsets = np.insert(self._offsets, at[new], offsets[new])
        if (offsets == _GONE).any():
            kept = self._offsets != _GONE
            self._hashes, self._partitions = self._hashes[kept], self._partitions[kept]
            self._offsets = self._offsets[kept]


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
