"""The recipe of recommendations as it is, on a real broker: intent, newcomers, and the answers of the engine alone."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pytest
from streams import as_json, publish
from thalweg.connector.client import raw_records
from thalweg.connector.kafka import create_topics
from thalweg.jobs.recipe_catalog import find_recipe
from thalweg.jobs.script import parse_script
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

pytestmark = pytest.mark.cluster
START_MS = 1_767_225_600_000
SPEC = EngineSpec(
    "recommend", "next-item", "recommend",
    (
        Field("user_id", "string"), Field("item", "string"), Field("ms", "integer"), Field("session_id", "string"),
        Field("category", "string"),
    ),
    Field("next_item", "string"),
    (("exclude-seen", "true"), ("exploration", "0"), ("half-life", "10 d"), ("session", "session_id"), ("top-k", "5")),
)  # fmt: skip


def clicks() -> list[dict[str, Any]]:
    """The recipe's sample, then one who came a second ago and changes their mind, and one of whom nothing is known."""
    sample = [{**value, "ms": ms} for _, _, value, ms in find_recipe("recommend").sample()(600, 1)]
    now = sample[-1]["ms"]
    known = {"user_id": "zoe", "session_id": "z"}
    return [
        *sample,
        {**known, "item": "tent", "category": "camping", "ms": now + 1000},
        {**known, "item": "pen", "category": "office", "ms": now + 2000},
        {"user_id": "new", "session_id": None, "item": None, "category": None, "ms": now + 3000},
        {"user_id": None, "session_id": "n", "item": "pen", "category": "office", "ms": now + 4000},
    ]


@pytest.fixture(scope="module")
def recommended(broker: str) -> list[dict[str, Any]]:
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.session import initial_settings, submit

    recipe, prefix = find_recipe("recommend"), uuid.uuid4().hex[:8]
    topics = {table: f"{prefix}.{topic}" for table, topic in recipe.topics.items()}
    records = [(as_json({name: value for name, value in row.items() if name != "ms"}), row["ms"]) for row in clicks()]
    publish(broker, topics["clicks"], records)
    create_topics(broker, {topics["recommended"]: {}})
    given = {"brokers": broker, "bounded": "latest-offset", "top": "5"}
    statements = parse_script(recipe.with_topics(topics), "recommend.sql", given)
    # In this process the Python operators are threads, elsewhere each would be a process of its own.
    before = dict(os.environ)
    os.environ["_python_worker_execution_mode"] = "loopback"
    try:
        t_env = make_environment("throughput", initial_settings(statements), None, 1)
        submit(t_env, statements).get_job_client().get_job_execution_result().result()
    finally:
        # A worker in this process forbids it, and all processes that it starts, to start a JVM.
        os.environ.clear()
        os.environ.update(before)
    found = [json.loads(record.value) for record in raw_records(broker, topics["recommended"], {})]
    return sorted(found, key=lambda row: row["event_time_ms"])


def test_recommendations_through_flink_are_those_without(recommended: Any) -> None:
    engine: Any = build(SPEC)
    assert len(recommended) == len(clicks())
    for row, got in zip(clicks()[:-1], recommended, strict=False):
        answer = engine.step(row)
        expected = [{"item": item, "score": score} for item, score in (answer.probabilities or {}).items()]
        assert (got["user_id"], got["event_time_ms"]) == (row["user_id"], row["ms"])
        assert (got["status"], got["next_item"], got["recommendations"] or []) == (
            answer.status, answer.label, expected,
        )  # fmt: skip


def test_intent_changes_the_next_answer_and_newcomers_get_what_is_popular(recommended: Any) -> None:
    tent, pen, new, nobody = recommended[-4:]
    assert (tent["next_item"], pen["next_item"]) == ("stove", "ink")
    assert len(new["recommendations"]) == 5
    items = [row["item"] for row in clicks() if row["item"]]
    often = sum(items.count(row["item"]) for row in new["recommendations"]) / 5
    assert often > len(items) / len(set(items))
    assert nobody["status"] == "refused"
    assert "'user_id' is NULL" in nobody["reason"]
    assert nobody["recommendations"] is None
