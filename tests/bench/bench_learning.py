"""Score, then learn every event: Thalweg in Flink, its machine without Flink, River's loop, the textbook operator.

Rates are of the steady state. In Flink each way runs with two numbers of rows, and the rate is that of the rows between
them, so that starting Flink, Python and the just-in-time compilers is outside; a first small job warms up the JVM.
River's loop is timed without the making of its rows, and over the same rows, or as many as it can in
30 seconds. ``vectorised`` is the machine of the operator fed with the blocks of ``k1000``, from bytes to answers,
without Flink.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tests.bench.learning_cases import CASES, Case, chosen, declaration, events_sql, make_model, rows_of

_CHUNK = 10_000
_LOOP_S = 30.0  # after which the rate of the loop is known
_MACHINE_ROWS = 200_000
# What PyFlink has where nobody sets anything.
_FLINKS_OWN = {"python.state.cache-size": "1000", "pipeline.object-reuse": "false"}


def run(data: Path | None, rows: int | None, cases: str | None = None) -> dict[str, Any]:
    """Return the figures of the cases; ``rows`` is the number of the large ones, the others shrink with it."""
    scale = 1.0 if rows is None else rows / 1_000_000
    plan = chosen(cases)
    figures: dict[str, Any] = {"benchmark": "learning", "rows": round(1_000_000 * scale)}
    _timed("warm-up", lambda count: _thalweg(CASES["k1000"], count), 20_000)
    for name, case in plan.items():
        many = max(1000, round(case.rows * scale))
        loop = _loop_rate(case, many // 5, many)
        _say(f"{name}: River's loop {loop:,.0f} events/s")
        rate = _rate(name, lambda count, case=case: _thalweg(case, count), many // 5, many)
        figures |= {
            f"{name}.events_per_s": round(rate),
            f"{name}.river_loop_per_s": round(loop),
            f"{name}.vs_river_loop": round(rate / loop, 3),
        }
        if case.textbook:
            # The textbook way is so slow that a fifth of the rows tells its rate.
            for key, settings in (("", {"python.state.cache-size": str(2 * case.keys)}), ("_default", _FLINKS_OWN)):
                way = f"{name}, textbook{key}"
                slow = _rate(way, lambda count, s=settings, c=case: _textbook(c, count, s), many // 20, many // 5)
                figures[f"{name}.vs_textbook{key}"] = round(rate / slow, 2)
        if name == "k1000":
            machine = _machine_rate(case, min(many, _MACHINE_ROWS))
            _say(f"vectorised: {machine:,.0f} events/s")
            figures |= {
                "vectorised.events_per_s": round(machine),
                "vectorised.vs_river_loop": round(machine / loop, 3),
            }
    return figures


def _rate(name: str, way: Callable[[int], float], few: int, many: int) -> float:
    seconds = [_timed(name, way, count) for count in (few, many)]
    if seconds[1] <= seconds[0]:
        _say(f"{name}: too few rows to tell a rate from the start of a job; counted with the start")
        return many / seconds[1]
    _say(f"{name}: {(many - few) / (seconds[1] - seconds[0]):,.0f} events/s")
    return (many - few) / (seconds[1] - seconds[0])


def _timed(name: str, way: Callable[[int], float], rows: int) -> float:
    seconds = way(rows)
    _say(f"{name}: {rows:,} rows in {seconds:.1f} s, start included")
    return seconds


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _loop_rate(case: Case, few: int, many: int) -> float:
    """The limit: River in a plain loop, no Flink, nothing kept; the rate of the rows after the first ``few``."""
    models: dict[str, Any] = {}
    given = rows_of(case, many)
    started, spent = time.perf_counter(), 0.0
    seconds, rows, counted = 0.0, 0, 0
    while spent < _LOOP_S and (chunk := list(islice(given, min(_CHUNK, max(many // 10, 1))))):
        began = time.perf_counter()
        for key, x, y in chunk:
            model = models.get(key)
            if model is None:
                model = models[key] = make_model(case)
            if case.river == "halfspace":
                model.score_one(x)
                model.learn_one(x)
            else:
                model.predict_proba_one(x)
                model.learn_one(x, y)
        now = time.perf_counter()
        spent, rows = now - started, rows + len(chunk)
        if rows > few or spent >= _LOOP_S:
            seconds, counted = seconds + now - began, counted + len(chunk)
    return counted / seconds


def _machine_rate(case: Case, rows: int) -> float:
    """The operator's machine without Flink: blocks of bytes in, columns of answers out; state in a dict."""
    from thalweg.udfs.engines.base import EngineSpec, Field
    from thalweg.udfs.logic.learning import STEP, LearningLogic, learning_kinds
    from thalweg.udfs.logic.options import Every
    from thalweg.udfs.logic.packing import pack_columns, unpack_columns
    from thalweg.udfs.logic.upkeep import Policy

    from tests.learning_store import Store

    inputs = tuple(Field(f"f{at}", "number") for at in range(case.features))
    spec = EngineSpec("river", "classification", case.model, inputs, Field("y", "boolean"))
    logic, store, blocks = LearningLogic(spec, Policy(Every(None, 600_000), 1 << 26)), Store(), []
    given, n = rows_of(case, rows), 0
    while chunk := list(islice(given, _CHUNK)):
        shards: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for key, x, y in chunk:
            shards[int(key) % 16].append((STEP, key, f"e{n}", n, n, y, *x.values()))
            n += 1
        kinds = learning_kinds(spec)
        for part in shards.values():
            columns = [list(column) for column in zip(*part, strict=True)]
            blocks.append(pack_columns(zip(kinds, columns, strict=True), len(part)))
    started = time.perf_counter()
    for block in blocks:
        logic.on_rows(unpack_columns(block)[1], store)
    return rows / (time.perf_counter() - started)


