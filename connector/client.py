"""The ways to touch kafka-python 3: open a client with its errors told as ours, open a topic, read it up to now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError
from thalweg.connector.errors import SetupError
from thalweg.connector.kafka_security import client_settings
from thalweg.connector.probe import AccessError, check_access, plain_hint
from thalweg.connector.redaction import guard_logs

__all__ = ["open_client", "open_topic", "raw_records"]

_CONNECT_MS = 10_000
_POLL_MS = 500
_SILENCE_S = 60.0


@contextmanager
def open_topic(
    brokers: str, topic: str, security: Mapping[str, Any], **settings: Any
) -> Iterator[tuple[Any, list[TopicPartition]]]:
    """Open a consumer without a group for a topic that exists, and give it with the topic's partitions."""
    reading = {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
        **settings,
    }
    with open_client(KafkaConsumer, brokers, security, **reading) as consumer:
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            raise SetupError(f"The broker at {brokers} has no topic '{topic}': create it first, or check the name.")
        yield consumer, [TopicPartition(topic, number) for number in sorted(numbers)]


def raw_records(
    brokers: str, topic: str, security: Mapping[str, Any], share: tuple[int, int] = (0, 1)
) -> Iterator[Any]:
    """Yield kafka-python's records of all partitions up to the ends at the start; ``share`` as in ``read_topic``."""
    with open_topic(brokers, topic, security) as (consumer, partitions):
        consumer.assign(partitions)
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        part, parts = share
        for partition in partitions:
            begin, count = begins[partition], ends[partition] - begins[partition]
            consumer.seek(partition, begin + count * part // parts)
            ends[partition] = begin + count * (part + 1) // parts
        heard = time.monotonic()
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            polled = consumer.poll(timeout_ms=_POLL_MS)
            if not polled and time.monotonic() - heard > _SILENCE_S:
                raise SetupError(f"The broker at {brokers} fell silent in the midst of '{topic}': check its log.")
            for partition, records in polled.items():
                yield from (record for record in records if record.offset < ends[partition])
            if polled:  # after the yields: the time that the caller took is not the broker's silence
                heard = time.monotonic()


@contextmanager
def open_client(kind: Any, brokers: str, security: Mapping[str, Any], **settings: Any) -> Iterator[Any]:
    """Open a client of kafka-python, close it, and tell its errors as ours, without any secret.

    ``security`` has Kafka's own names, or kafka-python's: see ``kafka_security.client_settings``.
    """
    secured = client_settings(security)
    servers = [server.strip() for server in brokers.split(",")]
    check_access(servers, secured)
    settings = {"bootstrap_timeout_ms": _CONNECT_MS, **settings, **secured}
    for package in ("kafka", "thalweg"):  # each time: a logger is made when its module is imported
        guard_logs(package)
    opened = False
    try:
        with closing(kind(bootstrap_servers=servers, **settings)) as client:
            opened = True
            yield client
    except SaslAuthenticationFailedError:  # a password that was changed while the client was open
        raise AccessError(
            f"The Kafka broker at {brokers} refuses the login. Check user name and password in 'sasl.jaas.config'."
        ) from None
    except AuthorizationError as error:
        raise AccessError(
            f"The Kafka broker at {brokers} does not allow this ({type(error).__name__}). "
            "Give the user the right to it (kafka-acls.sh), or log in as another one."
        ) from None
    except (KafkaError, OSError) as error:
        hint = "" if opened or "security_protocol" in secured else plain_hint(servers)
        # The text of the client may quote its settings: only the kind of error is safe to show.
        raise SetupError(
            f"The Kafka broker at {brokers} cannot be used ({type(error).__name__}). "
            f"Check that it runs, that the address is right and reachable from here, and the security settings.{hint}"
        ) from None
