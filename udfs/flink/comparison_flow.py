"""Builds the flow of a comparison: what all its models answered and what became of it, into one operator."""

from __future__ import annotations

from collections.abc import Mapping

from pyflink.table import Schema, StreamTableEnvironment
from thalweg.connector.ddl import quote_name, quote_text
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.flink.comparison_operator import RECORDS, SERVED_TYPES, ComparisonOperator, comparison_type
from thalweg.udfs.flink.comparison_rows import KINDS, Carried, answer_rows, command_rows, outcome_rows
from thalweg.udfs.flink.flow import Built
from thalweg.udfs.flink.keyed_blocks import keyed_blocks, setting
from thalweg.udfs.flink.model_views import create_model_view
from thalweg.udfs.flink.tables import TableReader
from thalweg.udfs.logic.compare_declaration import CompareDeclaration

__all__ = ["build_comparison"]

_CONTROL = ("model", "command", "argument", "issued_by", "reason", "issued_ms")
# How long the topic of orders must be silent until it no longer holds the time of the stream back.
_IDLE = "1 s"


def build_comparison(
    t_env: StreamTableEnvironment, declaration: CompareDeclaration, flows: Mapping[str, Built], reader: TableReader
) -> None:
    """Create the views of one comparison: ``<name>_predictions``, ``_metrics``, ``_decisions`` and ``_alerts``.

    Parameters
    ----------
    t_env : StreamTableEnvironment
        Where it is built.
    declaration : CompareDeclaration
        What is compared.
    flows : mapping of str to Built
        The flows of its models, by name.
    reader : TableReader
        Of the program.

    Raises
    ------
    ConfigError
        A model has no watermark, or was built before the comparison was known; a column or a table is missing.
    """
    _Comparison(t_env, declaration, flows, reader).build()