def _environment(case: Case, rows: int, settings: dict[str, str]) -> Any:
    from thalweg.jobs.environment import make_environment

    t_env = make_environment("throughput", settings, None, case.parallelism)
    for statement in events_sql(case, rows):
        t_env.execute_sql(statement)
    return t_env


def _textbook(case: Case, rows: int, settings: dict[str, str]) -> float:
    """The way of the books: one keyed process function, the model in a pickled ValueState."""
    from pyflink.common import Row, Types
    from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
    from pyflink.datastream.state import ValueStateDescriptor
    from river import linear_model, preprocessing

    class Learn(KeyedProcessFunction):  # type: ignore[misc]
        def open(self, runtime_context: RuntimeContext) -> None:
            self.state = runtime_context.get_state(ValueStateDescriptor("model", Types.PICKLED_BYTE_ARRAY()))

        def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
            model = self.state.value() or (preprocessing.StandardScaler() | linear_model.LogisticRegression())
            row = {"f0": value[2], "f1": value[3], "f2": value[4]}
            score = model.predict_proba_one(row).get(True, 0.5)
            model.learn_one(row, value[5])
            self.state.update(model)
            yield Row(value[0], score)

    t_env = _environment(case, rows, settings)
    out = (
        t_env.to_data_stream(t_env.from_path("events"))
        .key_by(lambda row: row[1], key_type=Types.STRING())
        .process(Learn(), Types.ROW_NAMED(["id", "score"], [Types.STRING(), Types.DOUBLE()]))
    )
    t_env.create_temporary_view("answers", t_env.from_data_stream(out))
    return _run(t_env, "SELECT id, score FROM answers")


def _thalweg(case: Case, rows: int) -> float:
    """The packed flow, as a data engineer would write it."""
    from thalweg.udfs.flink.attach import attach

    t_env = _environment(case, rows, {})
    t_env.execute_sql(declaration(case))
    attach(t_env).build(["m"])
    return _run(t_env, "SELECT event_id, score FROM m_predictions")


def _run(t_env: Any, query: str) -> float:
    t_env.execute_sql("CREATE TEMPORARY TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole')")
    started = time.perf_counter()
    t_env.execute_sql(f"INSERT INTO sink {query}").wait()
    return time.perf_counter() - started
