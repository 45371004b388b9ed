"""Models learned by River, and the same models exported to ONNX: rows answered per second, and how far they are apart.

Everything runs in this one process with one thread: River's own ``predict_proba_one`` in a loop, the engine ``river``
as the stream calls it, and the exported model as the SQL functions call it, in batches of ``BATCH`` rows and in single
ones. All of that is done several times in turn; rates are medians.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_to_onnx import export_onnx

MODELS = {
    "logistic": "preprocessing.StandardScaler() | linear_model.LogisticRegression()",
    "gaussian_nb": "naive_bayes.GaussianNB()",
    "hoeffding_tree": "tree.HoeffdingTreeClassifier(grace_period=100, delta=0.001, tau=0.2)",
    "hoeffding_tree_mc": "tree.HoeffdingTreeClassifier(grace_period=100, delta=0.001, tau=0.2, leaf_prediction='mc')",
    "arf": "forest.ARFClassifier(seed=1)",
}
FEATURES = 10
BATCH = 10_000
TURNS = 3
_S = 0.5


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return rows per second by model and way; ``rows`` are learned first."""
    found: dict[str, Any] = {"features": FEATURES, "batch": BATCH}
    for name, text in MODELS.items():
        print(f"{name} ...", file=sys.stderr)
        found[name] = _model(text, (rows or 5000) // (5 if name == "arf" else 1))
    return found


def _model(text: str, learned: int) -> dict[str, Any]:
    names = [f"x{at}" for at in range(FEATURES)]
    fields = tuple(Field(name, "number") for name in names)
    engine = RiverEngine.build(EngineSpec("river", "classification", text, fields, Field("y", "boolean")))
    dice = random.Random(1)
    for _ in range(learned):
        row = {name: dice.gauss(0, 1) for name in names}
        engine.learn(row, row["x0"] + row["x1"] * row["x2"] + dice.gauss(0, 0.3) > 0)
    started = time.perf_counter()
    exported = export_onnx(engine)
    export_s = time.perf_counter() - started
    table = np.random.default_rng(0).normal(size=(BATCH, FEATURES))
    rows = [dict(zip(names, row, strict=True)) for row in table.tolist()]
    columns = [np.ascontiguousarray(table[:, at]) for at in range(FEATURES)]
    single = [column[:1] for column in columns]
    loaded = LoadedModel(parse_reference("/m.onnx"), exported, None, (False,) * FEATURES)
    model = engine.model
    few = rows[:200]
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "river": (lambda: [model.predict_proba_one(row) for row in few], len(few)),
        "engine": (lambda: engine.score(few), len(few)),
        "onnx_batch": (lambda: loaded.run(columns, BATCH).scores(), BATCH),
        "onnx_single": (lambda: loaded.run(single, 1).scores(), 1),
    }
    turns = [{name: _rate(act, count) for name, (act, count) in ways.items()} for _ in range(TURNS)]
    apart = max(
        abs(model.predict_proba_one(row).get(True, 0.0) - score)
        for row, score in zip(rows, loaded.run(columns, BATCH).scores().tolist(), strict=True)
    )
    rates = {name: round(median(turn[name] for turn in turns)) for name in ways}
    ratio = round(median(turn["onnx_batch"] / turn["river"] for turn in turns), 1)
    facts = {"bytes": len(exported), "export_s": round(export_s, 3), "largest_difference": apart}
    return {**rates, "onnx_batch_to_river": ratio, **facts}


def _rate(act: Callable[[], Any], count: int) -> float:
    act()
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < _S:
        act()
        done += count
    return done / spent
