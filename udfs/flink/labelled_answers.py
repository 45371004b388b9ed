"""The query whose rows the evaluation reads: the answers that were served, and what became of their labels."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.connector.ddl import quote_name, quote_text
from thalweg.udfs.flink.statements import NO_TEXT, ROWS, STANDS_IN, Column, Default, corrects, seen
from thalweg.udfs.logic.evaluation import (
    CORRECTED,
    DEFAULTED,
    DUPLICATE,
    LATE,
    MATCHED,
    OVERTAKEN,
    PREDICTED,
    TOGETHER,
    UNKNOWN,
)

__all__ = ["LATE_ANSWER", "labelled_answers"]

# A window drops rows behind the watermark without a word: late ones go around it.
LATE_ANSWER = "COALESCE(thalweg_time <= CURRENT_WATERMARK(thalweg_time), FALSE)"
# A window can hold no MAP, so probabilities travel as text.
_DETAIL = "JSON_STRING(probabilities)"
_PREDICTED = f"{PREDICTED}, event_id, event_time_ms, event_time_ms, score, label, {_DETAIL}, {NO_TEXT}"


def labelled_answers(
    answers: str,
    labels: str | None,
    label: Column,
    label_event_id: str,
    timeout_ms: int,
    time: str | None,
    default: Default | None = None,
    slices: bool = False,
    beside: Sequence[str] = (),
) -> str:
    """Return the query whose rows the evaluation reads: the answer that was served, and what became of its label.

    With ``beside`` the values of these columns of the labels stand behind the truth, as a JSON array after a U+001F;
    then no label corrects a default.

    Returns
    -------
    str
        Columns of ``outcomes.outcome_kinds``; the truth is text.
    """
    own, none = (", slices", f", {NO_TEXT} AS slices") if slices else ("", "")
    columns = f"kind, event_id, event_ms, row_ms, score, predicted, detail, truth{own}"
    stamp = "thalweg_time" if time else "PROCTIME() AS thalweg_time"
    # Rows that are taken as they come are never late: no window drops those behind the watermark.
    on_time = "NOT thalweg_late" if time else "TRUE"
    in_time = f" WHERE NOT {LATE_ANSWER}" if time else ""
    late = f" UNION ALL SELECT {_PREDICTED}{own} FROM {answers} WHERE {LATE_ANSWER}" if time else ""
    if labels is None:
        rows = (
            f"SELECT CASE WHEN truth IS NULL THEN {PREDICTED} ELSE {TOGETHER} END AS kind, event_id,"
            " event_time_ms AS event_ms,"
            f" event_time_ms AS row_ms, score, label AS predicted, {_DETAIL} AS detail, truth{own}, {stamp} FROM"
            f" {answers}{in_time}"
        )
    else:
        text = f"CAST({quote_name(label.name)} AS STRING)"
        if beside:
            values = ", ".join(f"CAST({quote_name(name)} AS STRING)" for name in beside)
            text = f"CONCAT({text}, U&'\\001F', JSON_ARRAY({values} NULL ON NULL))"
        both = (
            f"SELECT 0 AS is_label, event_id, event_time_ms AS row_ms, score, label AS predicted, {_DETAIL} AS detail,"
            f" {NO_TEXT} AS truth{own},"
            f" {stamp} FROM {answers}{in_time} UNION ALL SELECT 1, CAST({quote_name(label_event_id)} AS STRING),"
            " thalweg_ms,"
            f" CAST(NULL AS DOUBLE), {NO_TEXT}, {NO_TEXT}, {text}{none}, {stamp} FROM {labels}"
            f" WHERE {on_time} AND {quote_name(label.name)} IS NOT NULL"
        )
        by_default = corrected = ""
        if default is not None:
            both += (
                f" UNION ALL SELECT 2, event_id, thalweg_ms, CAST(NULL AS DOUBLE), {NO_TEXT}, {NO_TEXT},"
                f" {quote_text(default.value)}{none}, thalweg_time FROM {default.view}"
            )
            given = f"CAST({quote_text(default.value)} AS {label.sql_type})"
            by_default = f" WHEN is_label = 2 THEN {DEFAULTED}"
            if not beside:
                corrected = (
                    f" WHEN {corrects(timeout_ms)} AND CAST(own_truth AS {label.sql_type}) <> {given} THEN {CORRECTED}"
                )
        carried = ("score", "predicted", "detail", "truth", *(["slices"] if slices else []))
        first = ", ".join(f"FIRST_VALUE({name}) OVER w AS {name}" for name in carried)
        joined = (
            f"SELECT is_label, event_id, row_ms, truth AS own_truth, {first},"
            f" {seen('is_label = 1', default)},"
            f" thalweg_time FROM ({both}) WINDOW w AS (PARTITION BY event_id ORDER BY thalweg_time {ROWS})"
        )
        fate = (
            f"CASE WHEN is_label = 0 THEN CASE WHEN labels_seen > 0 AND event_id IS NOT NULL THEN {OVERTAKEN}"
            f" ELSE {PREDICTED} END"
            f"{by_default} WHEN event_id IS NULL THEN {UNKNOWN} WHEN labels_seen > 1 THEN {DUPLICATE}"
            f" WHEN events_seen = 0 THEN {UNKNOWN}{corrected}"
            f" WHEN row_ms - event_ms > {timeout_ms} THEN {LATE} ELSE {MATCHED} END"
        )
        rows = (
            f"SELECT {fate} AS kind, event_id, COALESCE(event_ms, row_ms) AS event_ms, row_ms, score, predicted,"
            f" detail, {'truth' if default is None else 'COALESCE(own_truth, truth) AS truth'}{own}, thalweg_time FROM"
            f" ({joined}) WHERE is_label = 1 OR (is_label = 0 AND (events_seen = 1 OR event_id IS NULL))"
            f"{'' if default is None else f' OR ({STANDS_IN})'}"
        )
        late += (
            f" UNION ALL SELECT {LATE}, CAST({quote_name(label_event_id)} AS STRING), thalweg_ms, thalweg_ms,"
            f" CAST(NULL AS DOUBLE), {NO_TEXT}, {NO_TEXT}, {text}{none}"
            f" FROM {labels} WHERE thalweg_late"
        )
    if time is None:
        return f"SELECT {columns} FROM ({rows})"
    return f"SELECT {columns} FROM ({rows}){late}"
