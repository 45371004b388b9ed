"""The SQL functions that answer with an ONNX model: ``onnx_score`` and its sisters, vectorised."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import ScalarFunction, udf
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_call import Batch, LoadedModel, load_model
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.flink.meters import Meters, group_of
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.flink.process_mode import require_process
from thalweg.udfs.flink.served_models import ServedModel, place_of

__all__ = ["onnx_label", "onnx_predict", "onnx_proba", "onnx_score", "onnx_vector"]


class _Onnx(ScalarFunction):
    """One of the functions; what they have in common is which model answers, and what it is fed."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._models: dict[tuple[str, tuple[bool, ...]], LoadedModel | ServedModel] = {}
        self._vectors: dict[tuple[str, int], tuple[bool, ...]] = {}
        self._context: Any = None
        self._group: Any = None
        self._meters = Meters(None)
        self._by_model: dict[str, Meters] = {}
        self._refused: list[None] = []  # one for each version that was refused since the last batch

    def open(self, function_context: Any) -> None:
        end_with_flink()
        require_process(self.name)
        self._context = function_context
        self._group = group_of(function_context)
        self._meters = Meters(self._group)
        for name in ("thalweg_rows_without_answer", "thalweg_models_refused", "thalweg_unseen_categories"):
            self._meters.count(name, 0)

    def close(self) -> None:
        for model in self._models.values():
            if isinstance(model, ServedModel):
                model.close()
        self._models.clear()

    # The planner may fold or repeat a deterministic function; a model may be exchanged between two calls.
    def is_deterministic(self) -> bool:
        return False

    def eval(self, model: Any, *features: Any) -> Any:
        columns = [
            part
            for number, feature in enumerate(features, 1)
            for part in _columns(feature, f"feature {number} of {self.name}")
        ]
        if not isinstance(model, pd.Series):
            count = next((len(part) for part in columns if isinstance(part, np.ndarray)), 1)
            return self._answer(model, columns, count)
        # The model is a column: each of its values answers the rows that name it.
        answers: list[Any] = []
        for name, rows in model.groupby(model, dropna=False).indices.items():
            chosen = [part[rows] if isinstance(part, np.ndarray) else part for part in columns]
            found = self._answer(name if isinstance(name, str) else None, chosen, len(rows))
            answers.append(found.set_axis(rows))
        return pd.concat(answers).sort_index()

    def _answer(self, model: str | None, columns: Sequence[Any], count: int) -> Any:
        since_ns = time.perf_counter_ns()
        if model is None:
            batch, loaded = Batch(count, [], dict.fromkeys(range(count), "the name of the model is NULL")), None
        else:
            found = self._model(model, columns)
            if isinstance(found, ServedModel):
                batch, loaded = found.run(columns, count)
            else:
                batch, loaded = found.run(columns, count), found
        result = self.result(batch, loaded)
        self._count(batch, loaded, model, since_ns)
        return result

    def _count(self, batch: Batch, loaded: LoadedModel | None, model: str | None, since_ns: int) -> None:
        refused = len(self._refused)
        del self._refused[:refused]
        for name, number in (
            ("thalweg_rows_without_answer", len(batch.faults)),
            ("thalweg_unseen_categories", batch.unseen),
            ("thalweg_models_refused", refused),
        ):
            if number:
                self._meters.count(name, number)
        if loaded is not None and model is not None:
            meters = self._by_model.get(model)
            if meters is None:
                meters = self._by_model[model] = Meters(self._group, loaded.model_id)
            meters.inference(batch.size, len(batch.faults), loaded.version, since_ns)

    def _model(self, model: str, columns: Sequence[Any]) -> LoadedModel | ServedModel:
        kinds = [_is_vector(part) for part in columns]
        known = self._vectors.get((model, len(columns)))
        if known is None or any(kind is not None and kind is not old for kind, old in zip(kinds, known, strict=True)):
            known = self._shape(model, kinds)
        found = self._models.get((model, known))
        if found is None:
            found = self._models[model, known] = self._load(model, known)
            self._vectors[model, len(columns)] = known
        return found

    def _shape(self, model: str, kinds: Sequence[bool | None]) -> tuple[bool, ...]:
        """Say which arguments are arrays; a column of NULL alone does not tell, so the model has to."""
        shape = tuple(bool(kind) for kind in kinds)
        if None in kinds:
            try:
                self._models[model, shape] = self._load(model, shape)
            except ConfigError:
                return tuple(kind is not False for kind in kinds)
        return shape

    def _load(self, model: str, vectors: tuple[bool, ...]) -> LoadedModel | ServedModel:
        reference = parse_reference(model)
        if not reference.by_name:
            return load_model(model, vectors)
        return ServedModel(reference, vectors, place_of(reference, self._parameter), self._count_refused)

    def _parameter(self, name: str, default: str) -> str:
        return default if self._context is None else self._context.get_job_parameter(name, default)

    def _count_refused(self) -> None:
        # Called by the thread that follows the topic, whose counts Flink would not see.
        self._refused.append(None)

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        raise NotImplementedError


