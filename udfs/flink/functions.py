"""The vectorised Python functions of the flow: decode records, pack rows, score with a model that does not learn."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import ScalarFunction, udf
from thalweg.connector.errors import WireError
from thalweg.connector.sqltypes import Column
from thalweg.connector.wire import decoder
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.flink.meters import Meters, group_of
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.logic.arm_guard import ArmGuard, ArmRole
from thalweg.udfs.logic.packing import pack_columns

__all__ = ["decode_function", "pack_function", "score_function"]

TOMBSTONE = "tombstone"
"""What ``error`` says for a null record: it carries time, but nothing to score and nothing to keep."""


class _Vectorised(ScalarFunction):
    # The planner may evaluate a deterministic function once per mention, and so split a row from its own filter.
    def is_deterministic(self) -> bool:
        return False

    def open(self, function_context: Any) -> None:
        end_with_flink()


class _Decode(_Vectorised):
    """Kafka bytes to columns; a record that cannot be decoded becomes nulls and a reason."""

    def __init__(self, columns: Sequence[Column], format: str) -> None:
        self._columns, self._format = tuple(columns), format
        self._decode: Callable[[bytes | None], dict[str, Any]] | None = None
        self._meters = Meters(None)

    def open(self, function_context: Any) -> None:
        super().open(function_context)
        self._meters = Meters(group_of(function_context))

    def eval(self, payloads: Any) -> Any:
        if self._decode is None:
            self._decode = decoder(self._columns, self._format)
        names = [name for name, _, _ in self._columns]
        nothing = (None,) * len(names)
        rows: list[tuple[Any, ...]] = []
        errors: list[str | None] = []
        for payload in payloads:
            if payload is None:
                rows.append(nothing)
                errors.append(TOMBSTONE)
                continue
            try:
                row = self._decode(payload)
            except WireError as error:
                rows.append(nothing)
                errors.append(str(error))
            else:
                rows.append(tuple(row.values()))
                errors.append(None)
        values = {
            f"c{at}": pd.Series(column, dtype=object, index=payloads.index)
            for at, column in enumerate(zip(*rows, strict=True))
        }
        self._meters.count("thalweg_records_malformed", len(errors) - errors.count(None) - errors.count(TOMBSTONE))
        values["error"] = pd.Series(errors, dtype=object, index=payloads.index)
        return pd.DataFrame(values)


class _Pack(_Vectorised):
    """Rows of a batch to one block per shard; the block stands in the row of the shard's first, the others are null."""

    def __init__(self, kinds: Sequence[str], key_at: int | None, shard_keys: Sequence[int]) -> None:
        self._kinds, self._key_at, self._shard_keys = tuple(kinds), key_at, tuple(shard_keys)
        self._known: dict[str | None, int] = {}

    def eval(self, *series: Any) -> Any:
        # The planner moves a projection below a UNION ALL, and there a constant arrives as one plain value.
        index = next(column.index for column in series if isinstance(column, pd.Series))
        series = tuple(
            column if isinstance(column, pd.Series) else pd.Series([column] * len(index), index=index, dtype=object)
            for column in series
        )
        columns = [_values(kind, column) for kind, column in zip(self._kinds, series, strict=True)]
        rows = len(series[0])
        shards = np.zeros(rows, dtype=np.int32)
        blocks = np.full(rows, None, dtype=object)
        if self._key_at is None or len(self._shard_keys) == 1:
            shards[0] = self._shard_keys[0]
            blocks[0] = pack_columns(zip(self._kinds, columns, strict=True), rows)
        else:
            dealt = np.fromiter(map(self._shard, columns[self._key_at]), dtype=np.int32, count=rows)
            order = np.argsort(dealt, kind="stable")
            edges = np.flatnonzero(np.diff(dealt[order])) + 1
            for part in np.split(order, edges):
                first = part[0]
                shards[first] = self._shard_keys[dealt[first]]
                chosen = [(kind, column[part]) for kind, column in zip(self._kinds, columns, strict=True)]
                blocks[first] = pack_columns(chosen, len(part))
        return pd.DataFrame({"shard": shards, "packed": blocks}, index=series[0].index)

    def _shard(self, key: str | None) -> int:
        shard = self._known.get(key)
        if shard is None:
            if len(self._known) > 1_000_000:
                self._known.clear()
            shard = self._known[key] = zlib.crc32(b"thalweg" + (key or "").encode()) % len(self._shard_keys)
        return shard


