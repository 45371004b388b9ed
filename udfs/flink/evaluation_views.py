"""The queries behind ``<model>_metrics``, ``_alerts`` and ``_decisions``, and the values of an event's slices."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.connector.ddl import quote_name, quote_text
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["alerts_query", "decisions_query", "metrics_query", "slice_values"]


def metrics_query(declaration: Declaration, prefix: str) -> str:
    """Return the query of a model's metrics; ``prefix`` is that of the flow's own views."""
    return (
        f"SELECT {quote_text(declaration.name)} AS model, {quote_text(declaration.model_version or '')} AS"
        " model_version, metric, metric_window AS `window`, metric_value AS `value`, metric_count AS `count`,"
        f" window_start_ms, event_time_ms, slice FROM {prefix}_evaluation WHERE severity IS NULL"
    )


def alerts_query(declaration: Declaration, prefix: str) -> str:
    """Return the query of a model's alerts, by its rules and of its learning; empty where there can be none.

    The evaluation is named only where there are rules: else nothing that reads alerts makes it run.
    """
    name, queries = quote_text(declaration.name), []
    if declaration.watch.rules:
        queries.append(
            f"SELECT {name} AS model, metric AS `alert`, severity, state, metric_value AS `value`, threshold,"
            f" metric_count AS `count`, event_time_ms, reason FROM {prefix}_evaluation WHERE severity IS NOT NULL"
        )
    if declaration.learns:
        queries.append(
            f"SELECT {name} AS model, t.alert.`alert` AS `alert`, t.alert.severity AS severity, 'raised' AS state,"
            " t.alert.`value` AS `value`, t.alert.threshold AS threshold, CAST(1 AS BIGINT) AS `count`,"
            f" t.alert.time_ms AS event_time_ms, t.alert.reason AS reason FROM {prefix}_operator t"
            " WHERE t.alert IS NOT NULL"
        )
    return " UNION ALL ".join(queries)


def decisions_query(declaration: Declaration, prefix: str) -> str:
    """Return the query of what a model decides about itself; empty where nothing makes it react to a drift."""
    if not declaration.learns or (declaration.on_drift == "none" and not declaration.cadence.drift):
        return ""
    name = quote_text(declaration.name)
    return (
        f"SELECT {name} AS model, t.decision.decision AS decision, {name} AS arm, '' AS previous,"
        " t.decision.shares AS shares, 'thalweg' AS decided_by, t.decision.reason AS reason,"
        f" t.decision.evidence AS evidence, t.decision.time_ms AS event_time_ms FROM {prefix}_operator t"
        " WHERE t.decision IS NOT NULL"
    )


def slice_values(columns: Sequence[str]) -> str | None:
    """Return the expression for the values of an event's slices, a JSON array; None without slices.

    Examples
    --------
    >>> slice_values(["carrier"])
    'JSON_ARRAY(CAST(`carrier` AS STRING) NULL ON NULL)'
    """
    texts = ", ".join(f"CAST({quote_name(name)} AS STRING)" for name in columns)
    return f"JSON_ARRAY({texts} NULL ON NULL)" if columns else None
