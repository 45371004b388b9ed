"""Nodes as 64-bit keys: the same in every process, on every machine and after a restore, and salted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["mix", "salts_of", "text_key", "text_keys"]

Keys = NDArray[np.uint64]

_REMEMBERED = 64  # characters: the memory of hashes is bounded in entries, so each must be


def salts_of(seed: int, count: int) -> Keys:
    """Return ``count`` salts of 64 bits that follow from ``seed``."""
    stream = hashlib.shake_256(b"thalweg midas " + str(seed).encode()).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)


@compiled
def mix(x: Any) -> Any:
    """Return 64 bits of which each depends on all of ``x``; different for different ``x``.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _turned(x: Any, by: int) -> Any:
    return (x << np.uint64(by)) | (x >> np.uint64(64 - by))


@compiled
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v1 = _turned(v1, 13) ^ v0
    v0 = _turned(v0, 32)
    v2 += v3
    v3 = _turned(v3, 16) ^ v2
    v0 += v3
    v3 = _turned(v3, 21) ^ v0
    v2 += v1
    v1 = _turned(v1, 17) ^ v2
    v2 = _turned(v2, 32)
    return v0, v1, v2, v3


@compiled
def _siphash(data: Any, ends: Any, salts: Any, keys: Any) -> None:
    """Write SipHash-2-4 of each piece of ``data`` into ``keys``; piece i ends before ``ends[i]``."""
    begin = 0
    for at in range(len(keys)):
        length = ends[at] - begin
        v0 = salts[0] ^ np.uint64(0x736F6D6570736575)
        v1 = salts[1] ^ np.uint64(0x646F72616E646F6D)
        v2 = salts[0] ^ np.uint64(0x6C7967656E657261)
        v3 = salts[1] ^ np.uint64(0x7465646279746573)
        # Whole words, then one with what is left over and the length, then the end.
        whole = length >> 3
        for step in range(whole + 2):
            word, rounds = np.uint64(0), 2
            if step <= whole:
                for place in range(8 if step < whole else length & 7):
                    word |= np.uint64(data[begin + 8 * step + place]) << np.uint64(8 * place)
                if step == whole:
                    word |= np.uint64(length & 255) << np.uint64(56)
                v3 ^= word
            else:
                v2 ^= np.uint64(255)
                rounds = 4
            for _ in range(rounds):
                v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0 ^= word
        keys[at] = v0 ^ v1 ^ v2 ^ v3
        begin = ends[at]


def text_keys(texts: Sequence[str], salts: Keys) -> Keys:
    """Return a key for each text: SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012) of its UTF-8.

    Parameters
    ----------
    texts : sequence of str
        Nodes by name. Lone surrogates are hashed as they are.
    salts : array of uint64, shape (2,)
        The key of the hash: who does not know it cannot make texts collide.

    Examples
    --------
    >>> text_keys(["ab", "ba", "ab"], salts_of(1, 2)).tolist()
    [14199537045427719674, 10379052668960814448, 14199537045427719674]
    """
    keys = np.empty(len(texts), np.uint64)
    joined = "".join(texts)
    if joined.isascii():
        data, lengths = joined.encode("ascii"), map(len, texts)
    else:
        pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
        data, lengths = b"".join(pieces), map(len, pieces)
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(texts)))
    _siphash(np.frombuffer(data, np.uint8), ends, salts, keys)
    return keys


def text_key(text: str, salts: tuple[int, int]) -> int:
    """Return the key that ``text_keys`` gives to one text; those that come again and again are looked up."""
    return _remembered(text, salts) if len(text) <= _REMEMBERED else _computed(text, salts)


def _computed(text: str, salts: tuple[int, int]) -> int:
    return int(text_keys([text], np.array(salts, np.uint64))[0])


_remembered = lru_cache(maxsize=1 << 16)(_computed)
