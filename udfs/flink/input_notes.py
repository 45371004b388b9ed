"""Events in short for the evaluation: made in whole Arrow batches where the events are read, in parallel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import ScalarFunction, udf
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.flink.reference_rows import prepare_reference
from thalweg.udfs.flink.statements import NO_TEXT, Column, transport
from thalweg.udfs.flink.tables import TableReader
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.evaluation import NOTE
from thalweg.udfs.logic.input_drift import summary_text
from thalweg.udfs.logic.signals import note

__all__ = ["note_queries"]


class _Notes(ScalarFunction):
    """The rows of a batch to one note per period; it stands in the period's last row, the others are null."""

    def __init__(self, columns: Sequence[Column], period_ms: int | None, reference: bool) -> None:
        self._kinds = {column.name: column.kind for column in columns}
        self._period, self._reference = period_ms, reference

    def open(self, function_context: Any) -> None:
        end_with_flink()

    def is_deterministic(self) -> bool:
        return False  # or the planner may evaluate it twice, and so split a note from its filter

    def eval(self, times: Any, *series: Any) -> Any:
        index = series[0].index
        # The time of the reference is a constant, which arrives as one plain value.
        times_ms = np.broadcast_to(np.asarray(times, dtype=np.int64), (len(index),))
        columns = {name: self._values(name, column) for name, column in zip(self._kinds, series, strict=True)}
        notes = np.full(len(times_ms), None, dtype=object)
        periods = times_ms // self._period if self._period else np.zeros(len(times_ms), dtype=np.int64)
        for period in np.unique(periods).tolist():
            rows = np.flatnonzero(periods == period)
            part = {name: values[rows] for name, values in columns.items()}
            last = rows[int(np.argmax(times_ms[rows]))]
            notes[last] = note(self._reference, summary_text(self._kinds, part, len(rows)))
        return pd.Series(notes, index=index, dtype=object)

    def _values(self, name: str, series: Any) -> Any:
        kind = self._kinds[name]
        if kind in ("number", "integer"):  # a large integer travels as text
            return pd.to_numeric(series).to_numpy(dtype=np.float64)
        values = series.to_numpy(dtype=object)
        if kind == "vector":
            return np.array([None if v is None else len(json.loads(v.replace("NULL", "null"))) for v in values], object)
        missing = pd.isna(values)
        if missing.any():
            values = values.copy()
            values[missing] = None
        return values


def note_queries(
    t_env: StreamTableEnvironment,
    declaration: Declaration,
    features: Sequence[Column],
    events: str,
    reader: TableReader,
    prefix: str,
) -> list[str]:
    """Return the queries of the notes on old examples, events and the reference; columns as of ``labelled_answers``.

    Parameters
    ----------
    t_env, declaration, reader :
        Of the flow.
    features : sequence of Column
        What the model reads.
    events : str
        The view of the events.
    prefix : str
        Of the flow's own views and functions.

    Raises
    ------
    ConfigError
        The reference lacks features.
    """
    d, watched = declaration, dict(declaration.watch.attention.inputs)
    columns = [column for column in features if column.name in watched]
    sliced, queries = bool(d.watch.slices), []
    if d.old_examples and d.learns:
        # A millisecond before the time that they are of, so that they are in what is emitted at that time.
        answers = f"SELECT t.remembered.time_ms - 1 AS ms, t.remembered.note AS note FROM {prefix}_operator t"
        queries.append(_as_rows(f"{answers} WHERE t.remembered IS NOT NULL", sliced))
    if not columns:
        return queries
    views = {"notes": (events, "thalweg_ms")}
    if d.reference_table is not None:
        views["reference"] = (prepare_reference(t_env, d, reader, columns).view, "CAST(0 AS BIGINT)")
    for name, (view, time) in views.items():
        function = f"{prefix}_{name}"
        notes = _Notes(columns, d.metrics_every.time_ms, name == "reference")
        made = udf(notes, result_type=DataTypes.STRING(), func_type="pandas")
        t_env.create_temporary_function(function, made)
        read = ", ".join(transport(column) for column in columns)
        found = f"SELECT {time} AS ms, {function}({time}, {read}) AS note FROM {view}"
        queries.append(_as_rows(f"SELECT * FROM ({found}) WHERE note IS NOT NULL", sliced))
    return queries


def _as_rows(query: str, sliced: bool) -> str:
    """Return a query of ``ms`` and ``note`` as one with the columns of ``labelled_answers``."""
    more = f", {NO_TEXT} AS slices" if sliced else ""
    return (
        f"SELECT {NOTE} AS kind, {NO_TEXT} AS event_id, ms AS event_ms, ms AS row_ms, CAST(NULL AS DOUBLE) AS score,"
        f" {NO_TEXT} AS predicted, note AS detail, {NO_TEXT} AS truth{more} FROM ({query})"
    )
