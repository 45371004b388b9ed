"""The option 'warm-start' is read whole, and 'revive' is held against what it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.warm_source import WarmSource, parse_warm_source

TOPIC = "delay.snapshots?brokers=b:9092"
REVIVING = {"warm-start": TOPIC, "state-ttl": "1 h", "snapshot-every": "10 min", "revive": "snapshot"}


def declared(options: dict[str, str]) -> Declaration:
    head = {"provider": "river", "model": "linear_model.LogisticRegression()", "input-table": "events"}
    chosen = {**head, "event-id": "id", "label": "y", "key": "k", **options}
    return declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], chosen, (), True)


def test_files_and_topics_are_told_apart() -> None:
    for path in ("/models/delay.avro", "file:///models/delay.avro", "delay.avro", "delay.onnx"):
        assert parse_warm_source(path) == WarmSource(path, True)
    text = "delay.snapshots?brokers=a:1,b:2&model=delay&kafka-config=/etc/kafka%20client"
    expected = WarmSource("delay.snapshots", False, "a:1,b:2", "delay", "/etc/kafka client")
    assert parse_warm_source(text) == expected
    assert declared({"warm-start": text}).warm_start == expected
    assert (declared({}).warm_start, declared({}).revive) == (None, "never")
    assert declared(REVIVING).revive == "snapshot"
    assert declared({**REVIVING, "snapshot-every": "1 events"}).revive == "snapshot"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"warm-start": "delay.snapshots"}, r"'warm-start'.*does not say where.*\?brokers=host:9092"),
        ({"warm-start": "t?brokers="}, "does not say where"),
        ({"warm-start": "?brokers=b:1"}, "neither a file nor a topic"),
        ({"warm-start": "t?broker=b:1"}, "Did you mean 'brokers'"),
        ({"warm-start": "/m.avro?brokers=b:1"}, "takes no 'brokers'"),
        ({**REVIVING, "warm-start": "/m.avro"}, "'revive'.*no later snapshots.*this job's snapshots"),
        ({**REVIVING, "warm-start": f"{TOPIC}&model=other"}, "'revive'.*not this model's.*Remove"),
        ({"revive": "snapshot"}, "'revive'.*without 'warm-start'"),
        ({"replay": "score"}, "'replay'.*without 'warm-start'"),
        ({"revive": "snapshot", "warm-start": TOPIC}, "'revive'.*without 'state-ttl'"),
        ({**REVIVING, "snapshot-every": "100 events"}, "'revive'.*before its last snapshot is in Kafka"),
        ({**REVIVING, "snapshot-every": "1 h"}, "'revive'.*before its last snapshot is in Kafka"),
        ({**REVIVING, "revive": "always"}, "'always' is not one of never, snapshot"),
    ],
)
def test_what_is_wrong_with_a_warm_start_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared(options)
    problems = [str(problem) for problem in caught.value.problems]
    assert any(re.search(says, problem) for problem in problems), problems
    assert all(problem.startswith("model m, option") for problem in problems)