class _Score(_Onnx):
    name = "onnx_score"

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        return pd.Series(batch.scores())


class _Label(_Onnx):
    name = "onnx_label"

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        return pd.Series(batch.labels(), dtype=object)


class _Vector(_Onnx):
    name = "onnx_vector"

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        return pd.Series(batch.vectors(), dtype=object)


class _Proba(_Onnx):
    name = "onnx_proba"

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        return pd.Series(batch.probabilities(), dtype=object)


class _Predict(_Onnx):
    name = "onnx_predict"

    def result(self, batch: Batch, model: LoadedModel | None) -> Any:
        nothing = [None] * batch.size
        gives = {
            what: all(part.gives(what) for _, part in batch.parts) for what in ("scores", "labels", "probabilities")
        }
        scores = batch.scores() if gives["scores"] else np.full(batch.size, np.nan)
        found = {
            "label": pd.Series(batch.labels() if gives["labels"] else nothing, dtype=object),
            "score": pd.Series(scores),
            "probabilities": pd.Series(batch.probabilities() if gives["probabilities"] else nothing, dtype=object),
        }
        for at in batch.faults:
            for column in ("label", "probabilities"):
                found[column][at] = None
            scores[at] = np.nan
        return pd.DataFrame(
            {
                **found,
                "status": ["refused" if at in batch.faults else "ok" for at in range(batch.size)],
                "reason": [batch.faults.get(at, "") for at in range(batch.size)],
                "model_id": [model.model_id if model else None] * batch.size,
                "model_version": [model.version if model else None] * batch.size,
            }
        )


def _columns(feature: Any, where: str) -> list[Any]:
    """Return an argument as arrays: a ROW is its fields, one after the other; a literal stays a plain value."""
    if isinstance(feature, pd.DataFrame):
        return [part for name in feature.columns for part in _columns(feature[name], f"field '{name}' of {where}")]
    if not isinstance(feature, pd.Series):
        return [feature]
    if isinstance(feature.dtype, pd.DatetimeTZDtype):
        what = "TIMESTAMP_LTZ arrives in Python shifted by the time zone of the session."
        remedy = "Pass a number instead, such as a BIGINT of epoch milliseconds."
        raise ConfigError([Problem(where, what, remedy)])
    return [feature.to_numpy()]


def _is_vector(part: Any) -> bool | None:
    """Return whether an argument is an ARRAY; None where it is all NULL and does not tell."""
    if not isinstance(part, np.ndarray):
        return False
    if part.dtype != object:
        return False
    first = next((value for value in part if value is not None), None)
    return None if first is None else isinstance(first, (list, np.ndarray))


_PROBABILITIES = DataTypes.MAP(DataTypes.STRING(), DataTypes.DOUBLE())
onnx_score = udf(_Score(), result_type=DataTypes.DOUBLE(), func_type="pandas")
onnx_label = udf(_Label(), result_type=DataTypes.STRING(), func_type="pandas")
onnx_vector = udf(_Vector(), result_type=DataTypes.ARRAY(DataTypes.DOUBLE()), func_type="pandas")
onnx_proba = udf(_Proba(), result_type=_PROBABILITIES, func_type="pandas")
onnx_predict = udf(
    _Predict(),
    result_type=DataTypes.ROW(
        [
            DataTypes.FIELD("label", DataTypes.STRING()),
            DataTypes.FIELD("score", DataTypes.DOUBLE()),
            DataTypes.FIELD("probabilities", _PROBABILITIES),
            *(DataTypes.FIELD(name, DataTypes.STRING()) for name in ("status", "reason", "model_id", "model_version")),
        ]
    ),
    func_type="pandas",
)
