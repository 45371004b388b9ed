"""From a block of labelled answers to the columns that the evaluation reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.evaluation import CORRECTED, NOTE, WITHDRAWN
from thalweg.udfs.logic.ranked_metrics import half_reciprocal

__all__ = ["OUTCOME_ORDER", "as_numbers", "outcome_columns", "outcome_kinds"]

_KINDS = ("integer", "string", "integer", "integer", "number", "string", "string", "string")

OUTCOME_ORDER = (3, (0, 1))
"""Where a row has its time, and what decides between rows of one time: kind, then event id."""


def outcome_kinds(slices: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the kinds of a block's columns.

    They are kind, event id, event ms, row ms, score, class, probabilities as JSON, truth; and with slices their values
    as a JSON array.
    """
    return (*_KINDS, "string") if slices else _KINDS


def outcome_columns(spec: EngineSpec, columns: Sequence[list[Any]], default: str | None = None) -> list[Any]:
    """Return the columns of ``Evaluator.on_rows`` from those of labelled answers, each a list or an array.

    Parameters
    ----------
    spec : EngineSpec
        Its task and output say how a truth is read.
    columns : sequence of lists
        Of the kinds of ``outcome_kinds``; the truth is text as Flink's CAST to STRING gives it.
    default : str, optional
        The label of events that got none in time. A label that corrects it becomes two rows: one takes the default
        back, one has the label.
    """
    if default is not None and CORRECTED in columns[0]:
        columns = _with_withdrawn(columns, default)
    kinds, _, events_ms, rows_ms, scores, predicted, details, truths, *slices = columns
    read = _reader(spec)
    if read is _boolean:
        numbers = _booleans(scores, predicted, truths)
    else:
        rows = [
            read(score, label, detail, truth)
            for score, label, detail, truth in zip(scores, predicted, details, truths, strict=True)
        ]
        numbers = list(map(list, zip(*rows, strict=True))) if rows else [[], [], [], []]
    texts = [predicted, truths] if read is _class else [[], []]
    fixed = [kinds, events_ms, rows_ms, *numbers, *texts, *(slices or [[]])]
    notes = [text if kind == NOTE else None for kind, text in zip(kinds, details, strict=True)] if NOTE in kinds else []
    return [*fixed, np.array(scores, dtype=np.float64), notes]


def _with_withdrawn(columns: Sequence[list[Any]], default: str) -> list[list[Any]]:
    rows: list[tuple[Any, ...]] = []
    for row in zip(*columns, strict=True):
        if row[0] == CORRECTED:
            rows.append((WITHDRAWN, *row[1:7], default, *row[8:]))
        rows.append(row)
    return list(map(list, zip(*rows, strict=True)))


def as_numbers(
    spec: EngineSpec, score: float | None, label: str | None, detail: str | None, truth: str | None
) -> tuple[float, float, float, float]:
    """Return score, truth, right and p_true of one answer, as ``metrics.losses`` takes them."""
    return _reader(spec)(score, label, detail, truth)


def _reader(spec: EngineSpec) -> Callable[[float | None, str | None, str | None, str | None], _Values]:
    if spec.output.kind == "boolean":
        return _boolean
    return _class if spec.task == "classification" else _number


_Values = tuple[float, float, float, float]
_NOTHING = (math.nan, 0.0, 0.0, 0.0)


def _boolean(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    if score is None or truth is None:
        return _NOTHING
    positive = truth.lower() == "true"
    return score, float(positive), float(label == ("true" if positive else "false")), score if positive else 1.0 - score


_CLASSES = {"true": 1.0, "false": 0.0}


def _booleans(scores: list[Any], labels: list[Any], truths: list[Any]) -> list[Any]:
    """Return what ``_boolean`` says of each row, for a whole block: most models are asked yes or no."""
    score = np.array(scores, dtype=np.float64)  # None is NaN
    meant = {text: None if text is None else float(text.lower() == "true") for text in set(truths)}
    truth = np.array([meant[text] for text in truths], dtype=np.float64)
    known = np.isfinite(truth) & ~np.isnan(score)
    given = np.array([_CLASSES.get(label, -1.0) for label in labels], dtype=np.float64)
    truth = np.where(known, truth, 0.0)
    p_true = np.where(known, np.where(truth > 0.5, score, 1.0 - score), 0.0)
    return [np.where(known, score, np.nan), truth, known * (given == truth) * 1.0, p_true]


def _class(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    if score is None or truth is None:
        return _NOTHING
    given, right = (score, 1.0) if label == truth else (0.0, 0.0)
    if detail is not None:
        probabilities = json.loads(detail)
        given = probabilities.get(truth, 0.0)
        right = right or half_reciprocal(probabilities, truth)
    return score, 0.0, right, given


def _number(score: float | None, label: str | None, detail: str | None, truth: str | None) -> _Values:
    try:
        number = math.nan if truth is None else float(truth)
    except ValueError:
        number = math.nan
    if score is None or not math.isfinite(number):
        return _NOTHING
    return score, number, 0.0, 0.0
