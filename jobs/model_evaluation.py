"""How good a model file is on a file of labelled rows: what ``thalweg models publish --evaluate`` measures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_outputs import positive_class
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.logic.metrics import losses, roc_auc

__all__ = ["evaluate_file"]


def evaluate_file(data: bytes, rows: Path, label: str, where: str) -> dict[str, float]:
    """Return ``auc``, ``log-loss`` and ``samples`` of a model of two classes on labelled rows.

    Parameters
    ----------
    data : bytes
        The model.
    rows : Path
        A CSV file with a header: the features in the order of the model's inputs, and the label anywhere among them.
        An empty field is NULL; a row that the model does not answer is not counted.
    label : str
        The column with the truth.
    where : str
        Names the model in errors.

    Raises
    ------
    ConfigError
        No such column, labels of other than two classes, no row that the model answers, or a model that gives no score.
    """
    try:
        with rows.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            [Problem(f"file {rows}", f"cannot be read ({error}).", "Give a CSV file in UTF-8.")]
        ) from None
    names = list(lines[0]) if lines else []
    if label not in names:
        has = f"It has: {', '.join(names) or 'no rows'}."
        raise ConfigError([Problem(f"file {rows}", f"there is no column '{label}'.", f"{has} Name it by --label.")])
    classes = sorted({line[label] for line in lines})
    if len(classes) != 2:
        what = f"column '{label}' has {len(classes)} classes, and AUC and log loss need two."
        raise ConfigError([Problem(f"file {rows}", what, "Give rows of both classes.")])
    columns = [_column([line[name] for line in lines]) for name in names if name != label]
    model = LoadedModel(parse_reference("m"), data, None, (False,) * len(columns))
    scores = model.run(columns, len(lines)).scores()
    positive = positive_class(classes)
    truth = np.array([line[label] == positive for line in lines])
    answered = np.isfinite(scores)
    score, event = scores[answered], truth[answered]
    auc = roc_auc(score, event)
    if auc is None:
        what = f"it answers {len(score)} of {len(lines)} rows, and not both classes are among them."
        raise ConfigError([Problem(where, what, "Check the order and the types of the columns.")])
    given = np.where(event, score, 1 - score)
    loss = losses("LogLoss", score, event.astype(np.float64), (score > 0.5) == event, given)
    return {"auc": float(auc), "log-loss": float(loss.mean()), "samples": float(len(score))}


def _column(texts: list[str]) -> np.ndarray:
    """Return a column of numbers, or of texts where one of them is no number; an empty field is NULL."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array([text or None for text in texts] + [None], dtype=object)[:-1]
