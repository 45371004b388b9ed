"""``thalweg dead-letters`` on a real broker: told, counted, sent back as they were and never twice."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer
from thalweg.connector.client import raw_records
from thalweg.connector.dead_letters import Choice, LetterTopic
from thalweg.connector.kafka import create_topics
from thalweg.connector.replay import plan_replay, send_back
from thalweg.connector.wire import encode
from thalweg.jobs.cli import main

MS = 1_700_000_000_000


def letter(topic: str, offset: int, **changed: Any) -> bytes:
    record = {
        "topic": topic, "partition": 1, "offset": offset, "record_time_ms": MS + offset, "stage": "decode",
        "model": "", "reason": f"it ends too early ({offset} bytes).", "key": b"\xff\0key", "payload": b"\0\xfe{",
        "headers": {"trace": b"\x01\xff", "none": None},
    }  # fmt: skip
    return encode("dead_letter", {**record, **changed})


def send_letters(broker: str, topic: str, letters: list[bytes | None], partition: int = 0) -> None:
    create_topics(broker, {topic: {"partitions": 2}})
    producer = KafkaProducer(bootstrap_servers=broker)
    for value in letters:
        producer.send(topic, value, key=b"k", partition=partition)
    producer.close()


def call(broker: str, *words: str, **options: Any) -> Result:
    result = CliRunner().invoke(main, ["dead-letters", words[0], "--brokers", broker, *words[1:]], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def told(broker: str, *words: str) -> Any:
    return json.loads(call(broker, *words, "--json").stdout)


def copies(broker: str, topic: str) -> list[Any]:
    return list(raw_records(broker, topic, {}))


@pytest.fixture
def origin(broker: str, topic_name: str) -> str:
    """A topic of origin, and beside it as ``<origin>.dead`` the letters of five of its records and of one example."""
    create_topics(broker, {topic_name: {"partitions": 3}, f"{topic_name}.other": {}})
    letters = [letter(topic_name, 3), letter(topic_name, 4), letter(topic_name, 3), None, b"\0no letter"]
    letters += [letter(topic_name, 5, reason="field 'a' is \x1b[2Ja string.", payload=b"", key=None, headers=None)]
    letters += [letter(f"{topic_name}.other", 3, partition=0), letter(f"{topic_name}.gone", 9)]
    letters += [letter("events", -1, partition=-1, stage="learn", model="fraud", payload=b"{}", headers=None)]
    send_letters(broker, f"{topic_name}.dead", letters)
    return topic_name


def test_letters_are_listed_filtered_and_counted_by_reason(broker: str, origin: str, tmp_path: Path) -> None:
    dead = f"{origin}.dead"
    table = call(broker, "list", "--topic", dead)
    assert table.exit_code == 0
    assert "7 letters, 7 shown." in table.stdout
    assert "6      it ends too early (# bytes)." in table.stdout
    assert "\x1b" not in table.stdout
    assert f"{dead}-0 at offset 4 is passed over" in table.stderr
    found = told(broker, "list", "--topic", dead, "--limit", "2")
    assert found["total"] == 7
    assert [row["state"] for row in found["letters"]] == ["example", "new"]
    assert [row["offset"] for row in told(broker, "list", "--topic", dead, "--from", origin)["letters"]] == [5, 3, 4, 3]
    assert told(broker, "list", "--topic", dead, "--reason", "A STRING")["total"] == 1
    assert told(broker, "list", "--topic", dead, "--model", "fraud")["total"] == 1
    assert told(broker, "list", "--topic", dead, "--since", "1 h")["total"] == 7
    assert told(broker, "list", "--topic", dead, "--since", "2100-01-01T00:00:00Z")["total"] == 0
    for words in (["--since", "yesterday"], ["--since", "99-99"]):
        assert call(broker, "list", "--topic", dead, *words).exit_code == 2
    assert call(broker, "list", "--topic", f"{dead}.none").exit_code == 3
    assert call(broker, "list", "--topic", dead, "--fail-above", "7").exit_code == 0
    assert call(broker, "list", "--topic", dead, "--fail-above", "6", "--json").exit_code == 1

    shown = told(broker, "show", "0-0", "--topic", dead, "--out", str(tmp_path / "value"))
    assert base64.b64decode(shown["payload"]) == (tmp_path / "value").read_bytes() == b"\0\xfe{"
    assert shown["headers"] == {"trace": "Af8=", "none": None}
    assert "0x00fe7b" in call(broker, "show", "0-0", "--topic", dead).stdout
    assert call(broker, "show", "0-77", "--topic", dead).exit_code == 2
    assert call(broker, "show", "seven", "--topic", dead).exit_code == 2


def test_records_go_back_as_they_were_and_never_twice(broker: str, origin: str) -> None:
    dead = f"{origin}.dead"
    words = ["replay", "--topic", dead]
    dry = told(broker, *words, "--dry-run")
    assert dry["into"] == {origin: 3, f"{origin}.other": 1}
    assert dry["sent"] == 0
    assert sum(dry["skipped"].values()) == 3
    assert not copies(broker, origin)
    assert call(broker, *words, input="n\n").exit_code == 1
    assert not copies(broker, origin)

    first = call(broker, *words, "--limit", "1", "--yes")
    assert (first.exit_code, first.stdout.splitlines()[-1]) == (0, "1 records sent.")
    assert "1 of 1 sent" in first.stderr
    assert told(broker, *words, "--yes", "--from", origin)["sent"] == 2
    assert told(broker, *words, "--yes")["into"] == {f"{origin}.other": 1}
    again = told(broker, *words, "--yes")
    assert (again["planned"], again["skipped"]["replayed before"]) == (0, 4)

    by_place = {dict(record.headers)["thalweg-replayed-from"]: record for record in copies(broker, origin)}
    assert len(by_place) == len(copies(broker, origin)) == 3
    record = by_place[f"{origin}/1/3/{MS + 3}".encode()]
    assert (record.value, record.key, record.timestamp, record.partition) == (b"\0\xfe{", b"\xff\0key", MS + 3, 1)
    assert dict(record.headers) == {
        "trace": b"\x01\xff",
        "none": b"",
        "thalweg-replayed-from": f"{origin}/1/3/{MS + 3}".encode(),
    }
    bare = by_place[f"{origin}/1/5/{MS + 5}".encode()]
    assert (bare.value, bare.key, len(bare.headers)) == (b"", None, 1)

    listed = told(broker, "list", "--topic", dead, "--from", origin)["letters"]
    assert {row["state"] for row in listed} == {"replayed"}
    # One of them is refused again: it is told, and goes out once more only when asked for.
    send_letters(broker, dead, [letter(origin, 77, headers=dict(record.headers))])
    assert told(broker, "list", "--topic", dead, "--from", origin)["letters"][0]["state"] == "refused again"
    assert told(broker, *words, "--yes")["sent"] == 0
    assert told(broker, *words, "--yes", "--refused-again", "--now")["sent"] == 1
    (newest,) = [r for r in copies(broker, origin) if r.timestamp > MS + 10**9]
    assert dict(newest.headers) == dict(record.headers)  # the first record that was refused, not the copy
    assert told(broker, *words, "--yes", "--again", "--from", origin)["sent"] == 3

    assert told(broker, *words, "0-5", "--to", f"{origin}.other", "--again", "--yes")["into"] == {f"{origin}.other": 1}
    assert told(broker, *words, "--to", dead, "--again", "--yes")["sent"] == 0
    assert call(broker, *words, "zero").exit_code == 2


def test_a_replay_that_is_killed_or_ended_goes_on_and_sends_nothing_twice(broker: str, topic_name: str) -> None:
    count, dead = 2500, f"{topic_name}.dead"
    create_topics(broker, {topic_name: {"partitions": 2}})
    send_letters(broker, dead, [letter(topic_name, n) for n in range(count)])
    command = [sys.executable, "-m", "thalweg.jobs", "dead-letters", "replay", "--topic", dead, "--brokers", broker]

    def begin_and_end(number: int) -> tuple[int, str]:
        before = len(copies(broker, topic_name))
        child = subprocess.Popen(
            [*command, "--yes", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 60
        while len(copies(broker, topic_name)) == before and child.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(child.pid, number)
        out, error = child.communicate(timeout=60)
        assert "Traceback" not in error
        return child.returncode, out

    begin_and_end(signal.SIGKILL)
    first = len(copies(broker, topic_name))
    code, out = begin_and_end(signal.SIGINT)
    sent = json.loads(out)["sent"]
    assert sent == len(copies(broker, topic_name)) - first > 0
    assert code == (1 if first + sent < count else 0)
    assert told(broker, "replay", "--topic", dead, "--yes")["sent"] == count - first - sent
    roots = [dict(record.headers)["thalweg-replayed-from"] for record in copies(broker, topic_name)]
    assert len(roots) == len(set(roots)) == count
    offsets = [int(root.split(b"/")[2]) for root in roots]
    assert offsets == sorted(offsets)


def test_what_another_replay_has_sent_since_it_was_planned_is_not_sent_again(broker: str, origin: str) -> None:
    topic = LetterTopic(broker, f"{origin}.dead", report=lambda text: None)
    plans = [plan_replay(topic, Choice(origin=origin)) for _ in range(2)]
    assert [plan.into.total() for plan in plans] == [3, 3]
    assert [list(send_back(topic, plan))[-1] for plan in plans] == [3, 3]
    assert len(copies(broker, origin)) == 3