class _Comparison:
    def __init__(
        self,
        t_env: StreamTableEnvironment,
        declaration: CompareDeclaration,
        flows: Mapping[str, Built],
        reader: TableReader,
    ) -> None:
        self._t_env, self._d, self._reader = t_env, declaration, reader
        self._flows = [flows[arm.name] for arm in declaration.plan.arms]
        self._prefix = f"thalweg_{declaration.name}"

    def build(self) -> None:
        d, env = self._d, self._t_env
        layout = self._layout()
        beside = d.rewards() if d.arms[0].label_table is not None else ()
        queries = []
        for at, flow in enumerate(self._flows):
            queries.append(answer_rows(at, flow.answers, bool(flow.carried)))
            if flow.outcomes is not None:
                queries.append(outcome_rows(at, flow.outcomes(beside), bool(flow.carried)))
        if d.control_table is not None:
            queries.append(command_rows(d.name, self._orders(d.control_table)))
        ttl_ms = 2 * d.plan.label_timeout_ms + 3_600_000
        # A stage of its own: else the planner packs the rows of each model apart, each in a Python of its own.
        with (
            setting(env, "table.exec.state.ttl", f"{ttl_ms} ms"),
            setting(env, "table.exec.source.idle-timeout", _IDLE),
        ):
            stream = env.to_data_stream(env.sql_query(" UNION ALL ".join(queries)))
        rows = f"{self._prefix}_rows"
        env.create_temporary_view(rows, env.from_data_stream(stream, _passing()))
        names = ", ".join(map(quote_name, env.from_path(rows).get_schema().get_field_names()[: len(KINDS)]))
        keyed = keyed_blocks(env, f"SELECT {names} FROM {rows}", KINDS, None, 1, f"{self._prefix}_compare_pack", ttl_ms)
        out = keyed.process(ComparisonOperator(d.plan, layout, d.control_keys), comparison_type())
        out.name(f"{d.name}: compare")
        out.uid(f"thalweg-{d.name}-comparison")
        env.create_temporary_view(f"{self._prefix}_operator", env.from_data_stream(out, _passing()))
        self._views()

    def _layout(self) -> list[Carried]:
        """Return where each model's answers have what the comparison needs; tell what stands in its way."""
        d, problems, layout = self._d, [], []
        inside = d.rewards() if d.arms[0].label_table is None else ()
        for arm, flow in zip(d.plan.arms, self._flows, strict=True):
            if not flow.timed:
                what = f"has no watermark, and the answers that {d.name} compares meet in the order of their time."
                problems.append(Problem(f"model {arm.name}", what, "Declare WATERMARK FOR in its tables."))
            missing = [name for name in d.carried() if name not in flow.carried]
            if missing:
                what = f"was built before {d.name} was known, and its answers do not carry {', '.join(missing)}."
                problems.append(
                    Problem(f"model {arm.name}", what, "Declare the comparison before the first use of it.")
                )
                continue
            places = {name: at for at, name in enumerate(flow.carried)}
            layout.append(
                Carried(
                    None if d.unit is None else places[d.unit],
                    tuple(places[name] for name in d.plan.slices),
                    tuple(places[name] for name in inside) or None,
                    # Who did not buy brought nothing; by what that is to be divided, nobody knows.
                    0.0 if d.arms[0].label_table is not None and len(d.rewards()) == 1 else None,
                )
            )
        if problems:
            raise ConfigError(problems)
        return layout

    def _orders(self, table: str) -> str:
        """Return a view of the orders of people, which lets the time of the stream pass while there are none."""
        d, env = self._d, self._t_env
        where = f"model {d.name}, option 'control-table'"
        prepared = self._reader.prepare(table, None, d.arms[0].on_malformed, where)
        missing = [name for name in _CONTROL if name not in prepared.types]
        if missing:
            what = f"table '{table}' has no column {', '.join(missing)}."
            raise ConfigError([Problem(where, what, "Declare it as `thalweg ddl control` prints it.")])
        view = f"{self._prefix}_orders"
        with setting(env, "table.exec.source.idle-timeout", _IDLE):
            stream = env.to_data_stream(env.sql_query(f"SELECT {', '.join(_CONTROL)} FROM {prepared.view}"))
        # An order is ahead of all time: the watermark of the events alone says when its time has come.
        schema = Schema.new_builder().column_by_expression("thalweg_time", "TO_TIMESTAMP_LTZ(4102444800000, 3)")
        schema = schema.watermark("thalweg_time", "thalweg_time")
        env.create_temporary_view(view, env.from_data_stream(stream, schema.build()))
        return view

    def _views(self) -> None:
        name, operator = quote_text(self._d.name), f"{self._prefix}_operator"
        answers = {column: f"{operator}.{quote_name(column)}[n] AS {quote_name(column)}" for column in SERVED_TYPES}
        order = (
            "model_version", "event_id", "key", "event_time_ms", "score", "label", "probabilities", "status", "reason",
            "learned", "arm", "propensity",
        )  # fmt: skip
        answers["event_time_ms"] = "ms AS event_time_ms"
        self._view(
            "predictions",
            f"SELECT {name} AS model, {', '.join(answers[column] for column in order)} FROM {operator}"
            f" CROSS JOIN UNNEST({operator}.event_time_ms) WITH ORDINALITY AS u(ms, n)",
        )
        own = {
            record: {column: f"t.{record}.{quote_name(column)} AS {quote_name(column)}" for column in columns}
            for record, columns in RECORDS.items()
        }
        metric = own["metric"]
        figures = (
            f"t.metric.arm AS model_version, {metric['metric']}, 'cumulative' AS `window`, {metric['value']},"
            f" {metric['count']}, CAST(0 AS BIGINT) AS window_start_ms, {metric['event_time_ms']}, {metric['slice']}"
        )
        for view, columns in (
            ("decisions", ", ".join(own["decision"].values())),
            ("metrics", figures),
            ("alerts", ", ".join(own["alert"].values())),
        ):
            record = view.removesuffix("s")
            self._view(view, f"SELECT {name} AS model, {columns} FROM {operator} t WHERE t.{record} IS NOT NULL")

    def _view(self, suffix: str, query: str) -> None:
        create_model_view(self._t_env, self._d.name, suffix, query)


def _passing() -> Schema:
    """Return the schema of a stage that lets the watermark pass; its rows have no one time."""
    schema = Schema.new_builder().column_by_expression("thalweg_time", "TO_TIMESTAMP_LTZ(0, 3)")
    return schema.watermark("thalweg_time", "SOURCE_WATERMARK()").build()
