"""The SQL functions by the names that ``CREATE FUNCTION name AS 'thalweg.udfs.sql.name' LANGUAGE PYTHON`` uses."""

from __future__ import annotations

from thalweg.udfs.flink.onnx_functions import onnx_label, onnx_predict, onnx_proba, onnx_score, onnx_vector

__all__ = ["onnx_label", "onnx_predict", "onnx_proba", "onnx_score", "onnx_vector"]
