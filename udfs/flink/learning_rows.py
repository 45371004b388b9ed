"""The query whose rows the learning operator reads: events, and labels with the features of their events."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.connector.ddl import quote_name, quote_text
from thalweg.udfs.flink.statements import (
    NO_TEXT,
    ROWS,
    STANDS_IN,
    Column,
    Default,
    carried,
    corrects,
    model_key,
    seen,
    transport,
)
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP

__all__ = ["learning_rows", "untagged"]


def learning_rows(
    events: str,
    labels: str | None,
    key: Sequence[Column],
    features: Sequence[Column],
    label: Column | None,
    event_id: str,
    label_event_id: str,
    timeout_ms: int,
    time: str | None,
    default: Default | None = None,
    slices: str | None = None,
) -> str:
    """Return the query whose rows the learning operator reads.

    Parameters
    ----------
    events, labels : str
        Prepared tables: the customer's columns and ``thalweg_ms``, ``thalweg_late``, and ``time`` where there is one.
        ``labels`` is None where the label is a column of the events.
    key, features, label : Column
        What to read.
    event_id, label_event_id : str
        Names of the event id in both tables.
    timeout_ms : int
        A label that comes later than this after its event is not learned.
    time : str or None
        The time attribute; None: rows are taken in the order of arrival.
    default : Default or None
        The label of events that get none in time.
    slices : str or None
        An expression that goes with the event through the learning operator, behind its id: see ``untagged``.

    Returns
    -------
    str
        Columns: kind, model_key, event_id, event_ms, row_ms, label, then f0, f1, ... In the order of event time the
        rows come as the watermark passes them, but those of one key by several ways: the operator puts them in order.
    """
    names = [f"f{at}" for at in range(len(features))]
    read = ", ".join(f"{transport(column)} AS {name}" for column, name in zip(features, names, strict=True))
    id_, label_id = f"CAST({quote_name(event_id)} AS STRING)", f"CAST({quote_name(label_event_id)} AS STRING)"
    truth = "CAST(NULL AS BOOLEAN)" if label is None else transport(label)
    stamp = "thalweg_time" if time else "PROCTIME() AS thalweg_time"
    # Rows that are taken as they come are never late: no window drops those behind the watermark.
    on_time = "NOT thalweg_late" if time else "TRUE"
    columns = f"kind, model_key, event_id, event_ms, row_ms, label, {', '.join(names)}"
    if labels is None:
        kind = f"CASE WHEN {truth} IS NULL THEN {SCORE} ELSE {STEP} END" if label else f"{STEP}"
        rows = (
            f"SELECT {kind} AS kind, {model_key(key)} AS model_key, {id_} AS event_id, thalweg_ms AS event_ms,"
            f" thalweg_ms AS row_ms, {truth} AS label, {read}, {stamp} FROM {events} WHERE {on_time}"
        )
        rows = rows.replace(f"{id_} AS event_id", f"{_tagged(id_, slices)} AS event_id", 1)
    else:
        own, none = (", slices", f", {NO_TEXT} AS slices") if slices else ("", "")
        given = ""
        nothing = ", ".join(
            f"CAST(NULL AS {carried(column)}) AS {name}" for column, name in zip(features, names, strict=True)
        )
        null_label = f"CAST(NULL AS {carried(label)})" if label else truth
        both = (
            f"SELECT 0 AS is_label, {model_key(key)} AS model_key, {id_} AS event_id, thalweg_ms AS row_ms,"
            f" {null_label} AS label, {read}{f', {slices} AS slices' if slices else ''}, {stamp}"
            f" FROM {events} WHERE {on_time}"
            f" UNION ALL SELECT 1, {NO_TEXT}, {label_id}, thalweg_ms, {truth}, {nothing}{none}, {stamp}"
            f" FROM {labels} WHERE {on_time} AND {label_id} IS NOT NULL"
        )
        if default is not None:
            given = f"CAST({quote_text(default.value)} AS {carried(label)})" if label else truth
            both += (
                f" UNION ALL SELECT 2, {NO_TEXT}, event_id, thalweg_ms, {given}, {nothing}{none}, thalweg_time"
                f" FROM {default.view}"
            )
        # An event is read as it stands, even when its id came before; a label reads the first event of its id.
        first = ", ".join(
            f"CASE is_label WHEN 0 THEN {name} ELSE FIRST_VALUE({name}) OVER w END AS {name}"
            for name in ("model_key", *names)
        )
        joined = (
            f"SELECT is_label, event_id, row_ms, FIRST_VALUE(label) OVER w AS first_label, label, {first}{own},"
            f" {seen('is_label = 1 AND label IS NOT NULL', default)}, thalweg_time"
            f" FROM ({both}) WINDOW w AS (PARTITION BY event_id ORDER BY thalweg_time {ROWS})"
        )
        # A label may overtake its event, or have the same time; then the event is answered, and learned at once.
        kind = (
            f"CASE WHEN is_label > 0 THEN {LEARN} WHEN labels_seen > 0 AND events_seen = 1 THEN {STEP} ELSE {SCORE} END"
        )
        rows = (
            f"SELECT {kind} AS kind, model_key, {_tagged('event_id', slices and 'slices', 'is_label = 0')} AS event_id,"
            " CASE is_label WHEN 0 THEN row_ms ELSE event_ms END AS event_ms,"
            f" {_row_ms(default, timeout_ms)}, CASE is_label WHEN 0 THEN first_label ELSE label END AS label,"
            f" {', '.join(names)}, thalweg_time"
            # A null label goes on, to be refused where it is seen.
            f" FROM ({joined}) WHERE is_label = 0 OR label IS NULL OR (is_label = 1 AND events_seen > 0"
            f" AND labels_seen = 1 AND row_ms - event_ms <= {timeout_ms}){_by_default(default, timeout_ms, given)}"
            f" UNION ALL SELECT {LEARN}, {NO_TEXT}, {NO_TEXT}, thalweg_ms, thalweg_ms, {truth}, {nothing},"
            f" {stamp} FROM {labels} WHERE {on_time} AND {label_id} IS NULL"
        )
    if time is None:
        return f"SELECT {columns} FROM ({rows})"
    late = (
        f"SELECT {SCORE_LATE}, {model_key(key)}, {_tagged(id_, slices)}, thalweg_ms, thalweg_ms,"
        f" {_null_of(truth, label)}, {read}"
        f" FROM {events} WHERE thalweg_late"
    )
    return f"SELECT {columns} FROM ({rows}) UNION ALL {late}"


def untagged(event_id: str) -> tuple[str, str]:
    """Return the expressions for the event id, and for the slices behind it."""
    return (
        f"REGEXP_REPLACE({event_id}, U&'\\001F[^\\001F]*$', '')",
        f"REGEXP_EXTRACT({event_id}, U&'\\001F([^\\001F]*)$', 1)",
    )


def _tagged(event_id: str, slices: str | None, where: str = "TRUE") -> str:
    """Put slices behind an event id: the learning operator only hands it on. JSON has no control character in it."""
    if slices is None:
        return event_id
    return f"CASE WHEN {where} THEN CONCAT({event_id}, U&'\\001F', {slices}) ELSE {event_id} END"


def _by_default(default: Default | None, timeout_ms: int, given: str) -> str:
    """Return what is learned besides: the default where no label came, a label that comes later and differs."""
    if default is None:
        return ""
    return f" OR ({STANDS_IN}) OR ({corrects(timeout_ms)} AND label <> {given})"


def _row_ms(default: Default | None, timeout_ms: int) -> str:
    """Return the time of a row; a label of the millisecond in which the default stands in is learned after it."""
    if default is None:
        return "row_ms"
    return f"CASE WHEN is_label = 1 AND row_ms - event_ms = {timeout_ms + 1} THEN row_ms + 1 ELSE row_ms END AS row_ms"


def _null_of(truth: str, label: Column | None) -> str:
    return truth if label is None else f"CAST(NULL AS {carried(label)})"
