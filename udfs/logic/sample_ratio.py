"""Whether units come to be measured in the shares in which they were dealt: else no comparison can be trusted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.logic.sequential_tests import mismatch_evidence

__all__ = ["SampleRatio"]

_BITS = 1 << 16
_ALPHA = 0.001  # the usual level of such a check: it is to be believed when it speaks
_LEAST = 100


class SampleRatio:
    """Counts units, each once, by their arm, since the shares changed last.

    A unit with many events must not count often, and not every unit can be remembered: a unit counts when it is the
    first one of its 65,536 places. Which place it has, has nothing to do with its arm, so shares stay what they are.

    Parameters
    ----------
    arms : int
        How many.
    """

    def __init__(self, arms: int) -> None:
        self.sums: dict[str, Any] = {"units": np.zeros(arms)}
        self.seen = np.zeros(_BITS, dtype=np.bool_)

    def add(self, keys: Any, arms: Any) -> None:
        """Take units with an outcome that the answer of their arm can be measured by.

        Parameters
        ----------
        keys : array of uint64, shape (n,)
            Of the units.
        arms : array of int, shape (n,)
            Their arms.
        """
        place = ((keys >> np.uint64(8)) & np.uint64(_BITS - 1)).astype(np.int64)
        fresh = ~self.seen[place]
        places, first = np.unique(place[fresh], return_index=True)
        self.seen[places] = True
        self.sums["units"] += np.bincount(arms[fresh][first], minlength=len(self.sums["units"]))

    def restart(self) -> None:
        """Begin anew: other shares hold."""
        self.sums["units"][:] = 0
        self.seen[:] = False

    def mismatch(self, shares: list[float]) -> tuple[bool, float, str]:
        """Return whether there is one, the e-value (at most 1e300), and the counts for people."""
        counts = self.sums["units"]
        dealt = [arm for arm, share in enumerate(shares) if share > 0]
        total = sum(shares)
        evidence = mismatch_evidence([int(counts[arm]) for arm in dealt], [shares[arm] / total for arm in dealt])
        told = ", ".join(f"{counts[arm] / max(counts.sum(), 1):.2%} for {shares[arm] / total:.2%}" for arm in dealt)
        found = len(dealt) > 1 and counts.sum() >= _LEAST and evidence >= math.log(1 / _ALPHA)
        return bool(found), math.exp(min(evidence, 690.0)), told
