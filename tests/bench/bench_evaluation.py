"""What the default evaluation costs: the learning benchmark's model with predictions alone, and with metrics beside.

Rates are of the steady state, as in the learning benchmark: each way runs with two numbers of rows, and the rate is
that of the rows between them. The ways take turns in one run, each round in the other direction, so that whatever else
the machine does meets all of them. A round gives the share of its rate that is lost; ``slowdown`` is the median of the
rounds, all of which are in ``slowdowns``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

_MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
_KEYS = 1000
_ROUNDS = 5
_SOURCE = """
CREATE TEMPORARY TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'datagen', 'number-of-rows' = '{rows}', 'rows-per-second' = '100000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{last}')
"""
_EVENTS = """
CREATE TEMPORARY VIEW events AS SELECT CAST(n AS STRING) AS id, CAST(MOD(n * 7919, 1000) AS STRING) AS k,
  MOD(n * 31, 997) / 997.0E0 AS a, MOD(n * 37, 991) / 991.0E0 AS b, MOD(n * 41, 983) / 983.0E0 AS c,
  CAST(MOD(n, 20) AS STRING) AS part, MOD(n * 31, 997) / 997.0E0 + MOD(n * 43, 977) / 977.0E0 > 1 AS y, ts FROM numbers
"""
_WAYS = {"predictions": ("", False), "evaluated": ("", True), "sliced": (", 'slices' = 'part'", True)}


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return events per second of each way, and what the evaluation slows down."""
    many = rows or 1_000_000
    few = many // 5
    spent: dict[str, list[float]] = {name: [] for name in _WAYS}  # seconds of the rows between, round by round
    _job(few, "", True)  # the first job compiles, and pays for it alone
    for turn in range(_ROUNDS):
        for name in list(_WAYS)[:: 1 if turn % 2 == 0 else -1]:
            options, evaluated = _WAYS[name]
            short, long = (_job(count, options, evaluated) for count in (few, many))
            spent[name].append(long - short)
            told = f"round {turn + 1}, {name}: {few:,} rows in {short:.1f} s, {many:,} in {long:.1f} s, start included"
            print(told, file=sys.stderr, flush=True)
    lost = {
        name: [1 - base / own for base, own in zip(spent["predictions"], spent[name], strict=True)] for name in _WAYS
    }
    return {
        "benchmark": "evaluation",
        "rows": many,
        **{f"{name}_per_s": round((many - few) / median(seconds)) for name, seconds in spent.items()},
        "slowdown": round(median(lost["evaluated"]), 3),
        "slowdowns": [round(share, 3) for share in lost["evaluated"]],
        "slowdown_with_slices": round(median(lost["sliced"]), 3),
    }


def _job(rows: int, options: str, evaluated: bool) -> float:
    """Return the seconds of a job."""
    from thalweg.jobs.environment import make_environment
    from thalweg.udfs.flink.attach import attach

    t_env = make_environment("throughput", {"python.state.cache-size": str(2 * _KEYS)}, None, 1)
    t_env.execute_sql(_SOURCE.format(rows=rows, last=rows - 1))
    t_env.execute_sql(_EVENTS)
    t_env.execute_sql(
        "CREATE MODEL m INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        f" 'model' = '{_MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'key' = 'k', 'label' = 'y'{options})"
    )
    attach(t_env).build(["m"])
    t_env.execute_sql("CREATE TEMPORARY TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole')")
    t_env.execute_sql("CREATE TEMPORARY TABLE measured (metric STRING, v DOUBLE) WITH ('connector' = 'blackhole')")
    inserts = t_env.create_statement_set()
    inserts.add_insert_sql("INSERT INTO sink SELECT event_id, score FROM m_predictions")
    if evaluated:
        inserts.add_insert_sql("INSERT INTO measured SELECT metric, `value` FROM m_metrics")
    started = time.perf_counter()
    inserts.execute().wait()
    return time.perf_counter() - started
