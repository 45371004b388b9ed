"""The SQL functions by the names that ``CREATE FUNCTION name AS 'thalweg.udfs.sql.name' LANGUAGE PYTHON`` uses."""

from __future__ import annotations

from thalweg.udfs.flink.onnx_functions import onnx_label, onnx_predict, onnx_proba, onnx_score, onnx_vector
from thalweg.udfs.flink.river_functions import (
    drift,
    online_metric,
    river_label,
    river_learn,
    river_model,
    river_predict,
    river_score,
)

__all__ = [
    "drift",
    "online_metric",
    "onnx_label",
    "onnx_predict",
    "onnx_proba",
    "onnx_score",
    "onnx_vector",
    "river_label",
    "river_learn",
    "river_model",
    "river_predict",
    "river_score",
]
