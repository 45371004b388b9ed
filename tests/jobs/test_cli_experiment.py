"""``thalweg experiment``: what a product manager reads, and orders that arrive with who and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer
from thalweg.connector.kafka import create_topics, read_topic
from thalweg.connector.wire import encode
from thalweg.jobs.cli import main
from thalweg.jobs.experiment_report import experiment_status

MS = 1_700_000_000_000


def experiment(*words: str) -> Result:
    result = CliRunner().invoke(main, ["experiment", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def decision(action: str, arm: str = "", at: int = 0, by: str = "thalweg", **shares: float) -> dict[str, Any]:
    return {
        "model": "delay", "decision": action, "arm": arm, "previous": "", "shares": shares, "decided_by": by,
        "reason": f"{action} because.", "evidence": "{}", "event_time_ms": MS + at,
    }  # fmt: skip


def metric(arm: str, name: str, value: float, count: int = 500, at: int = 0, part: str = "") -> dict[str, Any]:
    return {
        "model": "delay", "model_version": arm, "metric": name, "window": "cumulative", "value": value, "count": count,
        "window_start_ms": 0, "event_time_ms": MS + at, "slice": part,
    }  # fmt: skip


DECISIONS = [decision("start", at=0, v1=70, v2=20, v3=10, v4=0)]
METRICS = [
    metric("v1", "LogLoss", 0.7, at=-5),
    metric("v1", "LogLoss", 0.5),
    metric("v1", "LogLoss", 9.0, part="carrier=UA"),
    metric("v1", "LogLoss.lower", 0.45),
    metric("v1", "LogLoss.upper", 0.55),
    metric("v1", "served", 700),
    metric("v1", "latency_p99", 12.34),
    metric("v1", "cost_p50", 0.02),
    metric("v1", "default", 1),
    *(metric("v2", name, value) for name, value in (("LogLoss", 0.4), ("served", 200), ("evidence", 0.93))),
    *(metric("v2", f"difference{end}", value) for end, value in (("", 0.1), (".lower", 0.02), (".upper", 0.18))),
    *(metric("v3", f"difference{end}", value) for end, value in (("", -0.1), (".lower", -0.2), (".upper", -0.01))),
    *(metric("v4", f"difference{end}", value) for end, value in (("", 0.1), (".lower", -0.2), (".upper", 0.4))),
]


def test_the_table_says_who_serves_whom_and_what_is_known() -> None:
    found = experiment_status("delay", DECISIONS, METRICS)
    rows = {row["model"]: row for row in found["models"]}
    assert list(rows) == ["v1", "v2", "v3", "v4"]
    assert found["default"] == "v1"
    assert [row["role"] for row in rows.values()] == ["default", "candidate", "candidate", "shadow"]
    assert [row["traffic"] for row in rows.values()] == ["70 %", "20 %", "10 %", "0 %"]
    assert rows["v1"]["metric"] == "LogLoss 0.5 (0.45 to 0.55), 500 events"
    assert [rows[name]["latency p99"] for name in ("v1", "v2")] == ["12.3 ms", "-"]
    assert rows["v2"]["against the default"] == "+0.1 (+0.02 to +0.18)"
    assert rows["v2"]["evidence"] == "93.0%"
    assert [row["verdict"] for row in rows.values()] == [
        "answers where nobody else does", "better than the default", "worse than the default",
        "cannot be told apart yet",
    ]  # fmt: skip
    assert found["next"].startswith("v2 is ahead; it wins once")
    assert found["at"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([decision("recommend", "v2", 5)], "v2 is recommended: `thalweg experiment promote delay v2`"),
        ([decision("freeze", at=5, by="ana")], "ana has frozen it: nothing changes until `thalweg experiment resume"),
        ([decision("freeze", at=5, by="ana"), decision("resume", at=6)], "v2 is ahead"),
        ([decision("recommend", "v2", 5), decision("promote", "v3", 6, v3=100)], "v2 is ahead"),
    ],
)
def test_what_happens_next(more: list[dict[str, Any]], words: str) -> None:
    assert words in experiment_status("delay", [*more, *DECISIONS], METRICS)["next"]


def test_a_promotion_makes_the_default_and_a_stop_is_told() -> None:
    told = [*DECISIONS, decision("stop", "v3", 5, v1=80, v2=20, v3=0), decision("promote", "v2", 6, v2=100, v3=0)]
    found = experiment_status("delay", told, METRICS)
    assert found["default"] == "v2"
    assert found["models"][0]["model"] == "v2"
    (stopped,) = (row for row in found["models"] if row["model"] == "v3")
    assert stopped["verdict"] == "stopped: it broke a guardrail"
    told[-2] = {**told[-2], "reason": "v3 is worse than v1 by 0.1, at least 0.05, over 900 events."}
    (stopped,) = (row for row in experiment_status("delay", told, METRICS)["models"] if row["model"] == "v3")
    assert stopped["verdict"] == "stopped: it was worse"
    assert found["last"]["decision"] == "promote"


def test_other_comparisons_are_passed_over_and_nothing_is_said_as_nothing() -> None:
    found = experiment_status("price", DECISIONS, METRICS)
    assert (found["models"], found["last"], found["at"]) == ([], None, None)
    assert found["next"] == "Nothing has been measured yet."


def test_orders_and_status_through_a_broker(broker: str, topic_name: str) -> None:
    control, decisions, metrics = (f"{topic_name}.{name}" for name in ("control", "decision", "metric"))
    create_topics(broker, {control: {}, decisions: {}, metrics: {}})
    where = ("--brokers", broker, "--topic", control)
    for words in (
        ("promote", "delay", "v2"), ("rollback", "delay"), ("freeze", "delay"), ("resume", "delay"),
        ("weights", "delay", "v2:50, v3:5"),
    ):  # fmt: skip
        at = ("--at", "2023-11-14T22:13:20Z") if words[0] == "weights" else ()
        result = experiment(*words, "--reason", "storm", "--by", "ana", *at, *where)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        assert "is ordered for delay by ana; `thalweg experiment status delay`" in result.stdout
    orders = [record for record, _ in read_topic(broker, control, "control")]
    assert [(order["command"], order["argument"]) for order in orders] == [
        ("promote", "v2"), ("rollback", ""), ("freeze", ""), ("resume", ""), ("weights", "v2:50, v3:5"),
    ]  # fmt: skip
    assert {(order["model"], order["issued_by"], order["reason"]) for order in orders} == {("delay", "ana", "storm")}
    assert orders[-1]["issued_ms"] == MS
    assert min(order["issued_ms"] for order in orders[:-1]) > MS

    producer = KafkaProducer(bootstrap_servers=broker)
    for topic, schema, records in ((decisions, "decision", DECISIONS), (metrics, "metric", METRICS)):
        for record in records:
            producer.send(topic, encode(schema, record))
    producer.flush()
    producer.close()
    where = ("--brokers", broker, "--decisions", decisions, "--metrics", metrics)
    shown = experiment("status", "delay", *where)
    assert shown.exit_code == 0, shown.output
    assert "LogLoss 0.5 (0.45 to 0.55), 500 events" in shown.stdout
    assert "Last decision: start, 2023-11-14T22:13:20+00:00, by thalweg. start because." in shown.stdout
    assert "Next: v2 is ahead" in shown.stdout
    assert json.loads(experiment("status", "delay", *where, "--json").stdout)["default"] == "v1"
    unknown = experiment("status", "dealy", *where)
    assert unknown.exit_code == 2
    assert "comparison 'dealy'" in unknown.stderr
    assert "Those with decisions: delay." in unknown.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("weights", "delay", "v2"), "SHARES: 'v2' is not of the form"),
        (("weights", "delay", "v2:60, v3:50"), "SHARES: they are 110 percent together"),
        (("freeze", "delay", "--at", "noon"), "--at: 'noon' is no time."),
    ],
)
def test_an_order_that_cannot_be_is_not_sent(words: tuple[str, ...], told: str) -> None:
    result = experiment(*words, "--reason", "x", "--brokers", "127.0.0.1:1")
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_order_needs_a_reason() -> None:
    assert "Missing option '--reason'" in experiment("freeze", "delay").stderr
