"""Models of a table program that are declared in Python: the statement that ``CREATE MODEL`` would have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyflink.datastream import DataStream
from pyflink.table import Schema, StreamTableEnvironment, Table
from thalweg.connector.ddl import quote_name, quote_text
from thalweg.connector.errors import ConfigError, Problem

__all__ = ["ModelStreams", "ModelTables", "create_model"]


class ModelTables(NamedTuple):
    """The output of one model; None where there is none: no metrics without labels, no snapshots without learning.

    Comparisons have decisions, and models that react to drift.
    """

    predictions: Table
    metrics: Table | None
    snapshots: Table | None
    alerts: Table | None
    dead_letters: Table | None
    decisions: Table | None

    def streams(self, t_env: StreamTableEnvironment) -> ModelStreams:
        """Return the same as streams of ``Row``, to go on with in the DataStream API."""
        return ModelStreams(*(None if table is None else t_env.to_data_stream(table) for table in self))


class ModelStreams(NamedTuple):
    """The output of one model as streams, with the fields of ``ModelTables``."""

    predictions: DataStream
    metrics: DataStream | None
    snapshots: DataStream | None
    alerts: DataStream | None
    dead_letters: DataStream | None
    decisions: DataStream | None


def create_model(
    t_env: StreamTableEnvironment,
    name: str,
    events: Table | DataStream,
    features: Sequence[str],
    output: str,
    labels: Table | DataStream | None,
    options: Mapping[str, object],
) -> None:
    """Declare a model on tables or streams.

    Parameters
    ----------
    t_env : StreamTableEnvironment
        Where it is declared.
    name : str
        The model.
    events, labels : Table or DataStream
        Become the views ``<name>_events`` and ``<name>_labels``.
    features : sequence of str
        Columns of the events; their types are the table's.
    output : str
        What is predicted: a column of the labels, else of the events; or a name with a type, such as ``risk DOUBLE``.
    options : mapping of str to object
        Options of ``CREATE MODEL``, with underscores for hyphens.

    Raises
    ------
    ConfigError
        A column is not there; lists all of them.
    """
    given = {option.replace("_", "-"): str(value) for option, value in options.items() if value is not None}
    in_order = given.get("order") != "arrival"
    tables = {"events": _table(t_env, events, in_order)}
    if labels is not None:
        tables["labels"] = _table(t_env, labels, in_order)
    types = {role: _types(table) for role, table in tables.items()}
    problems: list[Problem] = []
    inputs = [_column(name, feature, "events", types["events"], problems) for feature in features]
    if " " not in output.strip():
        output = _column(
            name, output, "labels" if labels is not None else "events", types.get("labels") or types["events"], problems
        )
        given.setdefault("label", output.partition(" ")[0].strip("`"))
    if problems:
        raise ConfigError(problems)
    for role, table in tables.items():
        t_env.create_temporary_view(f"{name}_{role}", table)
        given.setdefault({"events": "input-table", "labels": "label-table"}[role], f"{name}_{role}")
    settings = ", ".join(f"{quote_text(option)} = {quote_text(text)}" for option, text in given.items())
    t_env.execute_sql(
        f"CREATE TEMPORARY MODEL {quote_name(name)} INPUT ({', '.join(inputs)}) OUTPUT ({output}) WITH ({settings})"
    )


def _table(t_env: StreamTableEnvironment, source: Table | DataStream, in_order: bool) -> Table:
    if isinstance(source, Table):
        return source
    schema = Schema.new_builder()
    if in_order:
        # The timestamps and watermarks that the stream was given.
        schema = schema.column_by_metadata("rowtime", "TIMESTAMP_LTZ(3)").watermark("rowtime", "SOURCE_WATERMARK()")
    return t_env.from_data_stream(source, schema.build())


def _types(table: Any) -> dict[str, str]:
    columns = table._j_table.getResolvedSchema().getColumns()
    found = {}
    for column in columns:
        text = str(column.getDataType().getLogicalType().asSerializableString())
        found[str(column.getName())] = text.removesuffix(" NOT NULL")
    return found


def _column(model: str, name: str, role: str, types: Mapping[str, str], problems: list[Problem]) -> str:
    if name not in types:
        what = f"the {role} have no column '{name}'."
        problems.append(Problem(f"model {model}, '{name}'", what, f"They have {', '.join(types)}."))
    return f"{quote_name(name)} {types.get(name, 'DOUBLE')}"
