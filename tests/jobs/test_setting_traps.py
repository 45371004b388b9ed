"""Traps of settings and sinks (cases C08, C27, C30, C31, C77): each told with its remedy, and only where it is one."""

from __future__ import annotations

import pytest
from thalweg.jobs.script import parse_script
from thalweg.jobs.setting_traps import BROKER_TRANSACTION_MS, setting_traps

SINK = "CREATE TABLE o (a INT) WITH ('connector' = 'kafka', 'topic' = 'o'{}); INSERT INTO o SELECT a FROM t"
EXACT = ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'p'"
TIMEOUT = "properties.transaction.timeout.ms"
FAST = {"execution.checkpointing.interval": "10 s", "execution.checkpointing.timeout": "1 min"}


def told(sql: str = "", **settings: str) -> list[tuple[str, bool]]:
    traps = setting_traps(parse_script(sql, "job.sql", {}), settings)
    assert all(trap.remedy.endswith(".") and trap.what.endswith(".") for trap in traps)
    return [(trap.where, trap.severe) for trap in traps]


@pytest.mark.parametrize(
    ("option", "bad", "good"),
    [
        ("python.execution-mode", "thread", "process"),
        ("taskmanager.memory.managed.consumer-weights", "STATE_BACKEND:70", "STATE_BACKEND:70,PYTHON:30"),
        ("taskmanager.memory.managed.consumer-weights", "STATE_BACKEND:70,PYTHON:0", "OPERATOR:1,PYTHON:30"),
        ("table.exec.source.idle-timeout", "0 ms", "30 s"),
        ("execution.checkpointing.interval", "0", "10 s"),
        ("execution.checkpointing.storage", "jobmanager", "filesystem"),
        ("execution.state-recovery.ignore-unclaimed-state", "true", "false"),
    ],
)
def test_a_setting_that_stops_or_loses(option: str, bad: str, good: str) -> None:
    assert told(**{option: bad}) == [(f"setting '{option}'", True)]
    assert told(**{option: good}) == []


@pytest.mark.parametrize(
    ("more", "severe"),
    [
        (EXACT, [True]),
        (f"{EXACT}, '{TIMEOUT}' = '3600000'", [True]),
        (f"{EXACT}, '{TIMEOUT}' = '{BROKER_TRANSACTION_MS}'", []),
        (f"{EXACT}, '{TIMEOUT}' = '60000'", [False]),
        (f"{EXACT}, '{TIMEOUT}' = '9000'", [True]),
        (", 'sink.delivery-guarantee' = 'at-least-once'", []),
        ("", []),
    ],
)
def test_an_exactly_once_sink_needs_a_transaction_that_brokers_grant_and_checkpoints_fit(
    more: str, severe: list[bool]
) -> None:
    assert told(SINK.format(more), **FAST) == [(f"table o, option '{TIMEOUT}'", each) for each in severe]


def test_a_table_that_nothing_is_inserted_into_needs_none() -> None:
    assert told(SINK.format(EXACT).partition(";")[0], **FAST) == []


def model(more: str, provider: str = "river") -> str:
    return f"CREATE MODEL m INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = '{provider}', 'key' = 'k'{more})"


MALLOC = {"containerized.taskmanager.env.PYTHONMALLOC": "malloc"}


@pytest.mark.parametrize(
    ("more", "settings", "severe"),
    [
        (", 'state-ttl' = '7 d'", {}, [False]),  # Python's allocator
        (", 'state-ttl' = '7 d'", MALLOC, []),
        (", 'state-ttl' = '1 h', 'label-table' = 't', 'label-timeout' = '2 h'", MALLOC, [False]),
        (", 'state-ttl' = '1 h', 'label-table' = 't'", MALLOC, [False]),  # the timeout is a day
        (", 'state-ttl' = '5 min', 'revive' = 'snapshot'", MALLOC, [True]),
        (", 'state-ttl' = '1 h', 'revive' = 'snapshot', 'snapshot-every' = '1 min, on-drift'", MALLOC, []),
        ("", {"table.exec.state.ttl": "1 d"}, [False]),
        ("", {"table.exec.state.ttl": "0 ms"}, []),
    ],
)
def test_when_keys_are_forgotten(more: str, settings: dict[str, str], severe: list[bool]) -> None:
    assert [each for _, each in told(model(more), **settings)] == severe


def test_what_does_not_learn_forgets_nothing() -> None:
    assert told(model(", 'state-ttl' = '7 d'", "onnx")) == []
