"""What the view of predictions has beside the columns of the wire contract: the answer in the words of the task."""

from __future__ import annotations

from thalweg.connector.ddl import quote_text
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.river_forecast import read_horizon

__all__ = ["task_columns"]

_METRIC_PARTS = ("actual_value", "forecast_value", "lower_bound", "upper_bound")


def task_columns(spec: EngineSpec) -> list[tuple[str, str]]:
    """Return the further columns of ``<model>_predictions``, in order.

    Each is NULL unless the status is ``ok``; ``is_anomaly`` also where nothing decides.

    Parameters
    ----------
    spec : EngineSpec
        The task decides, and for a forecast its horizon.

    Returns
    -------
    list of (name, SQL expression)
        Over the columns of the wire contract. ``anomaly``: ``is_anomaly`` BOOLEAN, and of the provider
        ``metric-anomaly`` also ``actual_value``, ``forecast_value``, ``lower_bound`` and ``upper_bound``, each DOUBLE;
        ``clustering``: ``cluster`` BIGINT;
        ``forecasting``: ``forecast`` ARRAY<DOUBLE>, one number per step; ``bandit``: ``arm`` STRING; ``next-item``:
        ``recommendations`` ARRAY<ROW<item STRING, score DOUBLE>>, at most ``top-k``, the best first. None otherwise.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> inputs, output = (Field("x", "number"),), Field("y", "number")
    >>> task_columns(EngineSpec("river", "clustering", "cluster.KMeans()", inputs, output))
    [('cluster', 'CAST(score AS BIGINT)')]
    """
    if spec.task == "anomaly":
        decided = [("is_anomaly", "CASE label WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END")]
        parts = _METRIC_PARTS if spec.kind == "metric-anomaly" else ()
        return decided + [(name, f"probabilities[{quote_text(name)}]") for name in parts]
    if spec.task == "clustering":
        return [("cluster", "CAST(score AS BIGINT)")]
    if spec.task == "forecasting":
        steps = ", ".join(f"probabilities[{quote_text(str(n))}]" for n in range(1, (read_horizon(spec) or 1) + 1))
        return [("forecast", f"CASE WHEN status = 'ok' THEN ARRAY[{steps}] END")]
    if spec.task == "next-item":
        return [("recommendations", _ranked(int(spec.param("top-k", "10"))))]
    return [("arm", "label")] if spec.task == "bandit" else []


def _ranked(top: int) -> str:
    """Return the items of ``probabilities``, the best first: a MAP has no order, and no two items have one score."""
    scores = "ARRAY_SORT(MAP_VALUES(probabilities), FALSE)"
    rows = ", ".join(
        f"CAST(ROW(MAP_KEYS(probabilities)[ARRAY_POSITION(MAP_VALUES(probabilities), {scores}[{n}])], {scores}[{n}])"
        " AS ROW<item STRING, score DOUBLE>)"
        for n in range(1, top + 1)
    )
    return f"CASE WHEN status = 'ok' THEN ARRAY_SLICE(ARRAY[{rows}], 1, CARDINALITY(probabilities)) END"
