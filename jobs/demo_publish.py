"""Publishes the flights of the demo: two topics in Avro, the time of a record is its stream time."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from thalweg.connector.client import open_client
from thalweg.connector.ddl import topic
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encoder
from thalweg.jobs.demo_flights import ARRIVALS, DEPARTURES, Flights

__all__ = ["RESULTS", "heartbeat", "make_topics", "publish"]

RESULTS = {name: topic("flights", name) for name in ("prediction", "metric", "snapshot", "alert", "dead_letter")}
"""Topic of each schema that the job writes."""


def make_topics(brokers: str) -> None:
    """Create all topics of the demo."""
    create_topics(brokers, {name: {} for name in ("departures", "arrivals")})
    create_topics(brokers, {result: {"compact": name == "snapshot"} for name, result in RESULTS.items()})


def publish(brokers: str, flights: Flights, speedup: float | None, stop: Event, progress: Callable[[int], None]) -> int:
    """Send departures and arrivals in the order of their time, and return how many records.

    Parameters
    ----------
    brokers : str
        ``host:port``.
    flights : Flights
        What to send.
    speedup : float or None
        How many times faster than in 2013; None: as fast as it goes.
    stop : Event
        Ends it early.
    progress : callable
        Told the number of records so far, now and then.
    """
    from kafka import KafkaProducer

    encode = {"departures": encoder(DEPARTURES), "arrivals": encoder(ARRIVALS)}
    sent, first_ms, begun = 0, 0, time.monotonic()
    with open_client(KafkaProducer, brokers, {}, linger_ms=50, batch_size=1 << 18) as producer:
        for name, time_ms, row in flights.records():
            if speedup is not None:
                first_ms = first_ms or time_ms
                if (ahead := (time_ms - first_ms) / 1000 / speedup - (time.monotonic() - begun)) > 0.02:
                    stop.wait(ahead)
            if stop.is_set():
                break
            producer.send(name, encode[name](row), timestamp_ms=time_ms)
            sent += 1
            if sent % 5000 == 0:
                progress(sent)
        producer.flush()
    progress(sent)
    return sent


def heartbeat(brokers: str, time_ms: int) -> None:
    """Send a record without a value to both topics: it carries the time on, and nothing else."""
    from kafka import KafkaProducer

    with open_client(KafkaProducer, brokers, {}) as producer:
        for name in ("departures", "arrivals"):
            producer.send(name, None, key=b"heartbeat", timestamp_ms=time_ms)
        producer.flush()
