"""The one reader of what comes out of an ONNX model: labels, ZipMaps, probabilities, numbers, outlier scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.connector.errors import Problem
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.engines.onnx_graph import Graph

__all__ = [
    "NOT_FINITE", "Outputs", "is_share", "plan_outputs", "positive_class", "refused", "share_table", "text_of",
]  # fmt: skip

_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)")
_NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_WHOLE = ("tensor(int64)", "tensor(int32)")
_MAPS = "seq(map("
_TRUE = ("true", "1", "yes")
_ALMOST = 1e-4  # softmax and tree sums in float32 leave [0, 1] by less
NOT_FINITE = "the model's answer is not a finite number"
_new = tuple.__new__


class _Node(NamedTuple):
    """One output of the model: its name, and its numbers per row where it says so."""

    name: str
    type: str
    width: int | None


class Outputs:
    """Turns what the model gave for some rows into their Scores.

    Attributes
    ----------
    names : list of str
        The outputs to ask for.
    """

    def __init__(
        self,
        task: str,
        binary: bool,
        label: _Node | None,
        values: _Node | None,
        classes: tuple[str, ...],
        positive: str,
    ) -> None:
        self.names = [node.name for node in (label, values) if node is not None]
        self._task, self._binary, self._label, self._values = task, binary, label, values
        self._classes, self._positive = classes, positive

    def scores(self, raw: Sequence[Any], count: int) -> list[Score]:
        """Return one Score per row.

        Raises
        ------
        ValueError
            The model did not give one answer per row.
        """
        found = dict(zip(self.names, raw, strict=True))
        label = None if self._label is None else np.asarray(found[self._label.name]).reshape(-1)
        values = None if self._values is None else found[self._values.name]
        for part in (label, values):
            if part is not None and len(part) != count:
                raise ValueError(f"it gave {len(part)} answers for {count} rows")
        if self._task == "classification":
            return self._classified(label, values, count)
        if self._task == "clustering" and label is not None:
            return [Score(float(cluster), str(int(cluster))) for cluster in label.tolist()]
        numbers = np.asarray(values, dtype=np.float64).reshape(count, -1)
        if numbers.shape[1] != 1:
            raise ValueError(f"it gave {numbers.shape[1]} numbers for one row")
        flat = numbers[:, 0]
        # scikit-learn's detectors give a label and a decision value that falls as a row gets stranger.
        flat = -flat if self._label is not None else flat
        finite = np.isfinite(flat).tolist()
        return [
            _new(Score, (value, None, None, "ok", "")) if fine else refused(NOT_FINITE)
            for value, fine in zip(flat.tolist(), finite, strict=True)
        ]

    def _classified(self, label: Any, values: Any, count: int) -> list[Score]:
        labels = None if label is None else [text_of(item) for item in label.tolist()]
        if values is None:
            return [self._certain(name) for name in labels or ()]
        if isinstance(values, list):
            classes, shares = share_table(values)
        else:
            shares = np.asarray(values, dtype=np.float64).reshape(count, -1)
            classes = self._classes or tuple(map(str, range(shares.shape[1])))
        if shares.shape[1] == 1:
            return self._events(shares[:, 0], None)
        if shares.shape[1] != len(classes):
            raise ValueError(f"it gave {shares.shape[1]} probabilities; it knows {len(classes)} classes")
        best = np.where(np.isfinite(shares), shares, -1.0).argmax(axis=1).tolist()
        labels = labels or [classes[at] for at in best]
        if self._binary:
            at = classes.index(self._positive_of(classes))
            return self._events(shares[:, at], [name == classes[at] for name in labels])
        fine = is_share(shares).all(axis=1).tolist()
        rows = shares.clip(0.0, 1.0).tolist()
        return [
            self._share(name, dict(zip(classes, row, strict=True))) if ok else refused(_not_a_share(given))
            for name, row, ok, given in zip(labels, rows, fine, shares, strict=True)
        ]

    def _events(self, event: Any, told: list[bool] | None) -> list[Score]:
        fine = is_share(event).tolist()
        told = (event > 0.5).tolist() if told is None else told
        return [
            _new(Score, (value, "true" if yes else "false", None, "ok", "")) if ok else refused(_not_a_share(given))
            for value, yes, ok, given in zip(event.clip(0.0, 1.0).tolist(), told, fine, event, strict=True)
        ]

    def _share(self, name: str, shares: dict[str, float]) -> Score:
        if name not in shares:
            return refused(f"the model's label '{name}' is none of its classes")
        return Score(shares[name], name, shares)

    def _certain(self, name: str) -> Score:
        """Return the Score of a model that gives a label alone: it is as good as certain."""
        if not self._binary:
            return Score(1.0, name, {name: 1.0})
        known = self._classes or (name,)
        yes = name == self._positive_of(known)
        return Score(1.0 if yes else 0.0, "true" if yes else "false")

    def _positive_of(self, classes: Sequence[str]) -> str:
        return self._positive or positive_class(classes)


def refused(reason: str) -> Score:
    """Return the Score of a row without an answer."""
    return Score(None, None, None, "refused", reason)


def positive_class(classes: Sequence[str]) -> str:
    """Return which class is the event: the one called true, 1 or yes, else the last, as in scikit-learn's order.

    Examples
    --------
    >>> positive_class(["ham", "spam"]), positive_class(["True", "False"])
    ('spam', 'True')
    """
    return next((name for name in classes if name.casefold() in _TRUE), classes[-1])


def plan_outputs(declared: Sequence[Any], spec: EngineSpec, graph: Graph, problems: list[Problem]) -> Outputs | None:
    """Say how the model's outputs become Scores; what is wrong goes into ``problems``.

    Parameters
    ----------
    declared : sequence of onnxruntime.NodeArg
        The model's outputs.
    spec : EngineSpec
        Task, output and the options ``output`` and ``positive``.
    graph : Graph
        Where class names are read.
    problems : list of Problem
        Is added to.
    """
    before = len(problems)
    nodes = [_Node(node.name, node.type, _width(node)) for node in declared]
    nodes = _chosen(nodes, spec, problems)
    labels = [node for node in nodes if node.type in _LABELS and node.width in (1, None)]
    values = [node for node in nodes if (node.type in _NUMBERS and node.width != 0) or node.type.startswith(_MAPS)]
    if spec.task == "clustering":
        values = []
    elif spec.task in ("regression", "recommendation") and not values:
        labels, values = [], [node for node in labels if node.type in _WHOLE]
    label, value = (part[0] if len(part) == 1 else None for part in (labels, values))
    remedy = "Name the outputs to use in the option 'output', or export the model for this task."
    if len(labels) > 1 or len(values) > 1 or not _enough(spec.task, label, value):
        shown = ", ".join(f"{node.name} {node.type}" for node in nodes) or "none"
        problems.append(Problem("ONNX model", f"its outputs are not those of one {spec.task}: {shown}.", remedy))
        return None
    classes = graph.classes([node.name for node in (label, value) if node is not None])
    if spec.task == "classification":
        classes = _check_classes(spec, label, value, classes, problems)
    elif value is not None and value.width not in (1, None):
        what = f"gives {value.width} numbers per row, and one is declared."
        problems.append(Problem(f"output '{value.name}' of the model", what, remedy))
    binary = spec.output.kind == "boolean"
    positive = spec.param("positive", "")
    if positive and (spec.task != "classification" or not binary):
        problems.append(Problem("option 'positive'", "is for a BOOLEAN output alone.", "Remove it."))
    elif positive and classes and positive not in classes:
        what = f"'{positive}' is none of the model's classes."
        problems.append(Problem("option 'positive'", what, f"They are: {', '.join(classes)}."))
    if len(problems) > before:
        return None
    return Outputs(spec.task, binary, label, value, classes, positive)


def _chosen(nodes: list[_Node], spec: EngineSpec, problems: list[Problem]) -> list[_Node]:
    wanted = [name.strip() for name in spec.param("output", "").split(",") if name.strip()]
    known = [node.name for node in nodes]
    for name in wanted:
        if name not in known:
            problems.append(
                Problem("option 'output'", f"the model has no output '{name}'.", f"It has: {', '.join(known)}.")
            )
    return [node for node in nodes if not wanted or node.name in wanted]


def _enough(task: str, label: _Node | None, value: _Node | None) -> bool:
    if task == "classification":
        return label is not None or value is not None
    if task == "clustering":
        return label is not None
    usable = value is not None and not value.type.startswith(_MAPS)
    return usable and (label is None or task == "anomaly")


def _check_classes(
    spec: EngineSpec, label: _Node | None, value: _Node | None, classes: tuple[str, ...], problems: list[Problem]
) -> tuple[str, ...]:
    """Hold widths and class names against the declared output; return the names, or nothing where not known."""
    binary, where = spec.output.kind == "boolean", f"output '{spec.output.name}'"
    width = value.width if value is not None else None
    if width == 1 and label is not None:
        what = "the model gives a label and one decision value per row, no probabilities."
        problems.append(Problem(where, what, "Export it with probabilities, or name its label alone in 'output'."))
    elif width == 1 and not binary:
        problems.append(Problem(where, "the model gives one number per row, no classes.", "Declare it BOOLEAN."))
    elif width is not None and width > 1 and classes and width != len(classes):
        classes = ()  # the list belonged to something else upstream
    count = len(classes) or width
    if binary and count is not None and count > 2:
        what = f"is BOOLEAN, and the model has {count} classes."
        problems.append(Problem(where, what, "Declare it STRING, or serve a model of two classes."))
    if binary and value is None and not classes:
        what = "the model gives a label alone and does not say which classes it has."
        problems.append(Problem(where, what, "Declare it STRING, or export the model with probabilities."))
    return classes


def _width(node: Any) -> int | None:
    """Return how many numbers per row an output has; 0 where it is no table of rows."""
    if len(node.shape) == 1:
        return 1
    if len(node.shape) != 2:
        return 0
    return node.shape[1] if isinstance(node.shape[1], int) else None


def _not_a_share(given: Any) -> str:
    if not np.isfinite(given).all():
        return NOT_FINITE
    worst = float(np.ravel(given)[np.abs(np.ravel(given) - 0.5).argmax()])
    return f"the model's answer {worst:.6g} is no probability; export it with probabilities instead of decision values"


def is_share(values: Any) -> Any:
    """Return where an array of numbers holds probabilities, give or take the last bits of a float."""
    return np.isfinite(values) & (values >= -_ALMOST) & (values <= 1 + _ALMOST)


def share_table(maps: Sequence[dict[Any, float]]) -> tuple[tuple[str, ...], Any]:
    """Return the class names and the table, [rows, classes], of a ZipMap's answers."""
    classes = tuple(maps[0])
    table = np.array([[row[name] for name in classes] for row in maps], dtype=np.float64)
    return tuple(map(text_of, classes)), table


def text_of(name: Any) -> str:
    """Return the name of a class as text."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
