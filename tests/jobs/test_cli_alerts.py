"""``thalweg alerts watch``: alerts of a real topic, on the screen, to a command and to a web server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer
from test_alert_delivery import Hook
from test_alert_delivery import hook as hook  # the fixture
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encode
from thalweg.jobs.cli import main

BASE_MS = 1_700_000_000_000


def send_alerts(broker: str, topic: str, *alerts: tuple[str, str, str, str], junk: bytes | None = None) -> None:
    """Send (model, alert, severity, state), a second apart."""
    create_topics(broker, {topic: {}})
    producer = KafkaProducer(bootstrap_servers=broker)
    if junk is not None:
        producer.send(topic, junk)
    for at, (model, name, severity, state) in enumerate(alerts):
        record = {
            "model": model, "alert": name, "severity": severity, "state": state, "value": 0.5, "threshold": 0.7,
            "count": 100, "event_time_ms": BASE_MS + at, "reason": "The \x1b[31mreason.",
        }  # fmt: skip
        producer.send(topic, encode("alert", record), timestamp_ms=BASE_MS + 1000 * at)
    producer.close()


def watch(broker: str, *words: str) -> Result:
    result = CliRunner().invoke(main, ["alerts", "watch", "--brokers", broker, "--from-beginning", "--once", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_alerts_of_a_topic_are_told_without_a_storm(
    broker: str, topic_name: str, hook: Hook, tmp_path: Path
) -> None:
    told = [
        ("fraud", "ROCAUC < 0.7", "critical", "raised"),
        ("fraud", "ROCAUC < 0.7", "critical", "cleared"),
        ("fraud", "ROCAUC < 0.7", "critical", "raised"),
        ("delay", "drift", "info", "raised"),
    ]
    send_alerts(broker, topic_name, *told, junk=b"\0no alert")
    out = tmp_path / "alerts.jsonl"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
    line = f'{sys.executable} -c "{code}" {out}'
    found = watch(broker, "--topic", topic_name, "--json", "--exec", line, "--webhook", hook.url)
    assert found.exit_code == 0, found.output
    printed = [json.loads(text) for text in found.stdout.splitlines()]
    assert [(a["model"], a["state"]) for a in printed] == [
        ("fraud", "raised"),
        ("fraud", "cleared"),
        ("delay", "raised"),
    ]
    assert printed[0]["event_time_ms"] == BASE_MS
    assert [json.loads(text) for text in out.read_text().splitlines()] == printed == [alert for _, alert in hook.came]
    assert "1 alerts were withheld" in found.stderr
    assert "at offset 0 is passed over" in found.stderr

    table = watch(broker, "--topic", topic_name, "--severity", "warning", "--model", "fraud", "--min-interval", "1 s")
    assert table.stdout.count("fraud: ROCAUC < 0.7") == 3
    assert "delay" not in table.stdout
    assert "\x1b" not in table.stdout

    hook.answers = [404]
    assert watch(broker, "--topic", f"{topic_name}.none").exit_code == 3
    failed = watch(broker, "--topic", topic_name, "--webhook", hook.url)
    assert failed.exit_code == 1
    assert "'ROCAUC < 0.7' of model 'fraud' was not delivered: The webhook at 127.0.0.1 answered 404." in failed.stderr


def test_it_follows_from_now_on_until_it_is_interrupted(broker: str, topic_name: str) -> None:
    send_alerts(broker, topic_name, ("old", "drift", "warning", "raised"))
    command = [sys.executable, "-m", "thalweg.jobs", "alerts", "watch", "--brokers", broker, "--topic", topic_name]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "Waiting for alerts" in process.stderr.readline()
        send_alerts(broker, topic_name, ("new", "drift", "warning", "raised"))
        assert json.loads(process.stdout.readline())["model"] == "new"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--min-interval", "soon"), "--min-interval"),
        (("--exec-timeout", "-1"), "--exec-timeout"),
        (("--webhook", "https://example.org/"), "--allow-host example.org"),
        (("--exec", '"'), "--exec"),
    ],
)
def test_wrong_options_end_with_2_before_anything_is_read(words: tuple[str, ...], named: str) -> None:
    found = watch("127.0.0.1:1", *words)
    assert found.exit_code == 2
    assert named in found.stderr
