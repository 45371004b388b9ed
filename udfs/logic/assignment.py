"""Who is in which arm: sticky, salted, the same in every process, and as few moves as there can be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_hash import text_keys

__all__ = ["SLOTS", "counts_of", "keys_of", "moved", "slots_of"]

SLOTS = 10_000
"""Units fall into so many slots, and a slot belongs to one arm: shares are whole multiples of 0.01 percent."""


@lru_cache(maxsize=64)
def _salts(salt: str) -> Any:
    digest = hashlib.sha256(b"thalweg comparison " + salt.encode("utf-8", "surrogatepass")).digest()[:16]
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def keys_of(units: Sequence[str | None], salt: str) -> Any:
    """Return 64 bits for each unit, shape (n,): SipHash-2-4 of the unit, keyed with the salt.

    Units that are NULL are as the empty text: one unit.
    """
    return text_keys([unit or "" for unit in units], _salts(salt))


def slots_of(keys: Any) -> Any:
    """Return the slot of each unit, shape (n,), 0 to ``SLOTS`` - 1, given its key.

    Examples
    --------
    >>> slots_of(keys_of(["ann", "bob", "ann"], "delay_policy")).tolist()
    [2183, 9597, 2183]
    """
    # The upper bits times the number of slots: even to 2**-32, and no division.
    return (((keys >> np.uint64(32)) * np.uint64(SLOTS)) >> np.uint64(32)).astype(np.int64)


def counts_of(shares: Sequence[float]) -> list[int]:
    """Return how many slots each arm has, given its percent; the first arm has what is left.

    Raises
    ------
    ValueError
        The others have a negative share, or more than 100 percent together.

    Examples
    --------
    >>> counts_of([0, 20, 10])
    [7000, 2000, 1000]
    """
    others = [round(share * SLOTS / 100) for share in shares[1:]]
    if any(count < 0 for count in others) or sum(others) > SLOTS:
        raise ValueError(f"shares {list(shares[1:])} are not between 0 and 100 percent together.")
    return [SLOTS - sum(others), *others]


def moved(table: Any, counts: Sequence[int]) -> Any:
    """Return the table of slots in which each arm has ``counts`` slots, with the fewest slots that change hands.

    An arm that shrinks gives its last slots, one that grows takes the first of those that are free, in the order of
    the arms. So an arm that only loses to nobody keeps all its units: a new candidate takes from those alone whose
    count shrinks, which is the default.

    Parameters
    ----------
    table : array of int, shape (SLOTS,)
        Arm of each slot; -1, nobody's.
    counts : sequence of int
        Of each arm; they sum to ``SLOTS``.

    Examples
    --------
    >>> table = moved(np.full(SLOTS, -1), [8000, 2000])
    >>> wider = moved(table, [7000, 2000, 1000])
    >>> sorted(set(zip(table.tolist(), wider.tolist())))
    [(0, 0), (0, 2), (1, 1)]
    """
    out = np.array(table, dtype=np.int64)
    for arm, count in enumerate(counts):
        own = np.flatnonzero(out == arm)
        out[own[count:]] = -1
    free, taken = np.flatnonzero(out < 0), 0
    for arm, count in enumerate(counts):
        lacking = count - int((out == arm).sum())
        out[free[taken : taken + lacking]] = arm
        taken += lacking
    return out
