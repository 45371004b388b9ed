"""``thalweg experiment follow``: a promotion reaches the SQL functions by name, once, with who and why."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from fault_stream import linear_model
from kafka import KafkaProducer
from thalweg.connector.kafka import create_topics
from thalweg.connector.models import ModelTopic
from thalweg.connector.wire import encode
from thalweg.jobs.cli import main
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.flink.served_models import Place, ServedModel

MS = 1_700_000_000_000


def decision(action: str, arm: str, at: int, by: str = "thalweg", model: str = "delay") -> dict[str, Any]:
    return {
        "model": model, "decision": action, "arm": arm, "previous": "", "shares": {}, "decided_by": by,
        "reason": f"{arm} is better.", "evidence": "{}", "event_time_ms": MS + at,
    }  # fmt: skip


def send(broker: str, topic: str, *records: dict[str, Any]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker)
    for record in records:
        producer.send(topic, encode("decision", record)).get(timeout=30)
    producer.close()


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def test_what_is_wrong_with_the_arms_is_told_at_once() -> None:
    result = CliRunner().invoke(
        main, ["experiment", "follow", "delay", "--arm", "v1", "--arm", "v2=0", "--arm", "v3=x"]
    )
    assert result.exit_code != 0
    told = str(result.exception) + result.output
    assert all(f"'{text}' is no model with a version" in told for text in ("v1", "v2=0", "v3=x"))


def test_running_functions_follow_what_an_experiment_decides(broker: str, topic_name: str) -> None:
    models, decisions = ModelTopic(broker, f"{topic_name}-models"), f"{topic_name}-decisions"
    models.create()
    create_topics(broker, {decisions: {}})
    models.publish("lateness", linear_model((0.3, 0.1, 0.2), 0.1), file="v1.onnx")
    models.publish("lateness", linear_model((0.1, 0.2, 0.3), 0.4), file="v2.onnx", serve=False)
    place = Place(brokers=broker, topic=f"{topic_name}-models", alerts=f"{topic_name}-alerts", kafka_config="")
    served = ServedModel(parse_reference("lateness"), (False,) * 3, place, lambda: None)
    words = [
        "experiment", "follow", "delay", "--model", "lateness", "--brokers", broker, "--decisions", decisions,
        "--topic", f"{topic_name}-models", "--arm", "v1=1", "--arm", "v2=2", "--json",
    ]  # fmt: skip

    def once(*more: str) -> Result:
        return CliRunner().invoke(main, [*words, "--once", *more], catch_exceptions=False)

    def version() -> str:
        return served.run([np.ones(2)] * 3, 2)[1].version

    try:
        assert version() == "1"
        assert once().output == "", "nothing has been decided"
        wrong = once("--arm", "v9=9")
        assert wrong.exit_code != 0
        assert "version 9" in wrong.output
        # A decision twice, as after a restart; one of another experiment; one that changes no default.
        send(
            broker, decisions, decision("start", "v1", 0), decision("promote", "v2", 10, "ana"),
            decision("promote", "v2", 10, "ana"), decision("promote", "v1", 20, model="other"),
            decision("stop", "v1", 30),
        )  # fmt: skip
        told = json.loads(once().stdout)
        assert told == {
            "by": "ana", "decision": f"delay@{MS + 10} promote v2", "model": "lateness", "state": "followed",
            "version": 2,
        }  # fmt: skip
        wait_for(lambda: version() == "2")
        state = models.models()["lateness"]
        assert (state.by, state.reason) == ("ana", f"delay@{MS + 10} promote v2: v2 is better.")
        assert json.loads(once().stdout)["state"] == "done before"

        models.promote("lateness", 1)  # people overrule; a restart does not undo it
        assert json.loads(once().stdout)["state"] == "done before"
        wait_for(lambda: version() == "1")

        following = subprocess.Popen([sys.executable, "-m", "thalweg.jobs", *words], stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        try:
            lines = [following.stdout.readline()]  # it has read what was there
            send(broker, decisions, decision("promote", "v2", 5), decision("promote", "v2", 40))
            wait_for(lambda: version() == "2")
            send(broker, decisions, decision("promote", "v2", 10, "ana"), decision("rollback", "v1", 50))
            wait_for(lambda: version() == "1")
            send(broker, decisions, decision("promote", "v7", 60))
            lines += [following.stdout.readline() for _ in range(3)]
            following.send_signal(signal.SIGINT)
            assert following.wait(30) == 0
        finally:
            following.kill()
        told = [json.loads(line) for line in lines]
        assert [(line["decision"].partition(" ")[2], line["state"]) for line in told] == [
            ("promote v2", "done before"), ("promote v2", "followed"), ("rollback v1", "followed"),
            ("promote v7", "unknown"),
        ]  # fmt: skip
        assert version() == "1"
    finally:
        served.close()
