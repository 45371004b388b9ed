"""Random rows, models that have learned some of them, and their exports held against River's own answers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_to_onnx import export_onnx

TOLERANCE = 1e-6
KINDS = {"a": "number", "b": "number", "n": "integer", "f": "boolean", "s": "string", "t": "string"}
EXTREMES = (1e149, -1e149, 1e-300, -1e-300, 0.0, -0.0, 1e15, 12345678.9)
SCALED = "preprocessing.StandardScaler() | "
MIXED = (
    "(compose.SelectType(float, int, bool) | preprocessing.StandardScaler()) + "
    "(compose.SelectType(str) | preprocessing.OneHotEncoder(drop_zeros={})) | "
)

Row = dict[str, Any]


def some_row(dice: random.Random, names: str, missing: float = 0.0, texts: str = "pqrstu") -> Row:
    row: Row = {
        "a": dice.gauss(0, 3),
        "b": dice.gauss(10, 50),
        "n": dice.randint(0, 5),
        "f": dice.random() < 0.4,
        "s": dice.choice(texts),
        "t": dice.choice(["x", "y", "é y"]),
    }
    return {name: row[name] for name in names if dice.random() >= missing}


def answer(dice: random.Random, row: Row, output: str, classes: int) -> Any:
    size = row.get("a", 0.0) + 2 * (row.get("s") in ("p", "q")) + 2 * (row.get("n", 0) > 2) + 0.02 * row.get("b", 0.0)
    if output == "number":
        return 3 * size + dice.gauss(0, 0.1)
    if output == "boolean":
        return size + dice.gauss(0, 0.5) > 2
    return f"c{max(0, min(classes - 1, int(size // 1.5) + 1))}"


def spec_of(text: str, names: str = "abnf", output: str = "boolean", on_null: str = "skip") -> EngineSpec:
    task = "regression" if output == "number" else "classification"
    fields = tuple(Field(name, KINDS[name]) for name in names)
    return EngineSpec("river", task, text, fields, Field("y", output), (("on-null", on_null),))


def learned(spec: EngineSpec, rows: int = 700, missing: float = 0.15, classes: int = 4, seed: int = 0) -> RiverEngine:
    engine, dice = RiverEngine.build(spec), random.Random(seed)
    names = "".join(field.name for field in spec.inputs)
    for at in range(rows):
        row = some_row(dice, names, missing)
        # Further classes arrive late.
        engine.learn(row, answer(dice, row, spec.output.kind, 2 if at < rows // 2 else classes))
    return engine


def asked(spec: EngineSpec, rows: int = 2000, missing: float = 0.15, seed: int = 1) -> list[Row]:
    """Rows with texts that nobody has learned, missing features, none at all, and numbers of any size."""
    dice = random.Random(seed)
    names = "".join(field.name for field in spec.inputs)
    found = [some_row(dice, names, missing, "pqrstuvw") for _ in range(rows)]
    for row in found[::40]:
        row.update({name: dice.choice(EXTREMES) for name in row if KINDS[name] == "number"})
    return [*found, {}] if missing else found


def columns_of(spec: EngineSpec, rows: Sequence[Row]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, kind in spec.inputs:
        if kind == "string":
            columns[name] = np.array([*(row.get(name, "") for row in rows), None], dtype=object)[:-1]
        else:
            columns[name] = np.array([float(row.get(name, math.nan)) for row in rows])
    return columns


def session_of(data: bytes) -> Any:
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options)


def river_answer(engine: RiverEngine, model: Any, row: Row) -> Any:
    """What River says of a row: a number, probabilities by class as text, or None where it fails."""
    try:
        if engine.spec.task == "regression":
            return float(model.predict_one(dict(row)))
        found = model.predict_proba_one(dict(row))
    except Exception:
        return None
    return {str(label).lower() if isinstance(label, bool) else label: share for label, share in found.items()}


def assert_equal(engine: RiverEngine, rows: Sequence[Row], tolerance: float = TOLERANCE) -> int:
    """Hold the export of a model against River, by ONNX Runtime and as the SQL functions load it; count refusals."""
    data = export_onnx(engine)
    columns = columns_of(engine.spec, rows)
    outputs = session_of(data).run(None, {name: column[:, None] for name, column in columns.items()})
    loaded = LoadedModel(parse_reference("/m.onnx?on-null=nan"), data, None, (False,) * len(columns))
    batch = loaded.run(list(columns.values()), len(rows))
    model = engine.model
    expected = [river_answer(engine, model, row) for row in rows]
    if engine.spec.task == "regression":
        _assert_numbers(rows, expected, outputs[0], batch.scores(), tolerance)
    else:
        _assert_shares(rows, expected, outputs, batch, tolerance)
    assert {at for at, one in enumerate(expected) if one is None} == set(batch.faults)
    return len(batch.faults)


def _assert_numbers(rows: Any, expected: Any, value: Any, scores: Any, tolerance: float) -> None:
    assert value.shape == (len(rows), 1)
    assert value.dtype == np.float64
    want = np.array([math.nan if one is None else one for one in expected])
    known = ~np.isnan(want)
    assert not np.isfinite(value[~known, 0]).any()
    assert np.isnan(scores[~known]).all()
    for got in (value[:, 0], scores):
        far = known & ~(np.abs(got - want) <= tolerance * np.maximum(1.0, np.abs(want)))
        assert not far.any(), [(rows[at], want[at], got[at]) for at in np.flatnonzero(far)[:3]]


def _assert_shares(rows: Any, expected: Any, outputs: Any, batch: Any, tolerance: float) -> None:
    labels, shares = outputs
    assert shares.dtype == np.float64
    named, told = batch.probabilities(), batch.labels()
    answered = [at for at, one in enumerate(expected) if one is not None]
    failed = [at for at, one in enumerate(expected) if one is None]
    assert np.isnan(shares[failed]).all()
    assert all(named[at] is None for at in failed)
    classes = list(named[answered[0]])
    assert {label for at in answered for label in expected[at]} <= set(classes)
    want = np.array([[expected[at].get(label, 0.0) for label in classes] for at in answered])
    # A second session may sum in other steps: the last bits are not the same.
    by_name = np.array([[named[at][label] for label in classes] for at in answered])
    assert np.abs(by_name - shares[answered]).max() <= 1e-12
    far = ~(np.abs(shares[answered] - want) <= tolerance).all(axis=1)
    assert not far.any(), [(rows[answered[at]], want[at], shares[answered[at]]) for at in np.flatnonzero(far)[:3]]
    for at, row in zip(answered, want, strict=True):
        best = max(expected[at], key=expected[at].get)
        for label in (labels[at], told[at]):
            assert label == best or expected[at][best] - row[classes.index(label)] <= 1e-9, (rows[at], row, label)
