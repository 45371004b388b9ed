"""StandardScaler | LogisticRegression, 3 features, 1,000 keys: a plain loop, the textbook operator and the packed flow.

Every event is scored, then learned. Rates are of the steady state: each way runs with two numbers of rows, and the rate
is that of the rows between them, so that starting Flink, Python and the just-in-time compilers is outside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from river import linear_model, preprocessing

KEYS = 1000
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
SOURCE = """
CREATE TEMPORARY TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}',
  'rows-per-second' = '100000000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{last}')
"""
EVENTS = """
CREATE TEMPORARY VIEW events AS SELECT CAST(n AS STRING) AS id, CAST(MOD(n * 7919, 1000) AS STRING) AS k,
  MOD(n * 31, 997) / 997.0E0 AS a, MOD(n * 37, 991) / 991.0E0 AS b, MOD(n * 41, 983) / 983.0E0 AS c,
  MOD(n * 31, 997) / 997.0E0 + MOD(n * 43, 977) / 977.0E0 > 1 AS y FROM numbers
"""


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return events per second of the three ways, and the ratios."""
    whole = rows or 1_000_000
    small = whole // 5
    # The textbook way is so slow that a fifth of the rows tells its rate.
    plan: dict[str, tuple[Callable[[int], float], int, int]] = {
        "river_loop": (_loop, small, whole),
        "textbook": (_textbook, whole // 20, whole // 5),
        "thalweg": (_thalweg, small, whole),
    }
    rates = {}
    for name, (way, few, many) in plan.items():
        seconds = [_timed(name, way, count) for count in (few, many)]
        rates[name] = (many - few) / (seconds[1] - seconds[0])
        _say(f"{name}: {rates[name]:,.0f} events/s")
    return {
        "benchmark": "learning",
        "rows": whole,
        "events_per_s": round(rates["thalweg"]),
        "river_loop_per_s": round(rates["river_loop"]),
        "textbook_per_s": round(rates["textbook"]),
        "vs_river_loop": round(rates["thalweg"] / rates["river_loop"], 3),
        "vs_textbook": round(rates["thalweg"] / rates["textbook"], 2),
    }


def _timed(name: str, way: Callable[[int], float], rows: int) -> float:
    seconds = way(rows)
    _say(f"{name}: {rows:,} rows in {seconds:.1f} s, start included")
    return seconds


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _loop(rows: int) -> float:
    """The limit: River in a plain loop, no Flink, nothing kept."""
    models: dict[str, Any] = {}
    started = time.perf_counter()
    for n in range(rows):
        a, b, c = (n * 31 % 997) / 997.0, (n * 37 % 991) / 991.0, (n * 41 % 983) / 983.0
        key, row = str(n * 7919 % KEYS), {"a": a, "b": b, "c": c}
        model = models.get(key)
        if model is None:
            model = models[key] = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        model.predict_proba_one(row)
        model.learn_one(row, a + (n * 43 % 977) / 977.0 > 1)
    return time.perf_counter() - started


def _environment(rows: int) -> Any:
    """Return the same Flink for both ways, with a cache that holds all models."""
    from thalweg.jobs.environment import make_environment

    t_env = make_environment("throughput", {"python.state.cache-size": str(2 * KEYS)}, None, 1)
    t_env.execute_sql(SOURCE.format(rows=rows, last=rows - 1))
    t_env.execute_sql(EVENTS)
    return t_env


def _textbook(rows: int) -> float:
    """The way of the books: one keyed process function, the model in a pickled ValueState."""
    from pyflink.common import Row, Types
    from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
    from pyflink.datastream.state import ValueStateDescriptor

    class Learn(KeyedProcessFunction):  # type: ignore[misc]
        def open(self, runtime_context: RuntimeContext) -> None:
            self.state = runtime_context.get_state(ValueStateDescriptor("model", Types.PICKLED_BYTE_ARRAY()))

        def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
            model = self.state.value() or (preprocessing.StandardScaler() | linear_model.LogisticRegression())
            row = {"a": value[2], "b": value[3], "c": value[4]}
            score = model.predict_proba_one(row).get(True, 0.5)
            model.learn_one(row, value[5])
            self.state.update(model)
            yield Row(value[0], score)

    t_env = _environment(rows)
    out = (
        t_env.to_data_stream(t_env.from_path("events"))
        .key_by(lambda row: row[1], key_type=Types.STRING())
        .process(Learn(), Types.ROW_NAMED(["id", "score"], [Types.STRING(), Types.DOUBLE()]))
    )
    t_env.create_temporary_view("answers", t_env.from_data_stream(out))
    t_env.execute_sql("CREATE TEMPORARY TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole')")
    started = time.perf_counter()
    t_env.execute_sql("INSERT INTO sink SELECT id, score FROM answers").wait()
    return time.perf_counter() - started


def _thalweg(rows: int) -> float:
    """The packed flow, as a data engineer would write it."""
    from thalweg.udfs.flink.attach import attach

    t_env = _environment(rows)
    t_env.execute_sql(
        "CREATE MODEL m INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        f" 'model' = '{MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'key' = 'k', 'label' = 'y',"
        " 'order' = 'arrival')"
    )
    attach(t_env).build(["m"])
    t_env.execute_sql("CREATE TEMPORARY TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole')")
    started = time.perf_counter()
    t_env.execute_sql("INSERT INTO sink SELECT event_id, score FROM m_predictions").wait()
    return time.perf_counter() - started
