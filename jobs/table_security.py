"""Kafka's security settings in the tables of a SQL file: those of ``--client-config``, and names as Flink has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from thalweg.connector.ddl import quote_text
from thalweg.connector.kafka_security import SHADED, remember_secrets, table_security
from thalweg.connector.references import filled
from thalweg.jobs.script import Statement

__all__ = ["with_security"]

_WITH = re.compile(r"\bWITH\s*\((?=\s*')", re.IGNORECASE)
_PART = re.compile(r"'(?:[^']|'')*'|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|[()]", re.DOTALL)
# Flink's SQL connector has Kafka's classes under names of its own; a file for Kafka's tools has Kafka's names.
_MODULE = re.compile(r"(?<![\w.$])(?=org\.apache\.kafka\.common\.security\.[\w.]*LoginModule\b)")


def with_security(statements: Sequence[Statement], security: Mapping[str, str]) -> list[Statement]:
    """Return statements whose Kafka tables log in.

    Parameters
    ----------
    statements : sequence of Statement
        Of a script.
    security : mapping of str to str
        Kafka's settings by their names, for the Kafka tables that have none of their own.

    Raises
    ------
    ConfigError
        A reference in ``security`` leads nowhere.

    Examples
    --------
    >>> from thalweg.jobs.script import parse_script
    >>> sql = "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 't')"
    >>> print(with_security(parse_script(sql, "job.sql", {}), {"security.protocol": "SSL"})[0].text)
    CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.security.protocol' = 'SSL')
    """
    given = {name: filled(value, f"--client-config, '{name}'") for name, value in security.items()}
    remember_secrets(given)
    return [_secured(statement, given) if statement.kind == "CREATE TABLE" else statement for statement in statements]


def _secured(statement: Statement, given: Mapping[str, str]) -> Statement:
    options = statement.options
    if options.get("connector") not in ("kafka", "upsert-kafka"):
        return statement
    text = statement.text
    if given and not table_security(options):
        text = _added(text, given)
    return statement._replace(text=_MODULE.sub(SHADED, text))


def _added(text: str, given: Mapping[str, str]) -> str:
    """Return a CREATE TABLE with more options at the end of its WITH clause."""
    begun = _WITH.search(text)
    depth = 1
    for part in _PART.finditer(text, begun.end() if begun else len(text)):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0:
            more = "".join(f", {quote_text(f'properties.{n}')} = {quote_text(v)}" for n, v in given.items())
            return text[: part.start()] + more + text[part.start() :]
    return text