class _Score(_Vectorised):
    """Answers of a model that does not learn."""

    def __init__(
        self,
        spec: EngineSpec,
        model: str,
        role: ArmRole | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._spec, self._model, self._role, self._clock = spec, model, role, clock
        self._engine: Any = None
        self._guard: ArmGuard | None = None
        self._meters = Meters(None)

    def open(self, function_context: Any) -> None:
        super().open(function_context)
        self._meters = Meters(group_of(function_context), self._model)

    def eval(self, *series: Any) -> Any:
        if self._role is None:
            answers, version = self._answers(series)
            return _frame(answers, version).set_index(series[0].index)
        if self._guard is None:
            self._guard = ArmGuard(self._role, self._clock)
        count, guard, events = len(series[0]), self._guard, None
        if self._role.share < 1:
            *series, events = series  # type: ignore[assignment]  # the event id goes behind the features
        picked = guard.picked(count, None if events is None else events.tolist())
        kept = series if len(picked) == count else [column.iloc[list(picked)] for column in series]

        def failed(reason: str) -> tuple[Sequence[Score], str]:
            return [Score(None, None, None, "refused", reason)] * len(picked), ""

        answers, version = guard.run(len(picked), lambda: self._answers(kept), failed) if picked else failed("")
        self._meters.shadowed(guard)
        found = _frame(answers, version)
        time_ms, rows = guard.block_time(len(answers))
        for name, value in (("block_ms", time_ms), ("block_rows", rows)):
            found[name] = pd.Series([value, *[None] * (len(answers) - 1)][: len(answers)], dtype=object)
        if len(picked) < count:  # what was skipped has no status, and the query leaves it out
            found = found.set_index(pd.Index(picked)).reindex(range(count)).astype(object)
            found = found.where(found.notna(), None)
        return found.set_index(series[0].index)

    def _answers(self, series: Sequence[Any]) -> tuple[Sequence[Score], str]:
        """Return the answers to a batch, and the version that gave them."""
        since_ns = time.perf_counter_ns()
        if self._engine is None:
            self._engine = build(self._spec)
        columns = {name: _values(kind, column) for (name, kind), column in zip(self._spec.inputs, series, strict=True)}
        answers: Sequence[Score]
        if hasattr(self._engine, "score_columns"):
            answers = self._engine.score_columns(columns, len(series[0]))
        else:
            values = zip(*(column.tolist() for column in columns.values()), strict=True)
            answers = self._engine.score([dict(zip(columns, row, strict=True)) for row in values])
        version = str(self._engine.version)
        self._meters.answered([a.status for a in answers], version, since_ns)
        return answers, version


def _frame(answers: Sequence[Score], version: str) -> Any:
    return pd.DataFrame(
        {
            "score": pd.Series([a.score for a in answers], dtype=object),
            "label": pd.Series([a.label for a in answers], dtype=object),
            "probabilities": pd.Series([a.probabilities for a in answers], dtype=object),
            "status": [a.status for a in answers],
            "reason": [a.reason for a in answers],
            "version": [version] * len(answers),
        }
    )


def decode_function(columns: Sequence[Column], format: str, result: Sequence[Any]) -> Any:
    """Return the function from a Kafka value to ``ROW(c0, c1, ..., error)``.

    Parameters
    ----------
    columns : sequence of (name, SQL type, nullable)
        Columns of the customer's table.
    format : str
        ``avro`` or ``json``.
    result : sequence of DataType
        Type of each column in the row.
    """
    fields = [DataTypes.FIELD(f"c{at}", kind) for at, kind in enumerate(result)]
    return _function(_Decode(columns, format), [*fields, DataTypes.FIELD("error", DataTypes.STRING())])


def pack_function(kinds: Sequence[str], key_at: int | None, shard_keys: Sequence[int]) -> Any:
    """Return the function from rows to ``ROW(shard, packed)``.

    Parameters
    ----------
    kinds : sequence of str
        Kind of each column, as in ``Field.kind``.
    key_at : int or None
        Which column is the model key; None: all rows are of one shard.
    shard_keys : sequence of int
        The Flink key of each shard.
    """
    fields = [DataTypes.FIELD("shard", DataTypes.INT()), DataTypes.FIELD("packed", DataTypes.BYTES())]
    return _function(_Pack(kinds, key_at, shard_keys), fields)


def score_function(spec: EngineSpec, model: str, role: ArmRole | None = None) -> Any:
    """Return the function from features to ``ROW(score, label, probabilities, status, reason, version)``.

    Of a model that is compared the row has ``block_ms`` and ``block_rows`` too, in the first of a batch: how long the
    batch took, and how many answers waited for it. What a shadow skips has no status; one that has a share of the
    events takes the event id behind the features.

    Parameters
    ----------
    spec : EngineSpec
        What answers.
    model : str
        Its name, for the metrics.
    role : ArmRole, optional
        What it is in comparisons.
    """
    fields = [
        DataTypes.FIELD("score", DataTypes.DOUBLE()),
        DataTypes.FIELD("label", DataTypes.STRING()),
        DataTypes.FIELD("probabilities", DataTypes.MAP(DataTypes.STRING(), DataTypes.DOUBLE())),
        *(DataTypes.FIELD(name, DataTypes.STRING()) for name in ("status", "reason", "version")),
    ]
    if role is not None:
        fields += [DataTypes.FIELD("block_ms", DataTypes.DOUBLE()), DataTypes.FIELD("block_rows", DataTypes.BIGINT())]
    return _function(_Score(spec, model, role), fields)


def _function(function: ScalarFunction, fields: Sequence[Any]) -> Any:
    return udf(function, result_type=DataTypes.ROW(list(fields)), func_type="pandas")


def _values(kind: str, series: Any) -> Any:
    """Return a column as an array of what the model is to see; null and NaN are both None."""
    values = series.to_numpy()
    if kind == "number":
        if values.dtype == object:
            values = values.astype(np.float64)
        missing = np.isnan(values)
        if not missing.any():
            return values
        values = values.astype(object)
        values[missing] = None
        return values
    if kind == "integer":
        if values.dtype.kind in "iu":
            return values
        if values.dtype.kind == "f":
            whole = np.isfinite(values)
            return (
                values.astype(np.int64)
                if whole.all()
                else _objects([int(v) if ok else None for v, ok in zip(values, whole, strict=True)])
            )
        return _objects([None if value is None else int(value) for value in values])
    if kind == "vector":
        return _objects([None if value is None else json.loads(value.replace("NULL", "NaN")) for value in values])
    return values.astype(object)


def _objects(values: list[Any]) -> Any:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
