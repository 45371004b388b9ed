"""Publishes the flights of the demo: two topics in Avro, the time of a record is its stream time."""

from __future__ import annotations

import signal
import time
from multiprocessing import get_context
from typing import Any

from thalweg.connector.client import open_client
from thalweg.connector.ddl import topic as topic_name
from thalweg.connector.errors import ThalwegError
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encoder
from thalweg.jobs.demo_flights import ARRIVALS, DEPARTURES, Flights

__all__ = ["RESULTS", "Publishing", "heartbeat", "make_topics"]

RESULTS = {name: topic_name("flights", name) for name in ("prediction", "metric", "snapshot", "alert", "dead_letter")}
"""Topic of each schema that the job writes."""

TOPICS = {"departures": DEPARTURES, "arrivals": ARRIVALS}
"""Columns of each topic that the job reads."""


def make_topics(brokers: str) -> None:
    """Create all topics of the demo."""
    create_topics(brokers, {name: {} for name in TOPICS})
    create_topics(brokers, {result: {"compact": name == "snapshot"} for name, result in RESULTS.items()})


class Publishing:
    """Sends departures and arrivals, each topic in the order of its time, each from a process of its own.

    Parameters
    ----------
    brokers : str
        ``host:port``.
    flights : Flights
        What to send.
    speedup : float or None
        How many times faster than in 2013; None: as fast as it goes.
    """

    def __init__(self, brokers: str, flights: Flights, speedup: float | None) -> None:
        spawn = get_context("spawn")
        self._sent = {topic: spawn.Value("q", 0) for topic in TOPICS}
        self._senders = [
            spawn.Process(target=_send, args=(brokers, flights, topic, speedup, time.monotonic(), sent), daemon=True)
            for topic, sent in self._sent.items()
        ]
        for sender in self._senders:
            sender.start()

    def sent(self) -> int:
        """Return the number of records so far."""
        return sum(int(sent.value) for sent in self._sent.values())

    def running(self) -> bool:
        """Return whether there is more to send.

        Raises
        ------
        ThalwegError
            A sender failed.
        """
        if any(sender.exitcode for sender in self._senders):
            raise ThalwegError("The records could not be published; what stopped it stands above.")
        return any(sender.is_alive() for sender in self._senders)

    def stop(self) -> None:
        """End it, wherever it is."""
        for sender in self._senders:
            sender.terminate()
            sender.join()


def _send(brokers: str, flights: Flights, topic: str, speedup: float | None, begun: float, sent: Any) -> None:
    """Send one topic; ``begun`` is when the first record of all was due, on the clock that all processes share."""
    from kafka import KafkaProducer

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the demo itself ends its senders
    encode = encoder(TOPICS[topic])
    first_ms = int(flights.departure_ms[0])
    with open_client(KafkaProducer, brokers, {}, linger_ms=50, batch_size=1 << 18) as producer:
        for count, (time_ms, row) in enumerate(flights.records(topic), 1):
            if speedup is not None:
                due = begun + (time_ms - first_ms) / 1000 / speedup
                time.sleep(max(0.0, due - time.monotonic()))
            producer.send(topic, encode(row), timestamp_ms=time_ms, partition=0)
            if count % 1000 == 0:
                sent.value = count
        producer.flush()
        sent.value = count


def heartbeat(brokers: str, time_ms: int) -> None:
    """Send a record without a value to both topics: it carries the time on, and nothing else."""
    from kafka import KafkaProducer

    with open_client(KafkaProducer, brokers, {}) as producer:
        for name in TOPICS:
            producer.send(name, None, key=b"heartbeat", timestamp_ms=time_ms)
        producer.flush()
