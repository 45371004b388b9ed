"""What a model's outputs mean when nobody declared a task: read once from the first answers, then by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_graph import Graph
from thalweg.udfs.engines.onnx_outputs import NOT_FINITE, is_share, positive_class, share_table, text_of

__all__ = ["Answers", "Reading", "read_outputs"]


class Reading(NamedTuple):
    """How the outputs of a model are read.

    Attributes
    ----------
    kind : str
        ``classes``: a probability per class; ``many``: several labels per row, a probability each; ``number``: one
        number; ``outlier``: a detector's label and value; ``vector``: some numbers; ``label``: a label alone.
    label, value : str or None
        The outputs behind it.
    classes : tuple of str
        Names of the classes, where they are known before a row is scored.
    positive : str
        The class that the score of a model of two classes speaks of.
    where : str
        Names the model in errors.
    """

    kind: str
    label: str | None
    value: str | None
    classes: tuple[str, ...]
    positive: str
    where: str

    @property
    def names(self) -> list[str]:
        """The outputs to ask for."""
        return [name for name in (self.label, self.value) if name is not None]

    def answers(self, raw: Sequence[Any], count: int) -> Answers:
        """Return what the model gave for ``count`` rows.

        Raises
        ------
        ValueError
            The model did not give one answer per row.
        """
        found = dict(zip(self.names, raw, strict=True))
        label = None if self.label is None else np.asarray(found[self.label])
        classes, table = self.classes, None
        if self.value is not None:
            given = found[self.value]
            if isinstance(given, list) and given and isinstance(given[0], dict):
                classes, table = share_table(given)
            elif isinstance(given, list):
                table = np.stack([np.asarray(part, np.float64)[:, -1] for part in given], axis=1)
            else:
                table = np.asarray(given, dtype=np.float64).reshape(len(given), -1)
            if self.kind == "classes" and table.shape[1] == 1:
                table = np.concatenate([1 - table, table], axis=1)
        for part in (label, table):
            if part is not None and len(part) != count:
                raise ValueError(f"it gave {len(part)} answers for {count} rows")
        return Answers(self, label, table, classes)


class Answers:
    """What a model gave for some rows; each method gives one value per row and notes the rows without an answer.

    Parameters
    ----------
    reading : Reading
        What the outputs mean.
    label : ndarray or None
        The model's labels.
    table : ndarray or None
        Its numbers, [rows, width].
    classes : sequence of str
        Whose probabilities the columns of ``table`` are.
    """

    def __init__(self, reading: Reading, label: Any, table: Any, classes: Sequence[str]) -> None:
        self._reading, self._label, self._table, self._classes = reading, label, table, tuple(classes)

    def scores(self, faults: dict[int, str]) -> Any:
        """Return one number per row, [rows], NaN where there is none.

        The probability of the positive class of two, of the predicted class of more; the number; of a detector, how
        strange the row is: higher is stranger.

        Raises
        ------
        ConfigError
            The model does not give one number per row.
        """
        kind = self._reading.kind
        if kind == "number":
            return self._finite(self._table[:, 0].copy(), faults)
        if kind == "outlier":
            return self._finite(-self._table[:, 0], faults)
        if kind == "label" and self._label.dtype.kind in "iub":
            return self._label.reshape(-1).astype(np.float64)
        if kind != "classes":
            raise self._reading_problem("one number", "onnx_vector or onnx_label")
        shares = self._shares(faults)
        if len(self._classes) == 2:
            return shares[:, self._classes.index(self._reading.positive or positive_class(self._classes))]
        return np.take_along_axis(shares, self._best()[:, None], axis=1)[:, 0]

    def labels(self) -> list[str]:
        """Return the predicted class of each row; of a model of several labels, those that hold, between commas."""
        kind = self._reading.kind
        if kind == "many":
            names = [str(at) for at in range(self._label.shape[1])]
            return [",".join(name for name, on in zip(names, row, strict=True) if on) for row in self._label.tolist()]
        if self._label is not None:
            return [text_of(item) for item in self._label.reshape(-1).tolist()]
        if kind != "classes":
            raise self._reading_problem("a label", "onnx_score or onnx_vector")
        return [self._classes[at] for at in self._best().tolist()]

    def vectors(self, faults: dict[int, str]) -> list[list[float]]:
        """Return the numbers of each row as the model gives them; a detector's with the sign of its score."""
        if self._table is None:
            raise self._reading_problem("numbers", "onnx_label")
        table = -self._table if self._reading.kind == "outlier" else self._table
        for at in np.flatnonzero(~np.isfinite(table).all(axis=1)).tolist():
            faults[at] = NOT_FINITE
        rows: list[list[float]] = table.tolist()
        return rows

    def probabilities(self, faults: dict[int, str]) -> list[dict[str, float]]:
        """Return the probability of each class, by its name."""
        if self._reading.kind not in ("classes", "many") or self._table is None:
            raise self._reading_problem("probabilities", "onnx_score, onnx_label or onnx_vector")
        classes = self._classes or tuple(str(at) for at in range(self._table.shape[1]))
        return [dict(zip(classes, row, strict=True)) for row in self._shares(faults).tolist()]

    def gives(self, what: str) -> bool:
        """Return whether the model gives ``scores``, ``labels``, ``vectors`` or ``probabilities``."""
        kind = self._reading.kind
        if what == "vectors":
            return self._table is not None
        if what == "scores":
            return kind in ("classes", "number", "outlier") or (kind == "label" and self._label.dtype.kind in "iub")
        if what == "labels":
            return self._label is not None or kind == "classes"
        return kind in ("classes", "many") and self._table is not None

    def _best(self) -> Any:
        if self._label is not None:
            places = {name: at for at, name in enumerate(self._classes)}
            return np.array([places[text_of(item)] for item in self._label.reshape(-1).tolist()])
        return np.where(np.isfinite(self._table), self._table, -1.0).argmax(axis=1)

    def _shares(self, faults: dict[int, str]) -> Any:
        fine = is_share(self._table)
        if fine.all():
            return self._table.clip(0.0, 1.0)
        for at in np.flatnonzero(~fine.all(axis=1)).tolist():
            finite = np.isfinite(self._table[at]).all()
            faults[at] = "the model's answers are no probabilities: onnx_vector has them" if finite else NOT_FINITE
        return np.where(fine, self._table.clip(0.0, 1.0), np.nan)

    def _finite(self, numbers: Any, faults: dict[int, str]) -> Any:
        for at in np.flatnonzero(~np.isfinite(numbers)).tolist():
            faults[at], numbers[at] = NOT_FINITE, np.nan
        return numbers

    def _reading_problem(self, what: str, instead: str) -> ConfigError:
        reading = self._reading
        shown = ", ".join(reading.names)
        remedy = f"Use {instead}, or name the outputs with ?output=, or say ?task=classification."
        return ConfigError([Problem(reading.where, f"does not give {what} per row (its outputs: {shown}).", remedy)])


