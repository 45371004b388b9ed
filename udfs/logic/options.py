"""The options of ``CREATE MODEL ... WITH (...)``: which there are, what each means, how each is read.

One table, so that the check, the error messages and the README's table of options cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from thalweg.udfs.engines.choices import one_of
from thalweg.udfs.engines.durations import parse_duration_ms

__all__ = ["OPTIONS", "Every", "Option"]


class Every(NamedTuple):
    """How often: after so many events, or after so much stream time, the other one is None; and on drift."""

    events: int | None
    time_ms: int | None
    drift: bool = False


class Option(NamedTuple):
    """One option.

    Attributes
    ----------
    read : callable
        Text to value; raises ValueError with one sentence.
    default : str or None
        Text of the default; None, there is none.
    learners_only : bool
        Makes sense only for a model that learns.
    meaning : str
        For the README's table.
    """

    read: Callable[[str], Any]
    default: str | None
    learners_only: bool
    meaning: str


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty.")
    return text.strip()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise ValueError(f"'{text}' has an empty name between commas.")
    return names


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a whole number.") from None
    if value <= 0:
        raise ValueError(f"'{text}' is not above zero.")
    return value


def _every(text: str) -> Every:
    head, _, tail = text.strip().partition(" ")
    if tail.strip() in ("events", "event"):
        return Every(_count(head), None)
    return Every(None, parse_duration_ms(text))


def _every_or_drift(text: str) -> Every:
    parts = [part.strip() for part in text.split(",")]
    rest = [part for part in parts if part != "on-drift"]
    if len(rest) > 1 or len(parts) - len(rest) > 1:
        raise ValueError(f"'{text}' is more than one of a duration and a number of events, with or without on-drift.")
    return (_every(rest[0]) if rest else Every(None, None))._replace(drift=len(rest) < len(parts))


def _bytes(text: str) -> int:
    number, factor = text.lower().replace(" ", ""), 1
    for suffix, size in (("kb", 1 << 10), ("mb", 1 << 20), ("b", 1)):
        if number.endswith(suffix):
            number, factor = number.removesuffix(suffix), size
            break
    return _count(number) * factor


OPTIONS: dict[str, Option] = {
    "provider": Option(_text, None, False, "the engine: `river`, `onnx`, or one registered by entry point"),
    "model": Option(_text, None, False, "River: the model text; ONNX: path or `file://` URI of the file"),
    "task": Option(
        one_of("classification", "regression", "anomaly", "clustering", "recommendation", "forecasting", "bandit"),
        None,
        False,
        "what is predicted; default by the OUTPUT type: BOOLEAN, STRING: classification, else regression",
    ),
    "input-table": Option(_text, None, False, "table or view with one row per event to score"),
    "event-id": Option(_text, None, False, "column that names an event, in the input table and the label table"),
    "key": Option(_names, None, False, "columns; one model per value. Without it one model is shared by all"),
    "event-time": Option(
        _text, None, False, "column with the time of an event; default: the column with the watermark"
    ),
    "label": Option(_text, None, False, "column with the truth, in the label table, else in the input table"),
    "label-table": Option(_text, None, False, "table with one row per label; without it the input table has the label"),
    "label-event-id": Option(_text, None, False, "the event id column of the label table, where its name differs"),
    "label-timeout": Option(parse_duration_ms, "1 d", False, "how long after its event a label may come"),
    "label-default": Option(
        _text,
        None,
        False,
        "the label of an event that got none in time, such as `false` of a click; one that comes later, within"
        " as long again, corrects it",
    ),
    "order": Option(
        one_of("event-time", "arrival"),
        None,
        False,
        "`event-time`: rows of a key in the order of their time, repeatable; `arrival`: at once, in the order"
        " they come",
    ),
    "cadence": Option(one_of("every-event"), "every-event", True, "when the model learns"),
    "snapshot-every": Option(
        _every_or_drift,
        "10 min",
        True,
        "how often a key's model is published: `10 min`, `1000 events`, `on-drift`, or `1 h, on-drift`",
    ),
    "max-model-size": Option(_bytes, "64 mb", True, "a larger model is not published: an alert says so"),
    "on-max-model-size": Option(
        one_of("freeze", "reset", "keep"),
        "freeze",
        True,
        "what else becomes of it: it answers and learns no more, it begins anew, or it goes on learning",
    ),
    "on-spec-change": Option(
        one_of("fail", "keep", "reset"),
        "fail",
        True,
        "a model in state was built from another declaration: the job fails, it goes on where River lets a"
        " hyper-parameter change, or it begins anew",
    ),
    "prior": Option(
        one_of("none", "global"),
        "none",
        True,
        "`global`: a new key starts from a model that learns from all keys of its shard; with few keys"
        " `'shards' = '1'`",
    ),
    "prior-strength": Option(
        _count, "10", True, "examples of its own until which the prior's answers are blended with a key's"
    ),
    "state-ttl": Option(parse_duration_ms, None, True, "a key idle that long is forgotten"),
    "shards": Option(
        _count, "32", False, "into how many parts the keys are dealt; bounds the parallelism. Fixed for a job's life"
    ),
    "metrics": Option(_names, None, False, "names of metrics; default by task"),
    "metrics-every": Option(_every, "1 h", False, "how often metrics are emitted: `1 h`, `1000 events`"),
    "metrics-window": Option(_count, "5000", False, "how many of the newest labelled events the rolling metrics span"),
    "on-malformed": Option(
        one_of("dead-letter", "fail"),
        "dead-letter",
        False,
        "a Kafka record that cannot be decoded: `dead-letter`, kept and counted; `fail`, the job fails as"
        " Flink's own tables do",
    ),
    "model-version": Option(
        _text, None, False, "name of the version in predictions; default: learned examples, or the file's hash"
    ),
}
