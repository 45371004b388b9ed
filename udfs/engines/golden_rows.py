"""Rows that travel with a model, and the answers to them: each runtime shows that it gives the same before it serves.

A runtime can load a model and yet answer wrongly: onnxruntime 1.26.0 mispredicts random forests
(https://github.com/microsoft/onnxruntime/issues/28557). So whoever publishes a model may add some rows. What the
runtime there answers is held against what the training library predicts, then stored; each worker is held against what
is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_call import Batch, LoadedModel
from thalweg.udfs.engines.onnx_reference import SESSION_OPTIONS, ModelReference, parse_reference

__all__ = ["TOLERANCE", "check_golden", "record_golden"]

TOLERANCE = 1e-4
"""How far a number may be from the one it should be: this much, and of a number above 1 this share of it."""

MAX_BYTES = 100_000
"""How much the rows and their answers may take as JSON: every message of a large model carries them."""

# What may be said of how the answers are read; how a session runs is each worker's own affair.
_READING = ("on-null", "default-number", "default-text", "task", "positive", "output")
_RUNTIME = f"onnxruntime {onnxruntime.__version__}"


class _Answers(NamedTuple):
    """Labels and numbers of some rows; None where the model gives none."""

    labels: list[Any] | None
    numbers: list[Any] | None

    @classmethod
    def of(cls, batch: Batch) -> _Answers:
        gives = {what: all(part.gives(what) for _, part in batch.parts) for what in ("labels", "vectors")}
        labels = batch.labels() if gives["labels"] else None
        numbers = batch.vectors() if gives["vectors"] else None
        short = [None if row is None else [float(f"{value:.9g}") for value in row] for row in numbers or ()]
        return cls(labels, short if numbers is not None else None)

    def unlike(self, wanted: _Answers, at: int, tolerance: float) -> str | None:
        """Say how the answer to a row is not the wanted one, or nothing."""
        if wanted.numbers is not None:
            found, should = None if self.numbers is None else self.numbers[at], wanted.numbers[at]
            if found is None or not _close(found, should, tolerance):
                return f"{_shown(found)} instead of {_shown(should)}"
            if _tied(should, tolerance):
                return None
        if wanted.labels is not None:
            label = None if self.labels is None else self.labels[at]
            if label != wanted.labels[at]:
                return f"'{label}' instead of '{wanted.labels[at]}'"
        return None


def record_golden(
    data: bytes,
    reference: ModelReference,
    columns: Sequence[Any],
    count: int,
    *,
    scores: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Return rows and this runtime's answers to them, fit for JSON.

    Parameters
    ----------
    data : bytes
        The model.
    reference : ModelReference
        Names it, with the options by which its answers are read; those are stored with the answers.
    columns : sequence of ndarray
        The rows, a column per feature: numbers, or objects of texts and None.
    count : int
        Number of rows.
    scores, labels : sequence, optional
        What the training library predicts for the rows.
    tolerance : float
        As ``TOLERANCE``.

    Raises
    ------
    ConfigError
        A row has no answer, an answer is not the expected one, or it is too much to send along.
    """
    where = reference.where
    batch = _load(data, None, reference, len(columns)).run(columns, count)
    found = _Answers.of(batch)
    scored = None if scores is None else [[value] for value in batch.scores().tolist()]
    if batch.faults:
        at = min(batch.faults)
        what = f"golden row {at + 1} has no answer ({batch.faults[at]})."
        raise ConfigError([Problem(where, what, "Give rows that the model answers.")])
    remedy = "Check the conversion of the model, and the order and the types of the columns."
    if scores is not None:
        wanted = _Answers(None, [[value] for value in scores])
        _hold(_Answers(None, scored), wanted, count, tolerance, (where, "its training library", remedy))
    if labels is not None:
        kept = [
            have if found.numbers is not None and _tied(found.numbers[at], tolerance) else label
            for at, (have, label) in enumerate(zip(batch.labels(), labels, strict=True))
        ]
        _hold(found, _Answers(kept, None), count, tolerance, (where, "its training library", remedy))
    golden = {
        "columns": [
            [None if value is None or value != value else value for value in part.tolist()] for part in columns
        ],
        "labels": found.labels,
        "numbers": found.numbers,
        "options": _reading(reference.text.partition("?")[2]),
        "runtime": _RUNTIME,
        "tolerance": tolerance,
    }
    if (size := len(json.dumps(golden))) > MAX_BYTES:
        what = f"its golden rows take {size} bytes with their answers, and {MAX_BYTES} are the most."
        raise ConfigError([Problem(where, what, "Give fewer rows.")])
    return golden


