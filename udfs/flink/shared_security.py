"""Credentials are written once, in the table: what else a model reads from the same brokers takes them from there."""

from __future__ import annotations

from dataclasses import replace

from pyflink.table import StreamTableEnvironment
from thalweg.connector.ddl import quote_name
from thalweg.connector.kafka_security import table_security
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["with_table_security"]


def with_table_security(t_env: StreamTableEnvironment, declaration: Declaration) -> Declaration:
    """Return a declaration whose ``warm-start`` logs in as its ``input-table`` does, if both name the same broker.

    A ``kafka-config`` of its own goes before that. The settings go to the workers with the job, as those of the table
    do, and are shown nowhere.
    """
    source = declaration.warm_start
    if source is None or source.is_file or source.kafka_config:
        return declaration
    options = _options(t_env, declaration.input_table)
    shared = _addresses(options.get("properties.bootstrap.servers", "")) & _addresses(source.brokers)
    security = table_security(options)
    if not shared or not security:
        return declaration
    return replace(declaration, warm_start=source._replace(security=tuple(sorted(security.items()))))


def _options(t_env: StreamTableEnvironment, table: str) -> dict[str, str]:
    """Return the options of a table; a view, or what is not there, which is told elsewhere, has none."""
    manager, parser = t_env._j_tenv.getCatalogManager(), t_env._j_tenv.getParser()
    path = ".".join(map(quote_name, table.split(".")))
    found = manager.getTable(manager.qualifyIdentifier(parser.parseIdentifier(path)))
    if not found.isPresent():
        return {}
    resolved = found.get().getResolvedTable()
    return dict(resolved.getOptions()) if str(resolved.getTableKind()) == "TABLE" else {}


def _addresses(brokers: str) -> set[str]:
    return {address.strip() for address in brokers.split(",") if address.strip()}
