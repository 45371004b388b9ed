"""The recipes of a shop as they are, on a real broker: funnel and sale as one job, against the machine in a loop."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pytest
from streams import send
from thalweg.connector.client import raw_records
from thalweg.jobs.recipe_catalog import Recipe, find_recipe
from thalweg.jobs.recipe_trial import publish_sample
from thalweg.jobs.script import parse_script

from tests.funnel_steps import answers
from tests.sale_steps import Step, forecasts, steps

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
MINUTES, BACK, STRENGTH = 5, 7, 20000


def _moved(recipe: Recipe) -> dict[str, str]:
    prefix = uuid.uuid4().hex[:8]
    return {table: f"{prefix}.{recipe.name}.{table}" for table in recipe.topics}


@pytest.fixture(scope="module")
def shop(broker: str) -> dict[str, list[dict[str, Any]]]:
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.session import initial_settings, submit

    funnel, sale = find_recipe("funnel"), find_recipe("sale")
    to_funnel, to_sale = _moved(funnel), _moved(sale)
    publish_sample(broker, funnel, 600, 1, to_funnel)
    publish_sample(broker, sale, 700, 1, to_sale)
    # What is no JSON, and a click of nobody, are passed over.
    last = max(ms for *_, ms in funnel.sample()(600, 1))
    send(broker, to_funnel["clicks"], [(b"{", last), (b'{"step": "view", "click_id": "c"}', last)], 1)
    send(broker, to_sale["sales"], [(b'{"product": "toys-0", "sold": -1}', last), (b"[]", last)], 1)
    text = funnel.with_topics(to_funnel) + sale.with_topics(to_sale)
    given = {"brokers": broker, "bounded": "latest-offset", "minutes": str(MINUTES), "before": str(BACK)}
    statements = parse_script(text, "shop.sql", given)
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
    topics = {table: {**to_funnel, **to_sale}[table] for table in ("scores", "likely_steps", "forecasts")}
    return {
        table: [json.loads(record.value) for record in raw_records(broker, topic, {}) if record.value is not None]
        for table, topic in topics.items()
    }


def test_every_click_is_answered_from_its_session_so_far(shop: Any) -> None:
    clicks = [(ms, click) for _, _, click, ms in find_recipe("funnel").sample()(600, 1)]
    buys, goes_on = answers(clicks, MINUTES)
    assert len(buys) == len(shop["scores"]) == sum(click["step"] != "buy" for _, click in clicks)
    for row in shop["scores"]:
        expected = buys[f"{row['session_id']}/{row['click_id']}"]
        assert (row["status"], row["learned"]) == (expected.status, expected.learned)
        assert (row["buys"] is None) == (expected.score is None)
        assert (row["buys"] or 0.0) == pytest.approx(expected.score or 0.0, rel=1e-9)
    for row in shop["likely_steps"]:
        asked = goes_on[f"{row['session_id']}/{row['click_id']}"]
        assert (row["status"], row["learned"], row["next_step"]) == (asked.status, asked.learned, asked.label)
        assert (row["probabilities"] or {}) == pytest.approx(asked.probabilities or {}, rel=1e-9)


def test_a_visitor_who_leaves_is_a_label_and_one_who_buys_is_another(shop: Any) -> None:
    answered = [row for row in shop["likely_steps"] if row["status"] == "ok"]
    assert {"leave", "buy", "cart", "view"} <= set(answered[-1]["probabilities"])
    assert len({row["next_step"] for row in answered}) > 1
    assert max(row["learned"] for row in shop["scores"]) > 300


def test_forecasts_are_those_of_the_three_models(shop: Any) -> None:
    taken = _taken()
    expected = forecasts(taken, STRENGTH)
    assert {row["row_id"] for row in shop["forecasts"]} == set(expected)
    for row in {row["row_id"]: row for row in shop["forecasts"]}.values():
        found = (row["low"], row["middle"], row["high"])
        assert found == pytest.approx(expected[row["row_id"]], rel=1e-6, abs=1e-9), row["row_id"]
        assert 0 <= row["low"] <= row["middle"] <= row["high"]


def test_forecasts_follow_an_event_that_has_no_history(shop: Any) -> None:
    found = {row["row_id"]: row["middle"] for row in shop["forecasts"]}
    taken = _taken()
    last = [step for step in taken if step.ms == taken[-1].ms]
    assert {"toys-2", "shoes-2"} <= {step.product for step in last}
    before = [step.sold for step in taken[:80]]
    assert sum(found[step.row_id] for step in last) / len(last) > 3 * sum(before) / len(before)


def _taken() -> list[Step]:
    sales = [
        (ms, row["product"], row["category"], row["sold"]) for _, _, row, ms in find_recipe("sale").sample()(700, 1)
    ]
    return list(steps(sales, BACK, MINUTES))
