"""Sends the records of dead letters back to where they came from, each once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from thalweg.connector.client import open_client
from thalweg.connector.dead_letters import REPLAYED_FROM, Choice, Letter, LetterTopic
from thalweg.connector.kafka import create_topics

__all__ = ["Plan", "plan_replay", "send_back"]

_BATCH = 200  # records of one transaction
_MAX_BYTES = 64 * 2**20  # of one record; a broker takes less, and then says so
_ACK_S = 60.0


@dataclass
class Plan:
    """What a replay would send.

    Attributes
    ----------
    places : dict of int to list of int
        Offsets of the letters to send, by partition of the dead-letter topic, ascending.
    into : Counter of str
        Records by the topic that they go to.
    skipped : Counter of str
        Letters that are not sent, by why.
    replayed : set of str
        Names of the records that had been sent back before.
    """

    places: dict[int, list[int]] = field(default_factory=dict)
    into: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    replayed: set[str] = field(default_factory=set)


def plan_replay(
    topic: LetterTopic, choice: Choice, *, to: str = "", again: str = "never", limit: int | None = None
) -> Plan:
    """Return what ``send_back`` has to send; of a record that was refused more than once, its newest letter.

    Parameters
    ----------
    topic : LetterTopic
        Where the letters are.
    choice : Choice
        Which of them are meant.
    to : str
        Topic that all go to; by default each goes to its own.
    again : str
        ``never``: what was sent back is not sent again. ``refused``: it is where it was refused again. ``always``.
    limit : int, optional
        Send at most so many, those that were written first.

    Raises
    ------
    SetupError
        No broker answered, or there is no such topic.
    """
    replayed, there = topic.replayed(), topic.topics()
    newest: dict[str, tuple[int, int, int, str]] = {}
    copies: set[str] = set()
    plan = Plan(replayed=replayed)
    for letter in topic.letters():
        if not choice.takes(letter):
            continue
        target = to or letter.record["topic"]
        if not letter.is_whole:
            plan.skipped["of an example that a model refused: there is no record of a topic to send"] += 1
        elif target not in there or target in (topic.topic, topic.marks):
            plan.skipped[f"topic '{target}' is not there, or is that of the letters"] += 1
        else:
            if letter.root in newest:
                plan.skipped["an older letter of the same record"] += 1
            newest[letter.root] = (letter.written_ms, letter.partition, letter.offset, target)
            if letter.is_copy:
                copies.add(letter.root)
    for root, (_, partition, offset, target) in sorted(newest.items(), key=lambda item: item[1][:3]):
        if root in replayed and not (again == "always" or (again == "refused" and root in copies)):
            plan.skipped["replayed before, and refused again" if root in copies else "replayed before"] += 1
        elif limit is not None and plan.into.total() >= limit:
            plan.skipped["beyond the limit"] += 1
        else:
            plan.places.setdefault(partition, []).append(offset)
            plan.into[target] += 1
    for offsets in plan.places.values():
        offsets.sort()
    return plan


def send_back(
    topic: LetterTopic,
    plan: Plan,
    *,
    to: str = "",
    now: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[int]:
    """Send what is planned, and yield after each transaction how many records have been sent since it was planned.

    A record goes out with its value, key, time and headers, and with the header ``REPLAYED_FROM``, into the partition
    that it came from. That it was sent is remembered in the same transaction: a replay that is cut off goes on where it
    was, and sends nothing twice to readers of committed records.

    Parameters
    ----------
    topic, plan :
        Where the letters are, and which of them to send.
    to : str
        As in ``plan_replay``; then Kafka chooses the partition.
    now : bool
        Give the records the present time instead of their own.
    stopped : callable
        Asked after each record; when it says so, the open transaction is completed and nothing else is sent.

    Raises
    ------
    SetupError
        No broker answered, or it refused a record; what was yielded is sent and remembered.
    """
    create_topics(topic.brokers, {topic.marks: {"compact": True}}, **topic.security)
    # One name for all replays of a topic: who begins later ends the transactions of who is still at it.
    settings = {"transactional_id": f"thalweg-replay-{topic.topic}", "max_request_size": _MAX_BYTES, "linger_ms": 5}
    sent = 0
    with (
        closing(topic.letters(plan.places)) as letters,
        open_client(KafkaProducer, topic.brokers, topic.security, **settings) as producer,
    ):
        producer.init_transactions()
        # Only now it is certain what a replay that was cut off, or is still running elsewhere, has sent.
        meanwhile = topic.replayed() - plan.replayed
        more = True
        while more:
            futures: list[Any] = []
            producer.begin_transaction()
            try:
                while len(futures) < 2 * _BATCH and (more := not stopped()):
                    letter = next(letters, None)
                    if letter is None:
                        more = False
                        break
                    if letter.root in meanwhile:
                        sent += 1
                    else:
                        futures += _send(producer, topic.marks, letter, to, now)
                for future in futures:
                    future.get(timeout=_ACK_S)
                producer.commit_transaction()
            except BaseException:
                producer.abort_transaction()
                raise
            sent += len(futures) // 2
            yield sent


def _send(producer: Any, marks: str, letter: Letter, to: str, now: bool) -> list[Any]:
    """Send one record and the mark that it was sent."""
    record, root = letter.record, letter.root.encode()
    target, sent_ms = to or record["topic"], int(time.time() * 1000)
    partition = None
    if not to and record["partition"] in (producer.partitions_for(target) or ()):
        partition = record["partition"]
    # kafka-python sends no header without a value: it goes out with an empty one.
    own = [(name, value or b"") for name, value in (record["headers"] or {}).items() if name != REPLAYED_FROM]
    time_ms = sent_ms if now or record["record_time_ms"] < 0 else record["record_time_ms"]
    note = json.dumps({"letter": letter.id, "sent_ms": sent_ms, "to": target}, sort_keys=True)
    return [
        producer.send(
            target,
            record["payload"],
            key=record["key"],
            headers=[*own, (REPLAYED_FROM, root)],
            partition=partition,
            timestamp_ms=time_ms,
        ),
        producer.send(marks, note.encode(), key=root),
    ]
