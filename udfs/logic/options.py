"""The options of ``CREATE MODEL ... WITH (...)``: which there are, what each means, how each is read.

One table, so that the check, the error messages and the README's table of options cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from thalweg.udfs.engines.choices import one_of
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.logic.alert_rules import parse_rules
from thalweg.udfs.logic.key_options import read_source, read_sources
from thalweg.udfs.logic.warm_source import parse_warm_source

__all__ = ["EVERY_EVENT", "OPTIONS", "Every", "Option"]


class Every(NamedTuple):
    """How often: after so many events, or after so much stream time, the other one is None; and on drift."""

    events: int | None
    time_ms: int | None
    drift: bool = False


EVERY_EVENT = Every(1, None)


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


def _cadence(text: str) -> Every:
    return EVERY_EVENT if text.strip() == "every-event" else _every_or_drift(text)


def _whole(text: str) -> int:
    return 0 if text.strip() == "0" else _count(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number.") from None
    if not 0 <= value <= 1000:
        raise ValueError(f"'{text}' is not between 0 and 1000.")
    return value


def _gate(text: str) -> float | None:
    return None if text.strip() == "none" else _share(text)


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
        one_of(
            "classification",
            "regression",
            "anomaly",
            "clustering",
            "recommendation",
            "next-item",
            "forecasting",
            "bandit",
        ),
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
    "cadence": Option(
        _cadence,
        "every-event",
        True,
        "when the model learns: `every-event`, or in updates: `100 events`, `1 h`, `on-drift`, `1 d, on-drift`",
    ),
    "retrain": Option(
        one_of("stateful", "stateless"),
        "stateful",
        True,
        "an update goes on from what was learned, or begins anew from the `replay-size` newest examples",
    ),
    "replay-size": Option(_whole, "0", True, "old examples that are kept, for updates"),
    "replay-ratio": Option(_share, "0", True, "old examples that an update learns again with each new one"),
    "update-gate": Option(
        _gate,
        "0.1",
        True,
        "by what share the loss of an update on held-out new examples may be higher than that of the version it"
        " replaces; one that is worse does not serve, and an alert tells. `none`: any update serves",
    ),
    "buffer-size": Option(_count, "10000", True, "labels that wait at most; then an update comes whatever the cadence"),
    "snapshot-every": Option(
        _every_or_drift,
        "10 min",
        True,
        "how often a key's model is published: `10 min`, `1000 events`, `on-drift`, or `1 h, on-drift`",
    ),
    "on-drift": Option(
        one_of("none", "warn", "reset", "replace", "rollback"),
        "none",
        True,
        "what becomes of a model whose errors have risen for good, besides an alert: nothing (`warn`), it begins anew,"
        " the one that has learned since the warning takes its place, or it goes back to its last good copy",
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
        _count, "50", True, "examples of its own until which the prior's answers are blended with a key's"
    ),
    "warm-start": Option(
        parse_warm_source,
        None,
        True,
        "what a key without a model starts from: a snapshot file such as `/models/delay.avro`, or a topic with"
        " snapshots, `delay.snapshots?brokers=host:9092`, with `&model=` for those of another model and"
        " `&kafka-config=` for a file of security settings",
    ),
    "state-ttl": Option(
        parse_duration_ms,
        None,
        True,
        "a key that has learned nothing for that long, or up to half as long again, is forgotten (by the"
        " machine's clock)",
    ),
    "revive": Option(
        one_of("never", "snapshot"),
        "never",
        True,
        "`snapshot`: a key that was forgotten and returns goes on from its last snapshot in the topic of `warm-start`",
    ),
    "replay": Option(
        one_of("learn", "score"),
        "learn",
        True,
        "`score`: what a model from `warm-start` has learned already is answered when it comes again, and not learned",
    ),
    "signing-key": Option(
        read_source,
        None,
        True,
        "where the key lies that signs each snapshot, `env:NAME` or `file:/path` on every TaskManager; never the key",
    ),
    "trusted-keys": Option(
        read_sources, None, True, "where the keys lie that vouch for what `warm-start` reads: `file:/path, env:NAME`"
    ),
    "require-signature": Option(
        one_of("true", "false"), "false", True, "`true`: a snapshot that no trusted key signed is refused, and told of"
    ),
    "shards": Option(
        _count, "32", False, "into how many parts the keys are dealt; bounds the parallelism. Fixed for a job's life"
    ),
    "metrics": Option(_names, None, False, "names of metrics; default by task"),
    "metrics-every": Option(_every, "1 h", False, "how often metrics are emitted: `1 h`, `1000 events`"),
    "metrics-window": Option(_count, "5000", False, "how many of the newest labelled events the rolling metrics span"),
    "metrics-half-life": Option(
        _count,
        None,
        False,
        "labelled events after which an event counts half in the fading metrics; default: a tenth of `metrics-window`",
    ),
    "slices": Option(
        _names, None, False, "columns of the input table; metrics are also told per value, and the worst value named"
    ),
    "alerts": Option(
        parse_rules,
        None,
        False,
        "rules such as `critical: ROCAUC < 0.7 for 10 min; label-coverage < 0.5`, or `none`; default:"
        " `vs-baseline < 0 for 1 h min-samples 1000; drift > 0`",
    ),
    "watch-inputs": Option(
        _names,
        None,
        False,
        "features whose drift is measured, or `all`, or `none`: `psi(amount)`, `ks(amount)`, `null-rate(amount)`,"
        " `out-of-range(amount)`, `new-values(carrier)`, `psi(score)`; default: those that `alerts` names",
    ),
    "reference-events": Option(
        _count, "5000", False, "the first events, with which the newest ones are compared by `watch-inputs`"
    ),
    "reference-table": Option(
        _text, None, False, "a table that ends and has the features: the newest events are compared with it instead"
    ),
    "reference-label": Option(
        _text, None, True, "the column of `reference-table` with the truth: its rows are the old examples `reference`"
    ),
    "old-examples": Option(
        _whole,
        "0",
        True,
        "old examples that are answered again: the first ones (window `reference`) and as many of all (`reservoir`):"
        " `forgetting.LogLoss`, `backward-transfer.LogLoss`; with `reference-label` 1000",
    ),
    "evaluate-every": Option(
        parse_duration_ms, "1 h", True, "how often old examples are answered; after a new version, in a tenth of it"
    ),
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