def read_outputs(
    names: Sequence[str], raw: Sequence[Any], graph: Graph, options: dict[str, Any], where: str
) -> Reading:
    """Say what the outputs of a model mean, from the answers it gave for some rows.

    Parameters
    ----------
    names : sequence of str
        The outputs, in the order of ``raw``.
    raw : sequence of array or list
        What the runtime gave.
    graph : Graph
        Where class names are read.
    options : dict
        ``task`` and ``positive`` of the model's reference.
    where : str
        Names the model in errors.

    Raises
    ------
    ConfigError
        There are outputs of which nobody said which one to use.
    """
    shapes = {name: _shape(part) for name, part in zip(names, raw, strict=True)}
    labels = [name for name, (family, _) in shapes.items() if family == "label"]
    values = [name for name, (family, _) in shapes.items() if family in ("number", "maps", "parts")]
    task = options["task"]
    if not values and labels and task in ("regression", "vector"):
        labels, values = [], labels
    if len(labels) > 1 or len(values) > 1 or not labels + values:
        shown = ", ".join(f"{name} ({family})" for name, (family, _) in shapes.items()) or "none"
        what = f"has several outputs that an answer could be read from: {shown}."
        raise ConfigError([Problem(where, what, "Name those to use: ?output=name or ?output=label,probabilities.")])
    label, value = (part[0] if part else None for part in (labels, values))
    width = 0 if value is None else shapes[value][1]
    kind, classes = _kind(task, shapes, label, value, width, graph)
    positive = options["positive"]
    if positive and (kind != "classes" or (classes and positive not in classes)):
        known = f"Its classes: {', '.join(classes)}." if kind == "classes" else "Remove it."
        raise ConfigError([Problem(f"{where}, option 'positive'", f"the model has no class '{positive}'.", known)])
    return Reading(kind, label, value, classes, positive, where)


def _kind(
    task: str, shapes: dict[str, tuple[str, int]], label: str | None, value: str | None, width: int, graph: Graph
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of answer, and the class names where they are known."""
    if value is None or (label is not None and shapes[label][1] > 1):
        return ("label" if label is not None and shapes[label][1] == 1 else "many"), ()
    if shapes[value][0] == "maps":
        return "classes", ()
    if shapes[value][0] == "parts":
        return ("many" if label is None or shapes[label][1] > 1 else "vector"), ()
    classes = graph.classes([name for name in (label, value) if name is not None])
    if task == "classification" or (task == "" and len(classes) in (width, 2 * width) and len(classes) > 1):
        fitting = classes if len(classes) == max(width, 2) else tuple(map(str, range(max(width, 2))))
        return "classes", fitting
    if task == "" and label is not None and width > 1 and "prob" in value.lower():
        return "classes", tuple(map(str, range(width)))
    if width > 1 or task == "vector":
        return "vector", ()
    return ("outlier" if label is not None and task in ("", "anomaly") else "number"), ()


def _shape(part: Any) -> tuple[str, int]:
    """Return what an output holds and how many per row."""
    if isinstance(part, list):
        return ("maps", 0) if part and isinstance(part[0], dict) else ("parts", len(part))
    width = int(np.prod(part.shape[1:])) if part.ndim else 0
    if part.ndim == 0 or part.ndim > 2:
        return "other", width
    return ("number" if part.dtype.kind == "f" else "label"), width
