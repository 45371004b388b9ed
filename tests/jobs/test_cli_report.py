"""``thalweg report`` from real topics."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from experiment_sample import experiment_records
from kafka import KafkaProducer
from report_sample import sample_records
from test_report_page import Page
from thalweg.connector.ddl import topic
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encode
from thalweg.jobs.cli import main


def report(*words: str | Path) -> Result:
    result = CliRunner().invoke(main, ["report", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_report_is_written_from_the_topics_of_an_application(broker: str, topic_name: str, tmp_path: Path) -> None:
    kinds = ("metric", "prediction", "alert", "label", "decision")
    create_topics(broker, {topic(topic_name, kind): {} for kind in kinds})
    producer, sent = KafkaProducer(bootstrap_servers=broker), dict.fromkeys(kinds, 0)
    for kind, record in [*sample_records(6), *experiment_records(6)]:
        producer.send(topic(topic_name, kind), encode(kind, record))
        sent[kind] += 1
    producer.send(topic(topic_name, "metric"), b"\1junk")
    producer.close()

    out = tmp_path / "report.html"
    found = report("--app", topic_name, "--brokers", broker, "--out", out, "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["records"] == sent
    assert len(told["models"]) == 3
    text = out.read_text("utf-8")
    assert len(text.encode()) == told["bytes"]
    titles = [title for level, title in Page(text).headings if level == "h3"]
    assert titles.count("Calibration") == 2
    assert titles.count("Who answers") == 1
    assert "1 unreadable records." in text

    some = report("--metrics", topic(topic_name, "metric"), "--brokers", broker, "--out", out, "--title", "A <b>day")
    assert "3 models" in some.stdout
    titles = [title for level, title in Page(out.read_text("utf-8")).headings if level == "h3"]
    assert "Calibration" not in titles
    assert "A &lt;b&gt;day" in out.read_text("utf-8")

    nowhere = report("--app", topic_name, "--brokers", broker, "--out", tmp_path / "none" / "report.html")
    assert nowhere.exit_code == 2
    assert "cannot be written" in nowhere.stderr


def test_a_report_needs_topics_and_a_file(tmp_path: Path) -> None:
    assert "--app" in report("--out", tmp_path / "report.html").stderr
    assert "--out" in report("--app", "a").stderr
