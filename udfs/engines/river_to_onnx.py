"""A River model as an ONNX model that answers the same: linear models, naive Bayes, Hoeffding trees and their forests.

The pipeline is run once over names instead of numbers. Each of its steps writes the operators that compute what it
would compute, in double precision and in River's order where the order is of weight. A part that has no exact
counterpart is refused by name; nothing is approximated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.known_values import OTHER
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_plan import PARAMS
from thalweg.udfs.engines.river_to_onnx_frame import Column, Frame, Text
from thalweg.udfs.engines.river_to_onnx_graph import GraphWriter
from thalweg.udfs.engines.river_to_onnx_linear import Shares
from thalweg.udfs.engines.river_to_onnx_models import classifier, misfits, regressor

__all__ = ["export_onnx"]

_TASKS = ("classification", "regression")


def export_onnx(engine: RiverEngine, name: str = "", event_time_ms: int | None = None) -> bytes:
    """Return what a River model has learned as an ONNX model, the same bytes for the same state.

    Parameters
    ----------
    engine : RiverEngine
        The model; it stays as it is.
    name : str
        What it is called, for the metadata.
    event_time_ms : int, optional
        Time of the last event learned, epoch ms, for the metadata.

    Returns
    -------
    bytes
        A ModelProto of opset 17. Inputs: one per feature, by its name and in declared order, [rows, 1]: texts, or
        doubles for numbers and booleans (0 and 1). Outputs: ``label`` [rows] and ``probabilities`` [rows, classes] in
        River's order of the classes, or ``value`` [rows, 1].

    Raises
    ------
    ConfigError
        All parts of the model that have no exact counterpart in ONNX, or what in its state has none.

    Notes
    -----
    NaN in an input of numbers means that the feature is missing; so does the empty text where the model's option
    ``on-null`` is ``skip``. A missing feature is one that River's row does not have. A row that River cannot score, as
    ``compose.Select`` cannot where its feature is missing, has NaN as its answer.

    Whole numbers are exact up to 2 ** 53, as in any double.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> text = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
    >>> spec = EngineSpec("river", "classification", text, (Field("amount", "number"),), Field("fraud", "boolean"))
    >>> engine = RiverEngine.build(spec)
    >>> for amount in range(20):
    ...     engine.learn({"amount": amount}, amount > 10)
    >>> import numpy as np, onnxruntime
    >>> session = onnxruntime.InferenceSession(export_onnx(engine, "fraud"))
    >>> label, probabilities = session.run(None, {"amount": np.array([[18.0]])})
    >>> label.tolist(), abs(float(probabilities[0, 1]) - engine.score([{"amount": 18.0}])[0].score) < 1e-12
    (['true'], True)
    """
    spec, model = engine.spec, engine.model
    _check(engine, model)
    graph = GraphWriter([field.name for field in spec.inputs])
    frame = _frame(graph, spec)
    _limit(graph, engine)
    outputs: list[tuple[str, str, Sequence[int]]]
    if spec.task == "classification":
        names, value = _named(graph, classifier(frame, model), spec)
        best = graph.node("ArgMax", value, axis=1, keepdims=0)
        label = graph.named(graph.node("Gather", graph.texts(names), best), "label")
        outputs = [(label, "text", ()), (graph.named(graph.answered(value), "probabilities"), "number", (len(names),))]
    else:
        value = graph.answered(regressor(frame, model))
        outputs = [(graph.named(value, "value"), "number", (1,))]
    return graph.model(outputs, _about(engine, name, event_time_ms), _version())


def _check(engine: RiverEngine, model: Any) -> None:
    spec = engine.spec
    problems = []
    if spec.task not in _TASKS:
        remedy = "Export it with --format river, which takes every model."
        problems.append(Problem(f"task '{spec.task}'", "has no exact counterpart in ONNX.", remedy))
    else:
        problems.extend(dict.fromkeys(misfits(model)))
    if not engine.healthy():
        problems.append(Problem("model", "has diverged: its numbers are of no use.", "Export an older snapshot."))
    if problems:
        raise ConfigError(problems)


def _frame(graph: GraphWriter, spec: EngineSpec) -> Frame:
    """Return the frame of the features as they come in."""
    sources = {field.name: graph.input(field.name, field.kind == "string") for field in spec.inputs}
    numbers = [field for field in spec.inputs if field.kind != "string"]
    columns: dict[str, Column] = {}
    if numbers:
        raw = graph.joined([sources[field.name] for field in numbers])
        missing = graph.node("IsNaN", raw)
        value = graph.node("Where", missing, graph.number(0), raw)
        frame = Frame(graph, {}, {})
        columns = frame.block(
            [field.name for field in numbers],
            value,
            graph.node("Not", missing),
            [field.kind for field in numbers],
        )
    skip = spec.param("on-null", "refuse") == "skip"
    texts = {
        field.name: Text(sources[field.name], _filled(graph, sources[field.name]) if skip else "")
        for field in spec.inputs
        if field.kind == "string"
    }
    return Frame(graph, columns, texts)


def _limit(graph: GraphWriter, engine: RiverEngine) -> None:
    """Let texts that came when the engine's limit of values was reached be one, as the engine has it."""
    known = engine._known  # noqa: SLF001
    most = int(engine.spec.param("max-values", PARAMS["max-values"]))
    for name, values in ({} if known is None else known.dump()).items():
        if len(values) >= most:
            graph.limit(name, values, OTHER)


def _filled(graph: GraphWriter, text: str) -> str:
    """Return the rows in which a text is not empty, [rows, 1]."""
    return graph.node("Equal", graph.text_numbers(text, [""]), graph.number(0))


def _named(graph: GraphWriter, shares: Shares, spec: EngineSpec) -> tuple[list[str], str]:
    """Return the classes by name, and their probabilities: both of a BOOLEAN, and those that were seen of a STRING."""
    where, remedy = "model", "Export it when it has learned more rows."
    if not shares.classes:
        raise ConfigError([Problem(where, "has not seen any class yet.", remedy)])
    if spec.output.kind == "boolean":
        lacking = [label for label in (False, True) if label not in shares.classes]
        value = graph.joined([shares.value, *(graph.zeros() for _ in lacking)])
        return ["true" if label else "false" for label in (*shares.classes, *lacking)], value
    if len(shares.classes) == 1:
        what = f"has seen one class alone, '{shares.classes[0]}', and a classifier in ONNX has two or more."
        raise ConfigError([Problem(where, what, remedy)])
    return [str(label) for label in shares.classes], shares.value


def _about(engine: RiverEngine, name: str, event_time_ms: int | None) -> Mapping[str, str]:
    spec = engine.spec
    about = {
        "thalweg.model": name,
        "thalweg.text": spec.model,
        "thalweg.task": spec.task,
        "thalweg.features": json.dumps([list(field) for field in spec.inputs], ensure_ascii=False),
        "thalweg.output": spec.output.name,
        "thalweg.learned": str(engine.learned),
        "thalweg.missing": "NaN" + (", empty text" if spec.param("on-null", "refuse") == "skip" else ""),
        "thalweg.river": installed("river"),
    }
    if event_time_ms is not None:
        moment = datetime.fromtimestamp(event_time_ms / 1000, timezone.utc)
        about["thalweg.event_time"] = moment.isoformat(timespec="milliseconds")
    return about


def _version() -> str:
    try:
        return installed("thalweg")
    except PackageNotFoundError:  # as a zip on a cluster's Python path
        return "without metadata"
