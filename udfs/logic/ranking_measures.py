"""How good one ranking is, held against what came."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["ranking_figures"]


def ranking_figures(ranked: Sequence[str], truth: str) -> dict[str, float]:
    """Return the figures of one answer whose truth is one item; their means over many answers are the metrics.

    Parameters
    ----------
    ranked : sequence of str
        What was recommended, the best first, each once.
    truth : str
        What came.

    Returns
    -------
    dict of str to float
        ``HitRate``: 1 if the truth was recommended, else 0; with one truth that is the recall, too. ``NDCG`` (Järvelin
        and Kekäläinen, 2002): 1 / log2(n + 1) for a truth in place n. ``MRR``: 1 / n.

    Examples
    --------
    >>> ranking_figures(["tea", "milk", "bread"], "bread")
    {'HitRate': 1.0, 'NDCG': 0.5, 'MRR': 0.3333333333333333}
    >>> ranking_figures([], "bread")
    {'HitRate': 0.0, 'NDCG': 0.0, 'MRR': 0.0}
    """
    if truth not in ranked:
        return {"HitRate": 0.0, "NDCG": 0.0, "MRR": 0.0}
    place = list(ranked).index(truth) + 1
    return {"HitRate": 1.0, "NDCG": 1 / math.log2(place + 1), "MRR": 1 / place}
