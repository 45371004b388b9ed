"""Alerts sent from outside a Flink sink: by the thread of a function, by a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import KafkaProducer
from thalweg.connector.client import open_client
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encode

__all__ = ["send_alert"]

_ACK_S = 30.0


def send_alert(
    brokers: str,
    topic: str,
    security: Mapping[str, Any],
    *,
    model: str,
    alert: str,
    reason: str,
    event_time_ms: int,
    severity: str = "warning",
    value: float = 0.0,
    threshold: float = 0.0,
    count: int = 0,
) -> None:
    """Send one raised alert and return once the broker has it; the topic is made where it is missing.

    Parameters
    ----------
    brokers, topic : str
        Where to.
    security : mapping
        Settings of kafka-python.
    model, alert, reason, event_time_ms, severity, value, threshold, count
        As in the schema ``alert``.

    Raises
    ------
    SetupError
        No broker answered, or it refused.
    """
    record = {
        "model": model, "alert": alert, "severity": severity, "state": "raised", "value": value,
        "threshold": threshold, "count": count, "event_time_ms": event_time_ms, "reason": reason,
    }  # fmt: skip
    create_topics(brokers, {topic: {}}, **security)
    with open_client(KafkaProducer, brokers, security, linger_ms=0) as producer:
        producer.send(topic, encode("alert", record), key=model.encode()).get(timeout=_ACK_S)
