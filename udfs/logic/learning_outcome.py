"""What a block of rows, or the passing of time, gives rise to: answers, models to publish, refusals, decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from thalweg.udfs.engines.base import Score

__all__ = ["Alert", "Answers", "Decision", "Outcome", "Published", "Refusal"]


class Answers:
    """Predictions, column by column, in the order of the rows.

    Named as in the wire contract, and one more: ``truth``, the label where it came with the event.
    """

    COLUMNS = (
        "event_id", "key", "event_time_ms", "score", "label", "probabilities", "status", "reason", "learned", "truth",
    )  # fmt: skip

    def __init__(self) -> None:
        self.columns: tuple[list[Any], ...] = tuple([] for _ in self.COLUMNS)

    def add(self, event_id: str, key: str, event_ms: int, score: Score, learned: int, truth: Any) -> None:
        """Append one prediction; ``truth`` is the label where it came with the event."""
        ids, keys, times, scores, labels, probabilities, statuses, reasons, counts, truths = self.columns
        ids.append(event_id)
        keys.append(key)
        times.append(event_ms)
        scores.append(score[0])
        labels.append(score[1])
        probabilities.append(score[2])
        statuses.append(score[3])
        reasons.append(score[4])
        counts.append(learned)
        if truth is True or truth is False:  # JSON of it, at a tenth of the time
            truths.append("true" if truth else "false")
        else:
            truths.append(None if truth is None else truth if isinstance(truth, str) else json.dumps(truth))


class Published(NamedTuple):
    """A model as it is to be published."""

    key: str
    blob: bytes
    learned: int
    last_event_ms: int
    watermark_ms: int
    metrics: dict[str, float]
    slot: int


class Refusal(NamedTuple):
    """A labelled row that could not be learned; ``row`` is JSON, for the dead-letter topic."""

    event_id: str
    time_ms: int
    reason: str
    row: str


class Alert(NamedTuple):
    """Something a person must hear of."""

    key: str
    alert: str
    severity: str
    value: float
    threshold: float
    time_ms: int
    reason: str


class Decision(NamedTuple):
    """What has been decided about a model without a person, and on what evidence: a JSON object."""

    decision: str
    reason: str
    evidence: str
    time_ms: int


@dataclass
class Outcome:
    """All that a block of rows, or the passing of time, gives rise to.

    Attributes
    ----------
    replaced : list of int
        When a model has been updated, put back, or put in the place of another one, epoch ms.
    """

    answers: Answers = field(default_factory=Answers)
    published: list[Published] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)

    def decide(self, key: str, decision: str, reason: str, time_ms: int, **figures: float) -> None:
        """Note what has been decided about the model of a key, with the figures behind it."""
        evidence = json.dumps({"key": key, **figures}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        self.decisions.append(Decision(decision, reason, evidence, time_ms))
        if decision != "warn":
            self.replaced.append(time_ms)

    def versions(self) -> list[int]:
        """Return after when there are new versions of models, epoch ms: published, updated, put back, or other ones."""
        return [*self.replaced, *(published.watermark_ms - 1 for published in self.published)]  # of the rows before it

    def refuse(self, event_id: str | None, time_ms: int, reason: str, row: Mapping[str, Any], label: Any) -> None:
        """Note a labelled row that could not be learned."""
        text = json.dumps({**row, "label": label}, ensure_ascii=False, default=str)
        self.refusals.append(Refusal(event_id or "", time_ms, reason, text))
