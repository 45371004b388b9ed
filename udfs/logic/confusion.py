"""Metrics of decisions: River's, from counts of (truth, prediction) instead of row by row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite

from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.model_text import ModelText
from thalweg.udfs.logic.live_state import named_part

__all__ = ["OF_CLASSES", "OF_EVENTS", "by_decisions", "decided"]

OF_EVENTS = ("F1", "FBeta", "Jaccard", "MCC", "Precision", "Recall")
"""Names of River's metrics that know one class as the event."""

OF_CLASSES = (
    "AdjustedRand", "BalancedAccuracy", "CohenKappa", "Completeness", "FowlkesMallows", "GeometricMean", "Homogeneity",
    "MacroF1", "MacroFBeta", "MacroJaccard", "MacroPrecision", "MacroRecall", "MicroF1", "MicroFBeta", "MicroJaccard",
    "MicroPrecision", "MicroRecall", "MutualInfo", "Rand", "VBeta", "WeightedF1", "WeightedFBeta", "WeightedJaccard",
    "WeightedPrecision", "WeightedRecall",
)  # fmt: skip
"""Names of River's metrics that treat all classes alike."""

_MODULES = dict.fromkeys((*OF_EVENTS, *OF_CLASSES), "metrics")


@lru_cache(maxsize=256)
def _read(name: str) -> ModelText | None:
    if name.partition("(")[0].strip() not in _MODULES:
        return None
    try:
        return named_part("metrics", "metric", name, _MODULES)[1]
    except ConfigError:
        return None


def by_decisions(name: str) -> bool:
    """Return whether a metric, with its options if it has some, needs only truth and prediction.

    Examples
    --------
    >>> by_decisions("F1"), by_decisions("FBeta(beta=2)"), by_decisions("FBeta(gamma=2)"), by_decisions("LogLoss")
    (True, True, False, False)
    """
    return _read(name) is not None


def decided(name: str, counts: Mapping[tuple[bool | str, bool | str], float]) -> float | None:
    """Return a metric of counted pairs; None where it has no finite value.

    Parameters
    ----------
    name : str
        For which ``by_decisions`` is true.
    counts : mapping
        How often, or with what weight, a truth met a prediction.

    Examples
    --------
    >>> round(decided("F1", {(True, True): 3, (True, False): 1, (False, True): 2}), 4)
    0.6667
    """
    text = _read(name)
    pairs = {pair: count for pair, count in sorted(counts.items()) if count > 0}
    if text is None or not pairs:
        return None
    metric = text.construct()
    for (truth, predicted), count in pairs.items():
        metric.update(truth, predicted, count)
    # River counts one sample per call, whatever its weight.
    metric.cm.n_samples = sum(pairs.values())
    try:
        found = metric.get()
    except ArithmeticError:
        return None
    return float(found) if found is not None and isfinite(found) else None
