"""The letters of a dead-letter topic: where each refused record came from, and which of them were sent back already."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from thalweg.connector.client import open_client
from thalweg.connector.errors import WireError
from thalweg.connector.topic_log import TopicLog
from thalweg.connector.wire import decode

__all__ = ["REPLAYED_FROM", "Choice", "Letter", "LetterTopic"]

REPLAYED_FROM = "thalweg-replayed-from"
"""Header of a record that was sent back: the name of the record that it is a copy of."""

_MARKS = ".replayed"


class Letter(NamedTuple):
    """One dead letter.

    Attributes
    ----------
    partition, offset : int
        Where it lies in the dead-letter topic.
    written_ms : int
        When it was written, epoch ms.
    record : dict
        Of the schema ``dead_letter``.
    """

    partition: int
    offset: int
    written_ms: int
    record: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Return what names the letter in its topic: partition and offset."""
        return f"{self.partition}-{self.offset}"

    @property
    def root(self) -> str:
        """Return what names the record that was refused first: a copy of it that is refused again has the same."""
        marked = (self.record["headers"] or {}).get(REPLAYED_FROM)
        if marked is not None:
            return str(marked.decode(errors="replace"))
        return "/".join(str(self.record[part]) for part in ("topic", "partition", "offset", "record_time_ms"))

    @property
    def is_copy(self) -> bool:
        """Tell whether the refused record had been sent back before."""
        return REPLAYED_FROM in (self.record["headers"] or {})

    @property
    def is_whole(self) -> bool:
        """Tell whether the letter has a record as it came from a topic; a refused example has the row's text only."""
        return self.record["partition"] >= 0 and self.record["offset"] >= 0 and self.record["payload"] is not None

    @property
    def kind(self) -> str:
        """Return the reason with its numbers left out, so that letters of one cause can be counted.

        Examples
        --------
        >>> Letter(0, 7, 0, {"reason": "it ends too early (12 bytes)."}).kind
        'it ends too early (# bytes).'
        """
        return re.sub(r"-?\d+(?:\.\d+)?", "#", self.record["reason"])


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; what is empty leaves all in.

    Parameters
    ----------
    reason, model, origin : str
        Text within the reason (in any case), name of the model, topic that the record came from.
    since_ms : int
        Letters written then or later, epoch ms.
    ids : collection of str
        Letters by their names.
    """

    reason: str = ""
    model: str = ""
    origin: str = ""
    since_ms: int = 0
    ids: Collection[str] = ()

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        record = letter.record
        return (
            (not self.ids or letter.id in self.ids)
            and letter.written_ms >= self.since_ms
            and self.model in ("", record["model"])
            and self.origin in ("", record["topic"])
            and self.reason.lower() in record["reason"].lower()
        )


class LetterTopic:
    """A dead-letter topic, with the topic beside it that remembers what was sent back.

    Parameters
    ----------
    brokers, topic : str
        Where to read.
    report : callable
        Takes one sentence about each record that is no dead letter.
    **security
        Settings of kafka-python; never part of an error's text.
    """

    def __init__(self, brokers: str, topic: str, report: Callable[[str], None], **security: Any) -> None:
        self.brokers, self.topic, self.security = brokers, topic, security
        self.marks = topic + _MARKS
        self._report = report

    def letters(self, places: Mapping[int, list[int]] | None = None) -> Generator[Letter, None, None]:
        """Yield the letters that are there, by partition; with ``places`` those at these offsets only.

        Raises
        ------
        SetupError
            No broker answered, or there is no such topic.
        """
        with closing(TopicLog(self.brokers, self.topic, **self.security)) as log:
            for raw in log.all() if places is None else log.at(places):
                if raw.value is None:
                    continue
                try:
                    yield Letter(raw.partition, raw.offset, raw.timestamp, decode("dead_letter", raw.value))
                except WireError as error:
                    self._report(f"{self.topic}-{raw.partition} at offset {raw.offset} is passed over: {error}")

    def replayed(self) -> set[str]:
        """Return the names of the records that were sent back."""
        if self.marks not in self.topics():
            return set()
        with closing(TopicLog(self.brokers, self.marks, **self.security)) as log:
            return {raw.key.decode(errors="replace") for raw in log.all() if raw.key is not None}

    def topics(self) -> set[str]:
        """Return the names of all topics there are."""
        with open_client(KafkaAdminClient, self.brokers, self.security) as admin:
            return set(admin.list_topics())