def check_golden(golden: Mapping[str, Any], data: bytes, folder: str | None, reference: ModelReference) -> None:
    """Raise ConfigError unless this runtime answers the rows as it is stored with the model.

    Parameters
    ----------
    golden : mapping
        From ``record_golden``, by way of a topic: not trusted. If it is empty, nothing is checked.
    data, folder
        The model, as ``LoadedModel`` takes it.
    reference : ModelReference
        How the worker names it; the session runs as it does for the calls.
    """
    if not golden:
        return
    try:
        columns, count, wanted, tolerance = _read(golden)
        by = f"{str(golden['runtime'])[:40]} where it was published"
        options = parse_reference(f"golden?{_reading(golden['options'])}").options
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
        what = f"its golden rows cannot be read ({error!s:.200})."
        raise ConfigError([Problem(reference.where, what, "Publish it again.")]) from None
    ours = {name: reference.options[name] for name in SESSION_OPTIONS}
    model = _load(data, folder, reference._replace(options={**options, **ours}), len(columns))
    found = _Answers.of(model.run(columns, count))
    remedy = f"Run another release of onnxruntime on the workers than theirs ({_RUNTIME}), or publish it from theirs."
    _hold(found, wanted, count, tolerance, (reference.where, by, remedy))


def _load(data: bytes, folder: str | None, reference: ModelReference, features: int) -> LoadedModel:
    return LoadedModel(reference, data, folder, (False,) * features)


def _hold(found: _Answers, wanted: _Answers, count: int, tolerance: float, said: tuple[str, str, str]) -> None:
    """Raise ConfigError if rows are answered otherwise; ``said``: who answers, whose answer is right, the remedy."""
    unlike = [(at + 1, text) for at in range(count) if (text := found.unlike(wanted, at, tolerance)) is not None]
    if unlike:
        where, by, remedy = said
        first = f"row {unlike[0][0]}: {unlike[0][1]}"
        what = f"{_RUNTIME} answers {len(unlike)} of {count} golden rows otherwise than {by} ({first})."
        raise ConfigError([Problem(where, what, remedy)])


def _read(golden: Mapping[str, Any]) -> tuple[list[Any], int, _Answers, float]:
    """Return columns, count of rows, answers and tolerance; raises where they are not what was recorded."""
    columns = [_column(values) for values in golden["columns"]]
    labels, numbers, tolerance = golden["labels"], golden["numbers"], float(golden["tolerance"])
    count = len(columns[0]) if columns else 0
    if not count or any(len(part) != count for part in (*columns, *(p for p in (labels, numbers) if p is not None))):
        raise ValueError("its columns and answers are not equally long")
    if (labels is None and numbers is None) or not 0 <= tolerance < float("inf"):
        raise ValueError("there is no answer in it, or no tolerance")
    numbers = None if numbers is None else [[float(value) for value in row] for row in numbers]
    return columns, count, _Answers(None if labels is None else list(map(str, labels)), numbers), tolerance


def _column(values: Sequence[Any]) -> Any:
    if not all(value is None or type(value) in (float, int, str, bool) for value in values):
        raise ValueError("a value is neither a number nor a text")
    if all(value is None or type(value) is not str for value in values):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array([*values, None], dtype=object)[:-1]


def _reading(options: str) -> str:
    return "&".join(part for part in options.split("&") if part.partition("=")[0] in _READING)


def _close(found: Sequence[float], wanted: Sequence[float], tolerance: float) -> bool:
    return len(found) == len(wanted) and all(
        abs(have - should) <= tolerance * max(1.0, abs(should)) for have, should in zip(found, wanted, strict=True)
    )


def _tied(row: Sequence[float], tolerance: float) -> bool:
    """Return whether a change within the tolerance can change the label: two best alike, or a decision on its edge."""
    best = sorted(row)[-2:]
    alike = len(best) == 2 and best[1] - best[0] <= 2 * tolerance
    return alike or any(abs(value - 0.5) <= tolerance for value in row) or (len(row) == 1 and abs(row[0]) <= tolerance)


def _shown(row: Sequence[float] | None) -> str:
    if row is None:
        return "no answer"
    text = ", ".join(f"{value:.6g}" for value in row[:5])
    return text if len(row) == 1 else f"[{text}{', ...' if len(row) > 5 else ''}]"
