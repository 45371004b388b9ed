"""A whole experiment in one real job that is killed while a model is promoted: rewards, slices, guardrails, default
labels, a slow shadow. All that it committed is what the pure machine makes of the same answers and labels, once.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cluster import python_workers
from kafka import KafkaProducer
from onnx import TensorProto, helper
from streams import as_json, kafka_table, result_tables, results, send, start
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, raw_records, read_topic
from thalweg.connector.wire import encode
from thalweg.udfs.logic.assignment import SLOTS, keys_of, slots_of
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, OUTCOME, Arm, Comparison, Plan
from thalweg.udfs.logic.guardrails import parse_guardrails
from thalweg.udfs.logic.options import Every

pytestmark = pytest.mark.cluster
START_MS, STEP_MS, EVENTS, USERS = 1_700_000_040_000, 1000, 1200, 400
TIMEOUT_MS, DELAY_MS = 120_000, 20_000
# The first one is of the part that is on its way when the workers are killed.
ORDERS = (("promote", "linear", START_MS + 650 * STEP_MS), ("weights", "frozen:50", START_MS + 900 * STEP_MS))
RULES = "LogLoss not worse than 0.05; latency_p99 < 600 s; cost_p50 < 60 s; slice(carrier)"
ARMS = (Arm("frozen"), Arm("linear", 30.0), Arm("wrong", 20.0), Arm("slow", 60.0, True))
PLAN = Plan(
    "shop", ARMS, "frozen", reward=True, reward_cap=40.0, guardrails=parse_guardrails(RULES), min_samples=200,
    promote="manual", label_timeout_ms=TIMEOUT_MS + 1, every=Every(None, 60_000), slices=("carrier",),
)  # fmt: skip
SETTINGS = {
    "execution.checkpointing.interval": "300 ms",
    "execution.checkpointing.min-pause": "100 ms",
    "table.exec.source.idle-timeout": "0 ms",
    "python.fn-execution.bundle.time": "20",
    "python.fn-execution.arrow.batch.size": "20",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "5",
    "restart-strategy.fixed-delay.delay": "100 ms",
}


def curve(slope: float, bias: float, rounds: int = 0) -> bytes:
    """A logistic curve of one feature, made ``rounds`` thousand times wide in vain."""

    def number(name: str, *values: float) -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)

    wide = [helper.make_tensor("wide", TensorProto.INT64, [2], (1, 1000 * rounds))]
    nodes = [
        helper.make_node("Mul", ["X", "slope"], ["z0"]), helper.make_node("Expand", ["X", "wide"], ["e"]),
        helper.make_node("Erf", ["e"], ["m"]), helper.make_node("ReduceMean", ["m"], ["r"], axes=[1], keepdims=1),
        helper.make_node("Add", ["z0", "r"], ["z1"]),
    ][: None if rounds else 1]  # fmt: skip
    last = "z1" if rounds else "z0"
    nodes += [helper.make_node("Add", [last, "bias"], ["z"]), helper.make_node("Sigmoid", ["z"], ["score"])]
    graph = helper.make_graph(
        nodes, "curve", [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [number("slope", slope), number("bias", bias), *(wide if rounds else [])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """Events and whether they were bought; only who buys gets a label, and that is how it is with sales."""
    dice = np.random.default_rng(5)
    rows = []
    for n, a in enumerate(dice.normal(0, 1, EVENTS).tolist()):
        bought = bool(dice.random() < 1 / (1 + np.exp(-2 * a)))
        rows.append(
            {
                "id": f"e{n:04}", "a": a, "who": f"u{dice.integers(USERS)}", "carrier": ("UA", "AA")[n % 2],
                "bought": bought, "paid": float(dice.integers(1, 60)) if bought else None, "ms": START_MS + n * STEP_MS,
            }
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def found(broker: str, events: list[dict[str, Any]], tmp_path_factory: Any) -> dict[str, list[dict[str, Any]]]:
    folder: Path = tmp_path_factory.mktemp("shop")
    names = ("events", "labels", "control", "served", "decisions", "alerts")
    create_topics(broker, {f"shop.{name}": {} for name in names})
    producer = KafkaProducer(bootstrap_servers=broker)
    for command, argument, ms in ORDERS:
        order = {"model": "shop", "command": command, "argument": argument, "issued_by": "ana", "issued_ms": ms}
        producer.send("shop.control", encode("control", order | {"reason": "a closer look"})).get(timeout=30)
    producer.close()
    columns = ("id", "a", "who", "carrier")
    bought = [event for event in events if event["bought"]]
    records = {
        "events": [(as_json({name: event[name] for name in columns}), event["ms"]) for event in events],
        "labels": [
            (as_json({"id": e["id"], "bought": True, "paid": e["paid"]}), e["ms"] + DELAY_MS) for e in bought
        ],
    }  # fmt: skip
    script = "".join(
        kafka_table(name, sql, f"shop.{name}", broker, ends=[len(records[name])])
        for name, sql in (
            ("events", "id STRING, a DOUBLE, who STRING, carrier STRING"),
            ("labels", "id STRING, bought BOOLEAN, paid DOUBLE"),
        )
    )
    curves = {"frozen": (1.5, 0.2), "wrong": (-2.0, 0.0), "slow": (2.0, 0.0)}
    for name in (arm.name for arm in ARMS):
        if name == "linear":
            engine = ("river", "preprocessing.StandardScaler() | linear_model.LogisticRegression()")
        else:
            (folder / f"{name}.onnx").write_bytes(curve(*curves[name], rounds=600 if name == "slow" else 0))
            engine = ("onnx", str(folder / f"{name}.onnx"))
        script += (
            f"CREATE MODEL {name} INPUT (a DOUBLE) OUTPUT (bought BOOLEAN) WITH ('provider' = '{engine[0]}', 'model' ="
            f" '{engine[1]}', 'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' ="
            f" 'bought', 'label-timeout' = '{TIMEOUT_MS} ms', 'label-default' = 'false');\n"
        )
    extra = {"scan.bounded.mode": "latest-offset"}
    once = {"guarantee": "exactly-once"}
    script += (
        create_table("orders", "control", "shop.control", broker, extra=extra)
        + ";\nCREATE MODEL shop WITH ('provider' = 'compare', 'default' = 'frozen', 'candidates' ="
        " 'linear:30, wrong:20', 'mirror' = 'slow:60', 'shadow-budget' = '1 ms', 'unit' = 'who', 'reward' = 'paid',"
        f" 'reward-cap' = '40', 'guardrails' = '{RULES}', 'min-samples' = '200', 'metrics-every' = '1 min',"
        " 'control-table' = 'orders');\n"
        + result_tables(broker, "shop", "exactly-once")
        + create_table("decisions", "decision", "shop.decisions", broker, transactional_id_prefix="shop-d", **once)
        + ";\n"
        + create_table("alerts", "alert", "shop.alerts", broker, transactional_id_prefix="shop-a", **once)
        + ";\nCREATE TABLE served (event_id STRING, score DOUBLE, arm STRING, propensity DOUBLE) WITH ('connector' ="
        f" 'kafka', 'topic' = 'shop.served', 'properties.bootstrap.servers' = '{broker}', 'format' = 'json',"
        " 'sink.delivery-guarantee' = 'exactly-once', 'properties.transaction.timeout.ms' = '600000',"
        " 'sink.transactional-id-prefix' = 'shop-served');\n"
        "INSERT INTO served SELECT event_id, score, arm, propensity FROM shop_predictions;\n"
        "INSERT INTO predictions SELECT * FROM frozen_predictions UNION ALL SELECT * FROM linear_predictions UNION ALL"
        " SELECT * FROM wrong_predictions UNION ALL SELECT * FROM slow_predictions;\n"
        "INSERT INTO metrics SELECT * FROM shop_metrics;\n"
        "INSERT INTO decisions SELECT * FROM shop_decisions;\nINSERT INTO alerts SELECT * FROM shop_alerts;\n"
    )
    half = START_MS + 600 * STEP_MS
    for name, rows in records.items():
        send(broker, f"shop.{name}", [row for row in rows if row[1] < half], 1)
    ended = start(script, SETTINGS | {"execution.checkpointing.dir": folder.as_uri()}).get_job_execution_result()
    deadline = time.monotonic() + 180
    # Outcomes have been measured, and are in a checkpoint: what is committed was.
    while not results(broker, "shop", ["metrics"])["metrics"]:
        assert not ended.done(), ended.result()
        assert time.monotonic() < deadline, "nothing is committed"
        time.sleep(0.1)
    killed = python_workers()
    assert killed
    for name, rows in records.items():
        send(broker, f"shop.{name}", [row for row in rows if half <= row[1] < half + 100_000], 1)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for name, rows in records.items():
        send(broker, f"shop.{name}", [row for row in rows if row[1] >= half + 100_000], 1)
    ended.result()
    assert not set(killed) & set(python_workers())
    out = results(broker, "shop", ("predictions", "metrics"))
    out["served"] = [json.loads(record.value) for record in raw_records(broker, "shop.served", {}) if record.value]
    for topic in ("decision", "alert"):
        out[f"{topic}s"] = [row for row, _ in read_topic(broker, f"shop.{topic}s", topic)]
    return out


@pytest.fixture(scope="module")
def undisturbed(found: Any, events: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """What the machine makes of these answers and labels in one block."""
    own = {(row["model"], row["event_id"]): row for row in found["predictions"]}
    rows: list[tuple[Any, ...]] = []
    for event in events:
        ms, told = event["ms"], event["ms"] + (DELAY_MS if event["bought"] else TIMEOUT_MS + 1)
        part = json.dumps([event["carrier"]])
        for arm, entry in enumerate(ARMS):
            answer = own.get((entry.name, event["id"]))
            if answer is not None:
                given, said = (arm, event["id"], event["who"], ms), (answer["score"], answer["label"], None)
                rows.append((ANSWER, *given, ms, *said, None, answer["status"], part, None, None, None))
                truth = str(event["bought"]).lower()
                rows.append((OUTCOME, *given, told, *said, truth, None, part, None, event["paid"] or 0.0, None))
    for command, argument, ms in ORDERS:
        detail = json.dumps({"argument": argument, "issued_by": "ana", "reason": "a closer look"})
        rows.append((COMMAND, 0, "", None, ms, ms, None, command, detail, *[None] * 6))
    rows.sort(key=lambda row: (row[5], row[0], row[4], row[2], row[1]))
    machine, columns = Comparison(PLAN), list(map(list, zip(*rows, strict=True)))
    out = machine.on_rows(columns)
    found_: dict[str, list[Any]] = {"decisions": out.decisions, "metrics": out.metrics, "alerts": out.alerts}
    while (wake := machine.wake_at()) is not None:
        late = machine.on_time(wake)
        for name in found_:
            found_[name] += getattr(late, name)
    found_["served"] = [
        (columns[2][row], ARMS[arm].name, propensity)
        for row, arm, propensity in zip(out.served.row, out.served.arm, out.served.propensity, strict=True)
    ]
    return found_


def timed(name: str) -> bool:
    return name.startswith(("latency", "cost"))


def test_a_kill_in_the_middle_changes_no_assignment(found: Any, undisturbed: Any) -> None:
    served = [(row["event_id"], row["arm"], row["propensity"]) for row in found["served"]]
    assert len(served) == EVENTS
    assert sorted(served) == sorted(undisturbed["served"])
    assert {arm for _, arm, _ in served} == {"frozen", "linear", "wrong"}


def test_it_changes_no_decision(found: Any, undisturbed: Any) -> None:
    told = [(row["decision"], row["arm"], row["event_time_ms"], row["reason"]) for row in found["decisions"]]
    assert told == [(d.action, d.arm, d.event_time_ms, d.reason) for d in undisturbed["decisions"]]
    evidence = [json.loads(row["evidence"]) | {"shares": row["shares"]} for row in found["decisions"]]
    assert evidence == [json.loads(json.dumps(d.evidence)) for d in undisturbed["decisions"]]
    assert {("start", "frozen"), ("stop", "wrong"), ("promote", "linear"), ("weights", "")} <= {row[:2] for row in told}
    assert {(row["alert"].partition(":")[0], row["state"]) for row in found["alerts"]} >= {("wrong", "raised")}


def test_it_loses_no_outcome(found: Any, undisturbed: Any) -> None:
    """Every figure at every look, but those of the clock, is the same; and the last ones count all events."""
    told = {
        (row["model_version"], row["metric"], row["slice"], row["event_time_ms"]): (row["value"], row["count"])
        for row in found["metrics"] if not timed(row["metric"])
    }  # fmt: skip
    assert len(told) == sum(not timed(row["metric"]) for row in found["metrics"]), "a figure was told twice"
    expected = {}
    for m in undisturbed["metrics"]:
        ends = (("", m.value), (".lower", m.lower), (".upper", m.upper))
        for end, value in ends if (m.lower, m.upper) != (m.value, m.value) else ends[:1]:
            expected[m.arm, m.metric + end, m.slice, m.event_time_ms] = (
                pytest.approx(value, rel=1e-9, abs=1e-12),
                m.count,
            )
    assert told == expected
    last = {key[:3]: value for key, value in sorted(told.items(), key=lambda pair: pair[0][3])}
    assert last["", "outcomes", ""][0] == EVENTS, "who bought nothing is an outcome too"
    assert last["", "outcomes_late", ""][0] == 0


def test_rewards_and_slices_are_those_of_a_plain_sum(found: Any, events: Any) -> None:
    last: dict[Any, Any] = {}
    for row in sorted(found["metrics"], key=lambda row: row["event_time_ms"]):
        last[row["model_version"], row["metric"], row["slice"]] = row
    brought: dict[str, list[float]] = defaultdict(list)
    by_event = {event["id"]: event for event in events}
    for row in found["served"]:
        brought[row["arm"]].append(min(by_event[row["event_id"]]["paid"] or 0.0, 40.0))
    for arm in ("frozen", "linear"):
        interval = [last[arm, f"Reward{end}", ""]["value"] for end in (".lower", ".upper")]
        assert interval[0] < np.mean(brought[arm]) < interval[1]
    for carrier in ("UA", "AA"):
        assert last["wrong", "difference", f"carrier={carrier}"]["value"] < -0.3


def test_times_are_measured_and_the_slow_shadow_skips(found: Any) -> None:
    told = {(row["model_version"], row["metric"]) for row in found["metrics"] if timed(row["metric"])}
    names = ("latency_p50", "latency_p99", "cost_p50", "cost_p99")
    assert told == {(arm.name, name) for arm in ARMS for name in names}
    assert all(row["value"] > 0 for row in found["metrics"] if timed(row["metric"]))
    answers = [row for row in found["predictions"] if row["model"] == "slow"]
    assert 0 < len(answers) < EVENTS
    assert {row["status"] for row in answers} == {"ok"}
    mine = [row["event_id"] for row in answers]
    assert (slots_of(keys_of(mine, "mirror")) < 0.6 * SLOTS).all(), "of its share of the events, none twice"
    assert len(set(mine)) == len(mine)
    last = max((row for row in found["metrics"] if (row["model_version"], row["metric"]) == ("slow", "skipped")),
               key=lambda row: row["event_time_ms"])  # fmt: skip
    assert last["value"] == EVENTS - len(answers)
