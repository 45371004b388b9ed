"""A model file on a file of rows: what ``thalweg models publish --evaluate`` measures and ``--golden`` records."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.golden_rows import record_golden
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_outputs import positive_class
from thalweg.udfs.engines.onnx_reference import ModelReference
from thalweg.udfs.logic.metrics import losses, roc_auc

__all__ = ["evaluate_file", "golden_from_file"]


def evaluate_file(data: bytes, reference: ModelReference, rows: Path, label: str) -> dict[str, float]:
    """Return ``auc``, ``log-loss`` and ``samples`` of a model of two classes on labelled rows.

    Parameters
    ----------
    data : bytes
        The model.
    reference : ModelReference
        Names the model, with the options by which its answers are read.
    rows : Path
        A CSV file with a header: the features in the order of the model's inputs, and the label anywhere among them.
        An empty field is NULL; a row that the model does not answer is not counted.
    label : str
        The column with the truth.

    Raises
    ------
    ConfigError
        No such column, labels of other than two classes, no row that the model answers, or a model that gives no score.
    """
    lines, names = _lines(rows)
    _check_columns(rows, names, {"--label": label})
    classes = sorted({line[label] for line in lines})
    if len(classes) != 2:
        what = f"column '{label}' has {len(classes)} classes, and AUC and log loss need two."
        raise ConfigError([Problem(f"file {rows}", what, "Give rows of both classes.")])
    columns = [_column([line[name] for line in lines]) for name in names if name != label]
    model = LoadedModel(reference, data, None, (False,) * len(columns))
    scores = model.run(columns, len(lines)).scores()
    positive = positive_class(classes)
    truth = np.array([line[label] == positive for line in lines])
    answered = np.isfinite(scores)
    score, event = scores[answered], truth[answered]
    auc = roc_auc(score, event)
    if auc is None:
        what = f"it answers {len(score)} of {len(lines)} rows, and not both classes are among them."
        raise ConfigError([Problem(reference.where, what, "Check the order and the types of the columns.")])
    given = np.where(event, score, 1 - score)
    loss = losses("LogLoss", score, event.astype(np.float64), (score > 0.5) == event, given)
    return {"auc": float(auc), "log-loss": float(loss.mean()), "samples": float(len(score))}


def golden_from_file(
    data: bytes,
    reference: ModelReference,
    rows: Path,
    limit: int,
    *,
    score: str | None,
    label: str | None,
    tolerance: float,
) -> dict[str, Any]:
    """Return golden rows of a CSV file, as ``golden_rows.record_golden`` does, spread evenly over the file.

    Parameters
    ----------
    data, reference
        The model, as for ``evaluate_file``.
    rows : Path
        A CSV file with a header: the features in the order of the model's inputs, and what is expected among them.
    limit : int
        How many rows to take at most.
    score, label : str or None
        The columns with the score and the label that the training library predicts.
    tolerance : float
        How far a number may be from the one it should be.

    Raises
    ------
    ConfigError
        There are no rows or no such column, a row has no answer, or an answer is not the expected one.
    """
    lines, names = _lines(rows)
    expected = {"--golden-score": score, "--golden-label": label}
    _check_columns(rows, names, {option: name for option, name in expected.items() if name is not None})
    lines = [lines[at * len(lines) // limit] for at in range(limit)] if len(lines) > limit else lines
    columns = [_column([line[name] for line in lines]) for name in names if name not in (score, label)]
    scores = None if score is None else _column([line[score] for line in lines])
    if scores is not None and (scores.dtype == object or not np.isfinite(scores).all()):
        what = f"column '{score}' holds a score that is no number."
        raise ConfigError([Problem(f"file {rows}", what, "Give a number in each row.")])
    return record_golden(
        data,
        reference,
        columns,
        len(lines),
        scores=None if scores is None else scores.tolist(),
        labels=None if label is None else [line[label] for line in lines],
        tolerance=tolerance,
    )


def _lines(rows: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of a CSV file by column, and the columns."""
    try:
        with rows.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            [Problem(f"file {rows}", f"cannot be read ({error}).", "Give a CSV file in UTF-8.")]
        ) from None
    return lines, [name for name in lines[0] if name is not None] if lines else []


def _check_columns(rows: Path, names: list[str], wanted: dict[str, str]) -> None:
    has = f"It has: {', '.join(names) or 'no rows'}."
    problems = [
        Problem(f"file {rows}", f"there is no column '{name}'.", f"{has} Name it by {option}.")
        for option, name in wanted.items()
        if name not in names
    ]
    if not names:
        problems = [Problem(f"file {rows}", "there are no rows in it.", "Give a header and rows.")]
    if problems:
        raise ConfigError(problems)


def _column(texts: list[str]) -> np.ndarray:
    """Return a column of numbers, or of texts where one of them is no number; an empty field is NULL."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array([text or None for text in texts] + [None], dtype=object)[:-1]
