"""Kafka for tools and warm starts: topics made, records read up to now, snapshots published and found again.

A thin layer over kafka-python 3. Nothing here uses a consumer group: every reader sees every record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import TopicAlreadyExistsError
from thalweg.connector.client import open_client, open_topic, raw_records
from thalweg.connector.errors import ConfigError, Problem, SetupError, SignatureError, SnapshotError, WireError
from thalweg.connector.probe import AccessError
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import MAX_SNAPSHOT_BYTES, Parts, Snapshot, assemble, is_manifest, split
from thalweg.connector.wire import decode, encode

__all__ = ["SnapshotTopic", "count_records", "create_topics", "read_topic", "wait_for_broker"]

_log = logging.getLogger(__name__)
_ACK_S = 60.0
_PAUSE_S = 0.2
_TOPIC_OPTIONS = {"partitions", "compact", "replication", "max_message_bytes", "retention_ms"}


def wait_for_broker(brokers: str, timeout_s: float = 30.0, **security: Any) -> None:
    """Return once a broker answers.

    Parameters
    ----------
    brokers : str
        ``host:port``, comma separated.
    timeout_s : float
        How long to wait, in seconds.
    **security
        Settings of kafka-python such as ``security_protocol``; never part of an error's text.

    Raises
    ------
    SetupError
        Nobody answered in time.
    """
    end = time.monotonic() + timeout_s
    while True:
        left_s = max(0.1, end - time.monotonic())
        try:
            with open_client(KafkaAdminClient, brokers, security, bootstrap_timeout_ms=int(left_s * 1000)):
                return
        except SetupError as error:
            if isinstance(error, AccessError) or time.monotonic() + _PAUSE_S >= end:
                raise
            time.sleep(_PAUSE_S)


def create_topics(brokers: str, topics: Mapping[str, Mapping[str, Any]], **security: Any) -> None:
    """Make the topics that do not exist yet; those that exist stay as they are.

    Parameters
    ----------
    brokers : str
        ``host:port``, comma separated.
    topics : mapping
        Per topic name a mapping with any of ``partitions`` (int, 1), ``compact`` (bool, False), ``replication`` (int,
        the broker's default), ``max_message_bytes`` (int, bytes) and ``retention_ms`` (int, ms).
    **security
        Settings of kafka-python; never part of an error's text.

    Raises
    ------
    ConfigError
        Lists all unknown options.
    SetupError
        No broker answered, or it refused.
    """
    problems = [
        Problem(
            f"topic '{name}', option '{option}'", "unknown option.", f"There are {', '.join(sorted(_TOPIC_OPTIONS))}."
        )
        for name, options in topics.items()
        for option in options
        if option not in _TOPIC_OPTIONS
    ]
    if problems:
        raise ConfigError(problems)
    with open_client(KafkaAdminClient, brokers, security) as admin:
        wanted = {name: _creation(options) for name, options in topics.items()}
        for name in wanted.keys() - set(admin.list_topics()):
            try:
                admin.create_topics({name: wanted[name]}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                continue  # somebody else was faster


def read_topic(
    brokers: str, topic: str, schema: str, share: tuple[int, int] = (0, 1), **security: Any
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield all records of a topic, from the earliest to the last one that was there at the call.

    Parameters
    ----------
    brokers, topic : str
        Where to read.
    schema : str
        Name of the records' schema, one of ``wire.SCHEMAS``.
    share : (int, int)
        (i, n): the i-th of n equal shares of each partition, for n readers side by side; by default all.
    **security
        Settings of kafka-python; never part of an error's text.

    Yields
    ------
    tuple of dict and kafka record
        The decoded record, and kafka-python's (``key``, ``partition``, ``offset``, ``timestamp``, ``headers``).
        Tombstones are passed over. In order per partition.

    Raises
    ------
    SetupError
        No broker answered, there is no such topic, or the broker fell silent.
    WireError
        A record is not of the schema; names the topic, partition and offset.
    """
    for record in raw_records(brokers, topic, security, share):
        if record.value is not None:
            try:
                decoded = decode(schema, record.value)
            except WireError as error:
                raise WireError(f"{topic}-{record.partition} at offset {record.offset}: {error}") from error
            yield decoded, record


def count_records(brokers: str, topic: str, **security: Any) -> int:
    """Return how many records a topic that is not compacted holds, reading none of them.

    Parameters
    ----------
    brokers, topic : str
        Where to look.
    **security
        Settings of kafka-python; never part of an error's text.

    Raises
    ------
    SetupError
        No broker answered, or there is no such topic.
    """
    with open_topic(brokers, topic, security) as (consumer, partitions):
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return sum(ends[partition] - begins[partition] for partition in partitions)


class SnapshotTopic:
    """The topic that models are published to.

    Parameters
    ----------
    brokers : str
        ``host:port``, comma separated.
    topic : str
        The topic; compacted, so that the newest snapshot of each model key stays.
    report : callable, optional
        Takes one sentence about each snapshot that was passed over; by default it is logged as a warning.
    max_snapshot_bytes : int
        Largest blob to publish or to accept, in bytes.
    trust : Trust, optional
        Whose signatures are believed; what others have sent is reported and passed over.
    **security
        Settings of kafka-python such as ``security_protocol``; in no text that this class gives.

    Attributes
    ----------
    refused : set of (model, key)
        Of which the last read found something that ``trust`` refuses.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        *,
        report: Callable[[str], None] = _log.warning,
        max_snapshot_bytes: int = MAX_SNAPSHOT_BYTES,
        trust: Trust | None = None,
        **security: Any,
    ) -> None:
        self._brokers, self._topic, self._security = brokers, topic, security
        self._report, self._limit, self._trust = report, max_snapshot_bytes, trust
        self.refused: set[tuple[str, str]] = set()
        self._slots: dict[tuple[str, str], int] = {}

    def __repr__(self) -> str:
        return f"SnapshotTopic({self._brokers!r}, {self._topic!r})"

    def latest(self) -> dict[tuple[str, str], Snapshot]:
        """Return the newest whole snapshot of each (model, key).

        Incomplete and damaged ones are reported and passed over, for an older whole one where the topic has it.

        Raises
        ------
        SetupError
            No broker answered, there is no such topic, or the broker fell silent.
        """
        found: dict[tuple[str, str], tuple[tuple[int, int], Snapshot]] = {}
        for offset, snapshot in self._snapshots(None):
            name = (snapshot.model, snapshot.key)
            # Manifests of one model key share a partition, so their offsets tell their order. A pointer is counted: an
            # old one that was signed and is sent again does not become the newest.
            counted = snapshot.version if self._trust is not None and snapshot.kind == "serving" else 0
            if name not in found or (counted, offset) > found[name][0]:
                found[name] = ((counted, offset), snapshot)
        return {name: snapshot for name, (_, snapshot) in found.items()}

    def history(self, model: str, key: str = "") -> list[Snapshot]:
        """Return the whole snapshots of one model key that the topic still has, oldest first.

        Raises
        ------
        SetupError
            No broker answered, there is no such topic, or the broker fell silent.
        """
        found = sorted(self._snapshots((model, key)), key=lambda pair: pair[0])
        return [snapshot for _, snapshot in found]

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot and return once the broker has all of it; its manifest goes last.

        Raises
        ------
        SnapshotError
            It is too large, or a field does not fit.
        SetupError
            No broker answered, or it refused.
        """
        records = split(snapshot, max_snapshot_bytes=self._limit)
        if len(records) > 1:
            slot = self._next_slot(snapshot)
            records = split(snapshot, slot=slot, max_snapshot_bytes=self._limit)
            self._slots[snapshot.model, snapshot.key] = slot
        values = [(record["snapshot_key"].encode(), encode("snapshot", record)) for record in records]
        with open_client(KafkaProducer, self._brokers, self._security, linger_ms=0) as producer:
            sent = [producer.send(self._topic, value, key=key) for key, value in values[:-1]]
            for future in sent:  # a manifest without its parts would hide the snapshot before it from a compacted topic
                future.get(timeout=_ACK_S)
            producer.send(self._topic, values[-1][1], key=values[-1][0]).get(timeout=_ACK_S)

    def _next_slot(self, snapshot: Snapshot) -> int:
        """Return the slot that the newest snapshot in the topic does not use."""
        name = (snapshot.model, snapshot.key)
        if name in self._slots:
            return 1 - self._slots[name]
        taken: dict[str, int] = {}
        newest = ""
        for record, _ in self._records(name):
            if is_manifest(record):
                newest = record["sha256"]
            else:
                taken[record["sha256"]] = int(record["snapshot_key"].rsplit("/", 1)[-1].startswith("1-"))
        return 1 - taken.get(newest, 1)

    def _records(self, name: tuple[str, str] | None) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield the decoded records of one (model, key), or of all; report what is no snapshot record."""
        for raw in raw_records(self._brokers, self._topic, self._security):
            if raw.value is None:
                continue
            try:
                record = decode("snapshot", raw.value)
            except WireError as error:
                self._report(f"{self._topic}-{raw.partition} at offset {raw.offset} is passed over: {error}")
                continue
            if name is None or name == (record["model"], record["key"]):
                yield record, raw

    def _snapshots(self, name: tuple[str, str] | None) -> Iterator[tuple[int, Snapshot]]:
        """Yield (offset of the manifest, snapshot) as they become whole; report those that never do."""
        collected = Parts()
        whole: dict[tuple[str, str], int] = {}
        self.refused = set()
        for record, raw in self._records(name):
            parts = collected.add(record, raw)
            if not parts:
                continue
            manifest = parts.get(record["chunks"] - 1, (record, raw))[1]
            try:
                each = (part for part, _ in parts.values())
                snapshot = assemble(each, max_snapshot_bytes=self._limit, trust=self._trust)
            except SnapshotError as error:
                if isinstance(error, SignatureError):
                    self.refused.add((record["model"], record["key"]))
                self._report(f"{self._topic}-{manifest.partition} at offset {manifest.offset} is passed over: {error}")
                continue
            whole[snapshot.model, snapshot.key] = max(manifest.timestamp, whole.get((snapshot.model, snapshot.key), 0))
            yield manifest.offset, snapshot
        for (model, key, version, _, chunks), parts in collected.waiting.items():
            # Parts older than a whole snapshot are what compaction leaves of the one before it.
            if max(raw.timestamp for _, raw in parts.values()) >= whole.get((model, key), 0):
                what = f"version {version} is passed over: {len(parts)} of {chunks} parts are there."
                self._report(f"Snapshot of model '{model}', key '{key}': {what}")


def _creation(options: Mapping[str, Any]) -> dict[str, Any]:
    configs = {"cleanup.policy": "compact"} if options.get("compact") else {}
    if "max_message_bytes" in options:
        configs["max.message.bytes"] = str(options["max_message_bytes"])
    if "retention_ms" in options:
        configs["retention.ms"] = str(options["retention_ms"])
    return {
        "num_partitions": options.get("partitions", 1),
        "replication_factor": options.get("replication", -1),
        "configs": configs,
    }
