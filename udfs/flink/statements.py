"""The SQL of the flow, as pure text.

Every join and every order in the flow is one ``OVER`` window: it lives in Flink's own Java state with a time to live,
emits rows in the order of event time as the watermark passes, keeps the time attribute, and does not hold the
watermark back. (An interval join would hold it back by the whole label timeout.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from thalweg.connector.ddl import quote_name
from thalweg.udfs.logic.evaluation import DUPLICATE, LATE, MATCHED, OVERTAKEN, PREDICTED, TOGETHER, UNKNOWN
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP

__all__ = ["Column", "epoch_ms", "labelled_answers", "learning_rows", "model_key", "transport"]

_NO_TEXT = "CAST(NULL AS STRING)"
# A window drops rows behind the watermark without a word: late ones go around it.
_LATE_ANSWER = "COALESCE(thalweg_time <= CURRENT_WATERMARK(thalweg_time), FALSE)"
# A window can hold no MAP, so probabilities travel as text.
_DETAIL = "JSON_STRING(probabilities)"
_PREDICTED = f"{PREDICTED}, event_id, event_time_ms, event_time_ms, score, label, {_DETAIL}, {_NO_TEXT}"
ROWS = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


class Column(NamedTuple):
    """A column that a model reads: its name, its kind (``Field.kind``) and its SQL type."""

    name: str
    kind: str
    sql_type: str


def epoch_ms(column: str, local: bool) -> str:
    """Return the expression for a time column as epoch ms, whatever the session's time zone.

    Parameters
    ----------
    column : str
        A TIMESTAMP(3) column, read as UTC, or a TIMESTAMP_LTZ(3) column. Not before 1970.
    local : bool
        Whether it is TIMESTAMP_LTZ. (``EXTRACT(EPOCH ...)`` of such a column is shifted by the session's time zone.)
    """
    zero = "TO_TIMESTAMP_LTZ(0, 3)" if local else "TIMESTAMP '1970-01-01 00:00:00.000'"
    # The cast makes a plain time of a time attribute, which TIMESTAMPDIFF takes for another type.
    time = f"CAST({quote_name(column)} AS {'TIMESTAMP_LTZ(3)' if local else 'TIMESTAMP(3)'})"
    return (
        f"CAST(TIMESTAMPDIFF(MINUTE, {zero}, {time}) AS BIGINT) * 60000"
        f" + EXTRACT(SECOND FROM {time}) * 1000 + EXTRACT(MILLISECOND FROM {time})"
    )


def model_key(key: Sequence[Column]) -> str:
    """Return the expression for the canonical text of a model key; no key is the empty text, the shared model."""
    if not key:
        return "''"
    if len(key) == 1:
        return f"CAST({quote_name(key[0].name)} AS STRING)"
    return f"JSON_ARRAY({', '.join(quote_name(column.name) for column in key)} NULL ON NULL)"


def transport(column: Column) -> str:
    """Return the expression that carries a feature or label to Python without loss, null included.

    In a pandas function an integer column with a null becomes floating point, so BIGINT travels as text; smaller
    integers fit a DOUBLE exactly. An array cannot be held by FIRST_VALUE, so it travels as text too.
    """
    name = quote_name(column.name)
    if column.kind == "number" or column.sql_type.upper().startswith(("TINYINT", "SMALLINT", "INT")):
        return f"CAST({name} AS DOUBLE)"
    return name if column.kind == "boolean" else f"CAST({name} AS STRING)"


def _carried(column: Column) -> str:
    """Return the SQL type that ``transport`` gives."""
    if column.kind == "number" or column.sql_type.upper().startswith(("TINYINT", "SMALLINT", "INT")):
        return "DOUBLE"
    return "BOOLEAN" if column.kind == "boolean" else "STRING"


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
    columns = f"kind, model_key, event_id, event_ms, row_ms, label, {', '.join(names)}"
    if labels is None:
        kind = f"CASE WHEN {truth} IS NULL THEN {SCORE} ELSE {STEP} END" if label else f"{STEP}"
        rows = (
            f"SELECT {kind} AS kind, {model_key(key)} AS model_key, {id_} AS event_id, thalweg_ms AS event_ms,"
            f" thalweg_ms AS row_ms, {truth} AS label, {read}, {stamp} FROM {events} WHERE NOT thalweg_late"
        )
    else:
        nothing = ", ".join(
            f"CAST(NULL AS {_carried(column)}) AS {name}" for column, name in zip(features, names, strict=True)
        )
        null_label = f"CAST(NULL AS {_carried(label)})" if label else truth
        both = (
            f"SELECT 0 AS is_label, {model_key(key)} AS model_key, {id_} AS event_id, thalweg_ms AS row_ms,"
            f" {null_label} AS label, {read}, {stamp} FROM {events} WHERE NOT thalweg_late"
            f" UNION ALL SELECT 1, {_NO_TEXT}, {label_id}, thalweg_ms, {truth}, {nothing}, {stamp}"
            f" FROM {labels} WHERE NOT thalweg_late AND {label_id} IS NOT NULL"
        )
        # An event is read as it stands, even when its id came before; a label reads the first event of its id.
        first = ", ".join(
            f"CASE is_label WHEN 0 THEN {name} ELSE FIRST_VALUE({name}) OVER w END AS {name}"
            for name in ("model_key", *names)
        )
        joined = (
            f"SELECT is_label, event_id, row_ms, FIRST_VALUE(label) OVER w AS first_label, label, {first},"
            " FIRST_VALUE(CASE is_label WHEN 0 THEN row_ms END) OVER w AS event_ms,"
            " SUM(1 - is_label) OVER w AS events_seen,"
            " SUM(CASE WHEN is_label = 1 AND label IS NOT NULL THEN 1 ELSE 0 END) OVER w AS labels_seen,"
            f" thalweg_time FROM ({both}) WINDOW w AS (PARTITION BY event_id ORDER BY thalweg_time {ROWS})"
        )
        # A label may overtake its event, or have the same time; then the event is answered, and learned at once.
        kind = (
            f"CASE WHEN is_label = 1 THEN {LEARN} WHEN labels_seen > 0 AND events_seen = 1 THEN {STEP} ELSE {SCORE} END"
        )
        rows = (
            f"SELECT {kind} AS kind, model_key, event_id, CASE is_label WHEN 0 THEN row_ms ELSE event_ms END AS"
            " event_ms,"
            f" row_ms, CASE is_label WHEN 0 THEN first_label ELSE label END AS label, {', '.join(names)}, thalweg_time"
            # A null label goes on, to be refused where it is seen.
            f" FROM ({joined}) WHERE is_label = 0 OR label IS NULL OR (events_seen > 0 AND labels_seen = 1"
            f" AND row_ms - event_ms <= {timeout_ms})"
            f" UNION ALL SELECT {LEARN}, {_NO_TEXT}, {_NO_TEXT}, thalweg_ms, thalweg_ms, {truth}, {nothing},"
            f" {stamp} FROM {labels} WHERE NOT thalweg_late AND {label_id} IS NULL"
        )
    if time is None:
        return f"SELECT {columns} FROM ({rows})"
    late = (
        f"SELECT {SCORE_LATE}, {model_key(key)}, {id_}, thalweg_ms, thalweg_ms, {_null_of(truth, label)}, {read}"
        f" FROM {events} WHERE thalweg_late"
    )
    return f"SELECT {columns} FROM ({rows}) UNION ALL {late}"


def _null_of(truth: str, label: Column | None) -> str:
    return truth if label is None else f"CAST(NULL AS {_carried(label)})"


def labelled_answers(
    answers: str, labels: str | None, label: Column, label_event_id: str, timeout_ms: int, time: str | None
) -> str:
    """Return the query whose rows the evaluation reads: the answer that was served, and what became of its label.

    Returns
    -------
    str
        Columns of ``outcomes.OUTCOME_KINDS``; the truth is text.
    """
    columns = "kind, event_id, event_ms, row_ms, score, predicted, detail, truth"
    stamp = "thalweg_time" if time else "PROCTIME() AS thalweg_time"
    in_time = f" WHERE NOT {_LATE_ANSWER}" if time else ""
    late = f" UNION ALL SELECT {_PREDICTED} FROM {answers} WHERE {_LATE_ANSWER}" if time else ""
    if labels is None:
        rows = (
            f"SELECT CASE WHEN truth IS NULL THEN {PREDICTED} ELSE {TOGETHER} END AS kind, event_id,"
            " event_time_ms AS event_ms,"
            f" event_time_ms AS row_ms, score, label AS predicted, {_DETAIL} AS detail, truth, {stamp} FROM"
            f" {answers}{in_time}"
        )
    else:
        text = f"CAST({quote_name(label.name)} AS STRING)"
        both = (
            f"SELECT 0 AS is_label, event_id, event_time_ms AS row_ms, score, label AS predicted, {_DETAIL} AS detail,"
            f" {_NO_TEXT} AS truth,"
            f" {stamp} FROM {answers}{in_time} UNION ALL SELECT 1, CAST({quote_name(label_event_id)} AS STRING),"
            " thalweg_ms,"
            f" CAST(NULL AS DOUBLE), {_NO_TEXT}, {_NO_TEXT}, {text}, {stamp} FROM {labels}"
            f" WHERE NOT thalweg_late AND {quote_name(label.name)} IS NOT NULL"
        )
        first = ", ".join(f"FIRST_VALUE({name}) OVER w AS {name}" for name in ("score", "predicted", "detail", "truth"))
        joined = (
            f"SELECT is_label, event_id, row_ms, {first},"
            " FIRST_VALUE(CASE is_label WHEN 0 THEN row_ms END) OVER w AS event_ms,"
            " SUM(1 - is_label) OVER w AS events_seen, SUM(is_label) OVER w AS labels_seen,"
            f" thalweg_time FROM ({both}) WINDOW w AS (PARTITION BY event_id ORDER BY thalweg_time {ROWS})"
        )
        fate = (
            f"CASE WHEN is_label = 0 THEN CASE WHEN labels_seen > 0 AND event_id IS NOT NULL THEN {OVERTAKEN}"
            f" ELSE {PREDICTED} END"
            f" WHEN event_id IS NULL THEN {UNKNOWN} WHEN labels_seen > 1 THEN {DUPLICATE}"
            f" WHEN events_seen = 0 THEN {UNKNOWN} WHEN row_ms - event_ms > {timeout_ms} THEN {LATE} ELSE {MATCHED} END"
        )
        rows = (
            f"SELECT {fate} AS kind, event_id, COALESCE(event_ms, row_ms) AS event_ms, row_ms, score, predicted,"
            " detail, truth,"
            f" thalweg_time FROM ({joined}) WHERE is_label = 1 OR events_seen = 1 OR event_id IS NULL"
        )
        late += (
            f" UNION ALL SELECT {LATE}, CAST({quote_name(label_event_id)} AS STRING), thalweg_ms, thalweg_ms,"
            f" CAST(NULL AS DOUBLE), {_NO_TEXT}, {_NO_TEXT}, {text}"
            f" FROM {labels} WHERE thalweg_late"
        )
    if time is None:
        return f"SELECT {columns} FROM ({rows})"
    return f"SELECT {columns} FROM ({rows}){late}"
