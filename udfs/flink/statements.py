"""The SQL of the flow, as pure text: what its queries share.

Every join and every order in the flow is one ``OVER`` window: it lives in Flink's own Java state with a time to live,
emits rows in the order of event time as the watermark passes, keeps the time attribute, and does not hold the
watermark back. (An interval join would hold it back by the whole label timeout.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from thalweg.connector.ddl import quote_name

__all__ = [
    "NO_TEXT",
    "ROWS",
    "STANDS_IN",
    "Column",
    "Default",
    "carried",
    "corrects",
    "deferred",
    "epoch_ms",
    "model_key",
    "seen",
    "transport",
]

NO_TEXT = "CAST(NULL AS STRING)"
ROWS = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


class Default(NamedTuple):
    """The label of events that get none in time: its text, and the view of ``deferred``."""

    value: str
    view: str


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


def carried(column: Column) -> str:
    """Return the SQL type that ``transport`` gives."""
    if column.kind == "number" or column.sql_type.upper().startswith(("TINYINT", "SMALLINT", "INT")):
        return "DOUBLE"
    return "BOOLEAN" if column.kind == "boolean" else "STRING"


def seen(labelled: str, default: Default | None) -> str:
    """Return what is known of an event's id so far, in a window named w.

    Parameters
    ----------
    labelled : str
        Whether a row has a label that counts.
    default : Default or None
        With one it is also known whether it has stood in, and when the first label came.

    Returns
    -------
    str
        Columns: event_ms, events_seen, labels_seen; and defaults_seen, label_ms.
    """
    columns = (
        "FIRST_VALUE(CASE is_label WHEN 0 THEN row_ms END) OVER w AS event_ms,"
        " SUM(CASE is_label WHEN 0 THEN 1 ELSE 0 END) OVER w AS events_seen,"
        f" SUM(CASE WHEN {labelled} THEN 1 ELSE 0 END) OVER w AS labels_seen"
    )
    if default is None:
        return columns
    return (
        f"{columns}, SUM(CASE is_label WHEN 2 THEN 1 ELSE 0 END) OVER w AS defaults_seen,"
        f" FIRST_VALUE(CASE WHEN {labelled} THEN row_ms END) OVER w AS label_ms"
    )


# The default stands in at the first millisecond after the timeout. A label of that very millisecond comes after it,
# whichever of them the window took first.
STANDS_IN = "is_label = 2 AND defaults_seen = 1 AND events_seen > 0 AND (labels_seen = 0 OR label_ms = row_ms)"


def corrects(timeout_ms: int) -> str:
    """Return the condition for a label that comes after the default has stood in, within as long again."""
    return f"is_label = 1 AND labels_seen = 1 AND row_ms - event_ms BETWEEN {timeout_ms + 1} AND {2 * timeout_ms}"


def deferred(table: str, event_id: str, ms: str, where: str, timeout_ms: int) -> str:
    """Return the query whose rows stand for the end of an event's time to get a label.

    Parameters
    ----------
    table, event_id, ms, where : str
        The table with the events, its columns with the id and the time as epoch ms, and which rows are meant.
    timeout_ms : int
        A label that comes at the very end is in time, so the rows come a millisecond later.

    Returns
    -------
    str
        Columns: event_id, thalweg_ms.
    """
    return (
        f"SELECT CAST({quote_name(event_id)} AS STRING) AS event_id, {quote_name(ms)} + {timeout_ms + 1} AS thalweg_ms"
        f" FROM {table} WHERE {where} AND {quote_name(event_id)} IS NOT NULL"
    )
