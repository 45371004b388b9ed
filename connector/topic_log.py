"""A Kafka topic that is read again and again: what is new in it, and single records by their place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError
from thalweg.connector.client import open_topic
from thalweg.connector.errors import SetupError

__all__ = ["TopicLog"]

_POLL_MS = 500
_PATIENCE_S = 60.0  # how long the broker may be silent before it is an error
_NEAR = 200  # records; the next one wanted is reached sooner by reading on than by another request
_BATCH_BYTES = 1 << 18


class TopicLog:
    """Reads a topic without a group, from the earliest record on.

    Parameters
    ----------
    brokers, topic : str
        Where to read.
    **security
        Settings of kafka-python; never part of an error's text.

    Raises
    ------
    SetupError
        No broker answered, or there is no such topic. So do all methods.
    """

    def __init__(self, brokers: str, topic: str, **security: Any) -> None:
        self._brokers, self._topic = brokers, topic
        with ExitStack() as opened:
            settings = {"max_partition_fetch_bytes": _BATCH_BYTES, "max_poll_records": 5000}
            self._consumer, self._partitions = opened.enter_context(open_topic(brokers, topic, security, **settings))
            self._positions: dict[TopicPartition, int] = dict(self._consumer.beginning_offsets(self._partitions))
            self._closing = opened.pop_all()

    def new(self) -> Iterator[Any]:
        """Yield kafka-python's records that have come since the last call, by partition; at first all there are."""
        try:
            ends = self._consumer.end_offsets(self._partitions)
            for partition in self._partitions:
                for record in self._between(partition, self._positions[partition], ends[partition]):
                    self._positions[partition] = record.offset + 1
                    yield record
                self._positions[partition] = max(self._positions[partition], ends[partition])
        except (KafkaError, OSError) as error:
            raise self._told(error) from None

    def skip(self, keep: int = 0) -> int:
        """Pass over what is there but for the last ``keep`` of each partition, and return how many offsets that was.

        What ``new`` has yielded already it does not yield again.
        """
        try:
            begins = self._consumer.beginning_offsets(self._partitions)
            ends = self._consumer.end_offsets(self._partitions)
        except (KafkaError, OSError) as error:
            raise self._told(error) from None
        passed = 0
        for partition, at in self._positions.items():
            self._positions[partition] = max(at, begins[partition], ends[partition] - keep)
            passed += self._positions[partition] - at
        return passed

    def all(self) -> Iterator[Any]:
        """Yield all records that are there, by partition; what ``new`` yields next is not changed by that."""
        try:
            begins = self._consumer.beginning_offsets(self._partitions)
            ends = self._consumer.end_offsets(self._partitions)
            for partition in self._partitions:
                yield from self._between(partition, begins[partition], ends[partition])
        except (KafkaError, OSError) as error:
            raise self._told(error) from None

    def at(self, places: Mapping[int, Sequence[int]]) -> Iterator[Any]:
        """Yield the records at some offsets of some partitions; those that compaction has removed are left out."""
        try:
            begins = self._consumer.beginning_offsets(self._partitions)
            ends = self._consumer.end_offsets(self._partitions)
            for partition in self._partitions:
                wanted = {at for at in places.get(partition.partition, ()) if begins[partition] <= at < ends[partition]}
                yield from self._picked(partition, sorted(wanted))
        except (KafkaError, OSError) as error:
            raise self._told(error) from None

    def close(self) -> None:
        """Let go of the broker."""
        self._closing.close()

    def _between(self, partition: TopicPartition, begin: int, end: int) -> Iterator[Any]:
        if begin >= end:
            return
        self._consumer.assign([partition])
        self._consumer.seek(partition, begin)
        for records, position in self._read(partition):
            for record in records:
                if record.offset < end:
                    yield record
            if position >= end:
                return

    def _picked(self, partition: TopicPartition, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the records at ascending offsets of one partition."""
        at = 0
        self._consumer.assign([partition])
        while at < len(wanted):
            self._consumer.seek(partition, wanted[at])
            for records, position in self._read(partition):
                for record in records:
                    while at < len(wanted) and wanted[at] < record.offset:
                        at += 1  # compaction has removed it
                    if at < len(wanted) and wanted[at] == record.offset:
                        yield record
                        at += 1
                while at < len(wanted) and wanted[at] < position:
                    at += 1
                if at == len(wanted) or wanted[at] - position > _NEAR:
                    break

    def _read(self, partition: TopicPartition) -> Iterator[tuple[Sequence[Any], int]]:
        """Yield records of a partition and the position after them, for ever; the broker's silence is an error.

        A position can go on without a record: past a transaction's mark, or past what compaction has removed.
        """
        heard, before = time.monotonic(), self._consumer.position(partition)
        while True:
            records = self._consumer.poll(timeout_ms=_POLL_MS).get(partition, ())
            position = self._consumer.position(partition)
            if records or position != before:
                yield records, position
                heard, before = time.monotonic(), position
            elif time.monotonic() - heard > _PATIENCE_S:
                raise SetupError(
                    f"The broker at {self._brokers} fell silent in the midst of '{self._topic}': check its log."
                )

    def _told(self, error: Exception) -> SetupError:
        # The text of the client may quote its settings: only the kind of error is safe to show.
        return SetupError(
            f"The Kafka broker at {self._brokers} cannot be used for '{self._topic}' ({type(error).__name__}). Check"
            " that it runs and is reachable from here."
        )
