"""Changes of a topic that read it first: one writer at a time, and all of a change or nothing of it.

Kafka's own transactions do both. All writers of a topic share one transactional id, so that whoever begins puts an end
to whoever was at it: the one that was overtaken learns it when it commits, nothing of its change is ever seen, and it
begins anew with what is there by then. In a compacted topic nothing less will do: of two records with the same key the
last one stays, so that a number taken twice would be a model lost. See KIP-98, "zombie fencing".
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from kafka import KafkaProducer
from kafka.errors import InvalidProducerEpochError, KafkaError, ProducerFencedError
from thalweg.connector.client import open_client
from thalweg.connector.errors import SetupError
from thalweg.connector.snapshot import Snapshot, split
from thalweg.connector.wire import encode

__all__ = ["Change", "change_alone"]

_ACK_S = 60.0
_ATTEMPTS = 15
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_OPEN_MS = 300_000  # a file of 64 MB over a slow line; a dead writer's change ends with the next writer anyway
_Result = TypeVar("_Result")


class Change:
    """What a change of a topic sends; seen by readers once all of it is there.

    Parameters
    ----------
    producer : KafkaProducer
        In a transaction.
    topic : str
        The topic.
    limit : int
        Largest blob, in bytes.
    """

    def __init__(self, producer: Any, topic: str, limit: int) -> None:
        self._producer, self._topic, self._limit = producer, topic, limit
        self._sent: list[Any] = []

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot; raises SnapshotError if it is too large, or a field does not fit."""
        for record in split(snapshot, max_snapshot_bytes=self._limit):
            self._send(record["snapshot_key"], encode("snapshot", record))

    def bury(self, snapshot: Snapshot) -> None:
        """Send a tombstone for each key that the records of a snapshot may have, in either slot; the manifest first."""
        slots = (split(snapshot, slot=slot, max_snapshot_bytes=self._limit) for slot in (0, 1))
        for key in dict.fromkeys(record["snapshot_key"] for records in slots for record in reversed(records)):
            self._send(key, None)

    def _send(self, key: str, value: bytes | None) -> None:
        self._sent.append(self._producer.send(self._topic, value, key=key.encode()))

    def wait(self) -> None:
        """Return once the broker has all that was sent."""
        for future in self._sent:
            future.get(timeout=_ACK_S)


def change_alone(
    brokers: str, topic: str, security: Mapping[str, Any], limit: int, work: Callable[[Change], _Result]
) -> _Result:
    """Return what ``work`` returns, once the topic has all that it sent.

    Parameters
    ----------
    brokers, topic : str
        Where.
    security : mapping
        Settings of kafka-python; who publishes needs the right to write with the transactional id ``thalweg.<topic>``.
    limit : int
        Largest blob, in bytes.
    work : callable
        Reads the topic and sends; run again from the start when another writer was faster.

    Raises
    ------
    SetupError
        No broker answered, it refused, or others go on writing all the time.
    Exception
        Whatever ``work`` raises; then nothing of what it sent is ever seen.
    """
    settings = {"transactional_id": f"thalweg.{topic}", "transaction_timeout_ms": _OPEN_MS, "linger_ms": 0}
    for attempt in range(_ATTEMPTS):
        with open_client(KafkaProducer, brokers, security, **settings) as producer:
            _begin(producer, brokers, str(settings["transactional_id"]))
            change = Change(producer, topic, limit)
            try:
                result = work(change)
                change.wait()
                _in_time(producer.commit_transaction, producer)
                return result
            except BaseException as error:
                if not _overtaken(error):
                    with suppress(KafkaError, SetupError):
                        _in_time(producer.abort_transaction, producer)
                    raise
        time.sleep(min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S) * (secrets.randbelow(1000) / 1000))
    raise SetupError(f"Others write to topic '{topic}' at {brokers} all the time: try it again when they are done.")


def _begin(producer: Any, brokers: str, name: str) -> None:
    try:
        producer.init_transactions()
    except KafkaError as error:
        raise SetupError(
            f"The broker at {brokers} begins no transaction ({type(error).__name__}): whoever publishes needs the "
            f"right to write with the transactional id '{name}', and a cluster of fewer than three brokers a lower "
            "transaction.state.log.replication.factor."
        ) from None
    producer.begin_transaction()


def _overtaken(error: BaseException) -> bool:
    if isinstance(error, (ProducerFencedError, InvalidProducerEpochError)):
        return True
    # What is sent after the broker's answer is refused by the client, which quotes that answer.
    return isinstance(error, KafkaError) and ProducerFencedError.__name__ in str(error)


def _in_time(end: Callable[[], None], producer: Any) -> None:
    """End the transaction; kafka-python would wait for a broker that is gone for ever."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            end()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_ACK_S)
    if thread.is_alive():
        producer.close(timeout=0)
        raise SetupError(
            f"The broker did not answer for {_ACK_S:g} s at the end of a change: 'thalweg models list' tells whether "
            "it has taken it."
        )
    if raised:
        raise raised[0]
