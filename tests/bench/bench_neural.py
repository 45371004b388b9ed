"""A network 30-64-32-1 that learns: Thalweg in Flink, its engine alone, plain NumPy, and River's MLPRegressor.

All ways have the same network and mini-batch. ``flink_events_per_s`` is the steady state of a job that scores, then
learns every event, by ``mlp(64, 32)``: it runs with two numbers of rows, and the rate is that of the rows between them.
NumPy and River only learn, before each of these runs and after them, and the best of their rounds counts, so that one
run compares them on a machine that others use as well; ``vs_plain_step`` and ``vs_river_mlp`` are the ratios.

Keys that begin with ``engine.`` are of the engine alone, without Flink around it; ``many`` is of mini-batches of 32.
The rows are dicts of Python floats. The plain step is the textbook's and checks nothing: it makes an array of the rows
and learns it; ``plain_arrays`` is given arrays that are ready, which a stream does not have.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, LAYERS, BATCH, RATE = 30, (64, 32), 32, 0.01
TEXT = "mlp(64, 32)"
ROUNDS = 5
FEW, FLINK_ROWS_PER_ROW = 20_000, 15


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return events per second of the ways, and the ratios."""
    from thalweg.udfs.engines.base import EngineSpec, Field

    count = rows or 20_000
    dice = np.random.default_rng(1)
    table = dice.normal(size=(count, WIDTH))
    labels = (table[:, :5].sum(axis=1) + dice.normal(size=count) > 0).tolist()
    dicts = [{f"f{at}": value for at, value in enumerate(row)} for row in table.tolist()]
    fields = tuple(Field(f"f{at}", "number") for at in range(WIDTH))
    params = (("learning-rate", str(RATE)),)
    from_text = EngineSpec("neural", "classification", TEXT, fields, Field("y", "boolean"), params)
    from_file = EngineSpec("neural", "classification", _file(from_text), fields, Field("y", "boolean"), params)
    ways: dict[str, tuple[Callable[[], float], int]] = {
        "learn": (lambda: _learn(from_file, dicts, labels), count),
        "step": (lambda: _step(from_file, dicts, labels), count),
        "mlp_learn": (lambda: _learn(from_text, dicts, labels), count),
        "learn_many": (lambda: _learn_many(from_file, dicts, labels), count),
        "plain": (lambda: _plain(dicts, labels, 1), count),
        "plain_many": (lambda: _plain(dicts, labels, BATCH), count),
        "plain_arrays": (lambda: _plain(table, labels, 1), count),
        "plain_arrays_many": (lambda: _plain(table, labels, BATCH), count),
        "river": (lambda: _river(dicts[: count // 50], labels), count // 50),
        "river_many": (lambda: _river_many(dicts[: count // 10], labels), count // 10),
    }
    rates = dict.fromkeys(ways, 0.0)
    flows, pair = [], ("plain", "river")
    for many in (0, FEW, FEW + FLINK_ROWS_PER_ROW * count):
        for name in pair:
            way, learned = ways[name]
            rates[name] = max(rates[name], learned / way())
        if many:  # the first turn warms the others up
            flows.append(_flink(many))
            print(f"Flink: {many:,} rows in {flows[-1]:.1f} s, start included", file=sys.stderr, flush=True)
    if flows[1] > flows[0]:
        flink = FLINK_ROWS_PER_ROW * count / (flows[1] - flows[0])
    else:
        print("Flink: too few rows to tell a rate from the start of a job; counted with the start", file=sys.stderr)
        flink = (FEW + FLINK_ROWS_PER_ROW * count) / flows[1]
    for turn in range(ROUNDS):
        for name, (way, learned) in ways.items():
            rates[name] = max(rates[name], learned / way())
        print(
            f"round {turn + 1}: " + ", ".join(f"{n} {r:,.0f}/s" for n, r in rates.items()), file=sys.stderr, flush=True
        )
    figures: dict[str, Any] = {"benchmark": "neural", "rows": count, "batch": BATCH}
    figures["flink_events_per_s"] = round(flink)
    figures["plain_step_per_s"], figures["river_mlp_per_s"] = (round(rates[name]) for name in pair)
    figures["vs_plain_step"] = round(flink / rates["plain"], 2)
    figures["vs_river_mlp"] = round(flink / rates["river"], 1)
    figures.update((f"engine.{name}_per_s", round(rate)) for name, rate in rates.items())
    figures["engine.vs_river_mlp"] = round(rates["learn"] / rates["river"], 1)
    figures["engine.vs_plain_step"] = round(rates["learn"] / rates["plain"], 2)
    figures["engine.vs_river_mlp_many"] = round(rates["learn_many"] / rates["river_many"], 1)
    figures["engine.vs_plain_step_many"] = round(rates["learn_many"] / rates["plain_many"], 2)
    figures["engine.vs_plain_arrays"] = round(rates["learn"] / rates["plain_arrays"], 2)
    figures["engine.vs_plain_arrays_many"] = round(rates["learn_many"] / rates["plain_arrays_many"], 2)
    return figures


def _flink(rows: int) -> float:
    """Return the seconds of a job that scores and learns so many events with one network."""
    from thalweg.jobs.environment import make_environment
    from thalweg.udfs.flink.attach import attach

    from tests.bench.learning_cases import Case, events_sql

    t_env = make_environment("throughput", {}, None, 1)
    for statement in events_sql(Case(keys=1, features=WIDTH), rows):
        t_env.execute_sql(statement)
    inputs = ", ".join(f"f{at} DOUBLE" for at in range(WIDTH))
    t_env.execute_sql(
        f"CREATE MODEL m INPUT ({inputs}) OUTPUT (y BOOLEAN) WITH ('provider' = 'neural', 'model' = '{TEXT}',"
        f" 'learning-rate' = '{RATE}', 'input-table' = 'events', 'event-id' = 'id', 'label' = 'y',"
        " 'order' = 'arrival', 'metrics-every' = '1 d')"
    )
    attach(t_env).build(["m"])
    t_env.execute_sql("CREATE TEMPORARY TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole')")
    started = time.perf_counter()
    t_env.execute_sql("INSERT INTO sink SELECT event_id, score FROM m_predictions").wait()
    return time.perf_counter() - started


def _file(spec: Any) -> str:
    """Return the network as a customer would bring it, one input of 30 numbers, as a URI."""
    import base64

    from thalweg.udfs.engines.neural_plan import plan_of

    return "data:;base64," + base64.b64encode(plan_of(spec).network.model.SerializeToString()).decode()


def _learn(spec: Any, rows: list[Any], labels: list[Any]) -> float:
    from thalweg.udfs.engines import build

    engine: Any = build(spec)
    started = time.perf_counter()
    for row, label in zip(rows, labels, strict=True):
        engine.learn(row, label)
    return time.perf_counter() - started


def _step(spec: Any, rows: list[Any], labels: list[Any]) -> float:
    from thalweg.udfs.engines import build

    engine: Any = build(spec)
    started = time.perf_counter()
    for row, label in zip(rows, labels, strict=True):
        engine.step(row, label)
    return time.perf_counter() - started


def _learn_many(spec: Any, rows: list[Any], labels: list[Any]) -> float:
    from thalweg.udfs.engines import build

    engine: Any = build(spec)
    started = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        engine.learn_many(rows[start : start + BATCH], labels[start : start + BATCH])
    return time.perf_counter() - started


def _plain(rows: Any, labels: list[Any], batch: int) -> float:
    """The step of the books, in float32."""
    dice = np.random.default_rng(0)
    sizes = (WIDTH, *LAYERS, 1)
    weights = [(dice.normal(size=pair) * 0.1).astype(np.float32) for pair in pairwise(sizes)]
    biases = [np.zeros(size, np.float32) for size in sizes[1:]]
    ready = isinstance(rows, np.ndarray)
    features = rows.astype(np.float32) if ready else rows
    truths = np.array(labels, np.float32)[:, None] if ready else labels
    started = time.perf_counter()
    for start in range(0, len(features), batch):
        x, y = features[start : start + batch], truths[start : start + batch]
        if not ready:
            x = np.array([list(row.values()) for row in x], np.float32)
            y = np.array(y, np.float32)[:, None]
        h = np.maximum(x @ weights[0] + biases[0], 0)
        g = np.maximum(h @ weights[1] + biases[1], 0)
        p = 1 / (1 + np.exp(-(g @ weights[2] + biases[2])))
        d3 = (p - y) / len(x)
        d2 = (d3 @ weights[2].T) * (g > 0)
        d1 = (d2 @ weights[1].T) * (h > 0)
        for at, (left, right) in enumerate(((x, d1), (h, d2), (g, d3))):
            weights[at] -= RATE * (left.T @ right)
            biases[at] -= RATE * right.sum(axis=0)
    return time.perf_counter() - started


def _network() -> Any:
    from river import optim
    from river.neural_net import MLPRegressor, activations

    layers = (activations.ReLU, activations.ReLU, activations.Sigmoid)
    return MLPRegressor(hidden_dims=LAYERS, activations=layers, optimizer=optim.SGD(RATE), seed=1)


def _river(rows: list[Any], labels: list[Any]) -> float:
    model = _network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        for row, label in zip(rows, labels, strict=False):
            model.learn_one(row, float(label))
        return time.perf_counter() - started


def _river_many(rows: list[Any], labels: list[Any]) -> float:
    import pandas

    model, labels = _network(), labels[: len(rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        for start in range(0, len(rows), BATCH):
            truth = pandas.DataFrame({"y": [float(label) for label in labels[start : start + BATCH]]})
            model.learn_many(pandas.DataFrame(rows[start : start + BATCH]), truth)
        return time.perf_counter() - started
