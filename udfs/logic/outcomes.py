"""From a block of labelled answers to the columns that the evaluation reads."""

from __future__ import annotations

import json
import math
from typing import Any

from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.packing import unpack_columns

__all__ = ["OUTCOME_KINDS", "outcome_columns"]

OUTCOME_KINDS = ("integer", "integer", "integer", "number", "string", "string", "string")
"""Kinds of the columns of a block: kind, event ms, row ms, score, predicted class, probabilities as JSON, truth."""


def outcome_columns(spec: EngineSpec, block: bytes) -> list[list[Any]]:
    """Return the columns of ``Evaluator.on_rows`` from a block of labelled answers.

    Parameters
    ----------
    spec : EngineSpec
        Its task and output say how a truth is read.
    block : bytes
        Columns of ``OUTCOME_KINDS``; the truth is text as Flink's CAST to STRING gives it.
    """
    _, (kinds, events_ms, rows_ms, scores, predicted, details, truths) = unpack_columns(block)
    read = _class if spec.task == "classification" else _number
    if spec.output.kind == "boolean":
        read = _boolean
    rows = [
        read(score, label, detail, truth)
        for score, label, detail, truth in zip(scores, predicted, details, truths, strict=True)
    ]
    score, truth_number, right, p_true = map(list, zip(*rows, strict=True))
    return [kinds, events_ms, rows_ms, score, truth_number, right, p_true]


_Values = tuple[float, float, float, float]
_NOTHING = (math.nan, 0.0, 0.0, 0.0)


def _boolean(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    if score is None or truth is None:
        return _NOTHING
    positive = truth.lower() == "true"
    return score, float(positive), float(label == ("true" if positive else "false")), score if positive else 1.0 - score


def _class(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    if score is None or truth is None:
        return _NOTHING
    given = score if label == truth else 0.0
    if detail is not None:
        given = json.loads(detail).get(truth, 0.0)
    return score, 0.0, float(label == truth), given


def _number(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    try:
        number = math.nan if truth is None else float(truth)
    except ValueError:
        number = math.nan
    if score is None or not math.isfinite(number):
        return _NOTHING
    return score, number, 0.0, 0.0
