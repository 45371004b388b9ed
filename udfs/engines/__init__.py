"""Pure models behind one protocol, found by name.

Built-in engines and a customer's own are registered the same way, by the entry-point group ``thalweg.engines``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Scorer

__all__ = ["build", "check_whole", "engine_class", "restore"]

# Thalweg as a zip on a cluster's Python path has no distribution metadata, so the built-in names stand here too.
_BUILT_IN = {
    "river": "thalweg.udfs.engines.river_engine:RiverEngine",
    "onnx": "thalweg.udfs.engines.onnx_engine:OnnxEngine",
    "neural": "thalweg.udfs.engines.neural_engine:NeuralEngine",
    "midas": "thalweg.udfs.engines.midas_engine:MidasEngine",
    "metric-anomaly": "thalweg.udfs.engines.metric_anomaly_engine:MetricAnomalyEngine",
    "recommend": "thalweg.udfs.engines.recommend_engine:RecommendEngine",
}


@cache
def engine_class(kind: str) -> type[Scorer]:
    """Return the class registered for ``kind``.

    Raises
    ------
    ConfigError
        No engine has that name; the error lists those that exist.
    """
    found = dict(_BUILT_IN)
    found.update(
        {point.name: point.value for point in entry_points(group="thalweg.engines") if point.name not in _BUILT_IN}
    )
    if kind not in found:
        known = ", ".join(sorted(found))
        raise ConfigError([Problem(f"provider '{kind}'", "no such engine.", f"Known: {known}.")])
    module, _, name = found[kind].partition(":")
    return cast("type[Scorer]", getattr(import_module(module), name))


def build(spec: EngineSpec) -> Scorer:
    """Build a new model from its spec."""
    return engine_class(spec.kind).build(spec)


def restore(spec: EngineSpec, blob: bytes) -> Scorer:
    """Build the model that ``dump`` wrote."""
    return engine_class(spec.kind).restore(spec, blob)


def check_whole(engine: Scorer) -> None:
    """Raise SnapshotError where a model that was restored cannot be written again, as parts of it are missing.

    A snapshot from outside may be forged so that the audit of its bytes finds nothing; the job would end at its next
    checkpoint. State that the job has written itself needs no such check.
    """
    try:
        engine.dump()
    except Exception as error:
        raise SnapshotError(f"the snapshot is damaged: it cannot be written again ({error}).") from error
