"""How wrong an answer was."""

from __future__ import annotations

import math
from typing import Any

from thalweg.udfs.engines.base import EngineSpec, Score

__all__ = ["loss_of"]


def loss_of(spec: EngineSpec, score: Score, label: Any) -> float | None:
    """Return the loss of an answer: log loss of two classes, 0 or 1 of more, squared error of a number.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> spec = EngineSpec("river", "regression", "", (), Field("y", "number"))
    >>> loss_of(spec, Score(3.0), 1.0), loss_of(spec, Score(None), 1.0)
    (4.0, None)
    """
    if score.score is None or label is None:
        return None
    if spec.task == "classification":
        if isinstance(label, bool):
            return -math.log(max(score.score if label else 1.0 - score.score, 1e-15))
        return float(score.label != str(label))
    return float(score.score - label) ** 2 if isinstance(label, int | float) else None
