"""The reference table of a model: what it must have, and its rows as old examples with their labels."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.table import StreamTableEnvironment
from thalweg.connector.ddl import quote_name
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.flink.statements import NO_TEXT, Column, model_key, transport
from thalweg.udfs.flink.tables import Prepared, TableReader
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.old_examples import REFERENCE

__all__ = ["prepare_reference", "reference_rows"]

_TOPICS = ("kafka", "upsert-kafka")


def prepare_reference(
    t_env: StreamTableEnvironment, declaration: Declaration, reader: TableReader, columns: Sequence[Column]
) -> Prepared:
    """Return the reference table, prepared.

    Raises
    ------
    ConfigError
        It lacks columns, or has other types there, or it is a topic that never ends.
    """
    d, table = declaration, declaration.reference_table or ""
    where = f"model {d.name}, option 'reference-table'"
    prepared = reader.prepare(table, None, d.on_malformed, where)
    types = {name: sql_type.removesuffix(" NOT NULL") for name, sql_type in prepared.types.items()}
    missing = [column.name for column in columns if types.get(column.name) != column.sql_type.removesuffix(" NOT NULL")]
    problems = []
    if missing:
        what = f"table '{table}' lacks {', '.join(missing)}, or has another type there."
        problems.append(Problem(where, what, "Declare features, key and label as the model's own tables do."))
    options = _options(t_env, table)
    if options.get("connector") in _TOPICS and "scan.bounded.mode" not in options:
        # The time of a union is that of its slowest part: with such a table nothing would ever be answered in order.
        what = f"table '{table}' is a topic that never ends."
        problems.append(Problem(where, what, "Add 'scan.bounded.mode' = 'latest-offset' to it."))
    if problems:
        raise ConfigError(problems)
    return prepared


def reference_rows(
    t_env: StreamTableEnvironment,
    declaration: Declaration,
    reader: TableReader,
    key: Sequence[Column],
    features: Sequence[Column],
    label: Column,
) -> str:
    """Return the query of the rows with their labels, with the columns of ``learning_rows``; they have no time.

    Raises
    ------
    ConfigError
        As ``prepare_reference``; so too where the label has another type than the model's.
    """
    truth = label._replace(name=declaration.reference_label or label.name)
    prepared = prepare_reference(t_env, declaration, reader, [*key, *features, truth])
    read = ", ".join(f"{transport(column)} AS f{at}" for at, column in enumerate(features))
    return (
        f"SELECT {REFERENCE} AS kind, {model_key(key)} AS model_key, {NO_TEXT} AS event_id, CAST(0 AS BIGINT) AS"
        f" event_ms, CAST(0 AS BIGINT) AS row_ms, {transport(truth)} AS label, {read} FROM {prepared.view}"
    )


def _options(t_env: StreamTableEnvironment, table: str) -> dict[str, str]:
    manager = t_env._j_tenv.getCatalogManager()
    path = ".".join(map(quote_name, table.split(".")))
    found = manager.getTable(manager.qualifyIdentifier(t_env._j_tenv.getParser().parseIdentifier(path)))
    resolved = found.get().getResolvedTable()
    return dict(resolved.getOptions()) if str(resolved.getTableKind()) == "TABLE" else {}
