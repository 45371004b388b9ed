"""Models declared in Python, on a table and on a stream of one program, against a plain River loop."""

from __future__ import annotations

from typing import Any

import pytest
from pyflink.common import Row, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import StreamExecutionEnvironment
from river import linear_model, preprocessing
from thalweg.connector.errors import ConfigError
from thalweg.jobs.environment import make_environment
from thalweg.udfs import attach

pytestmark = pytest.mark.cluster
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
ROWS = [(f"e{n:03}", (n * 37 % 101) / 10, float(n % 7), n % 7 > 3, 1_700_000_000_000 + n * 1000) for n in range(200)]


def program() -> tuple[Any, Any]:
    # A class of this module would have to be shipped to the worker; one in a function travels with the job.
    class Stamp(TimestampAssigner):  # type: ignore[misc]
        def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
            return int(value[4])

    t_env = make_environment("latency", {}, None)
    env = StreamExecutionEnvironment(t_env._j_tenv.execEnv())
    names = Types.ROW_NAMED(
        ["id", "a", "b", "y", "ms"], [Types.STRING(), Types.DOUBLE(), Types.DOUBLE(), Types.BOOLEAN(), Types.LONG()]
    )
    stream = env.from_collection([Row(*row) for row in ROWS], type_info=names)
    timed = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(Stamp())
    return t_env, stream.assign_timestamps_and_watermarks(timed)


def expected() -> list[tuple[str, float | None]]:
    loop, found = preprocessing.StandardScaler() | linear_model.LogisticRegression(), []
    for n, (name, a, b, y, _) in enumerate(ROWS):
        x = {"a": a, "b": b}
        found.append((name, loop.predict_proba_one(x)[True] if n else None))
        loop.learn_one(x, y)
    return found


def test_a_stream_and_a_table_learn_as_rivers_loop() -> None:
    t_env, stream = program()
    models = attach(t_env)
    first = models.learn("m", stream, model=MODEL, features=["a", "b"], output="y", event_id="id")
    view = t_env.from_path("m_events")
    second = models.learn(
        "n", view, labels=view, model=MODEL, features=["a", "b"], output="y", event_id="id", label_timeout="1 min"
    )
    streams = first.streams(t_env)
    assert streams.metrics is not None
    other = second.streams(t_env).predictions
    both = streams.predictions.union(other)
    picked = both.map(
        lambda row: Row(row["model"], row["event_id"], row["score"]),
        output_type=Types.ROW([Types.STRING(), Types.STRING(), Types.DOUBLE()]),
    )
    with picked.execute_and_collect() as rows:
        found = sorted(tuple(row) for row in rows)
    assert [(name, score) for model, name, score in found if model == "m"] == expected()
    # A label of the same time as its event is learned once the event has been answered: the same loop.
    assert [(name, score) for model, name, score in found if model == "n"] == expected()


def test_columns_that_are_not_there_are_told_at_once() -> None:
    t_env, stream = program()
    with pytest.raises(ConfigError) as caught:
        attach(t_env).learn("m", stream, model=MODEL, features=["a", "c"], output="z", event_id="id")
    assert "no column 'c'" in str(caught.value)
    assert "no column 'z'" in str(caught.value)


def test_a_misspelt_option_is_told_as_in_sql() -> None:
    t_env, stream = program()
    with pytest.raises(ConfigError, match=r"'labl-timeout'.*Did you mean 'label-timeout'"):
        attach(t_env).learn(
            "m", stream, model=MODEL, features=["a"], output="y", event_id="id", labels=stream, labl_timeout="1 h"
        )
