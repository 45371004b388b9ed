"""What a SQL file would do, told without doing it: models, tables, and what goes where. No Flink is needed for that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from thalweg.connector.redaction import redacted
from thalweg.jobs.script import Statement

__all__ = ["Plan", "plan_of"]

_NAME = r"`?([\w.]+)`?"
_CREATED = re.compile(
    rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY\s+)?(?:TABLE|VIEW|MODEL)\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}",
    re.IGNORECASE,
)
_INSERTED = re.compile(rf"INSERT\s+(?:INTO|OVERWRITE)\s+{_NAME}", re.IGNORECASE)
_TEXT = re.compile(r"'(?:[^']|'')*'")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_VIEWS = ("predictions", "metrics", "snapshots", "alerts", "dead_letters", "decisions")


@dataclass
class Plan:
    """What a file declares and does.

    Attributes
    ----------
    models : list of dict
        ``model``, ``provider``, ``reads``, ``labels``, ``key`` and ``gives``, its views that are used.
    tables : list of dict
        ``table``, ``where`` (topic or connector), ``brokers``, ``read_by`` and ``written_from``.
    inserts : list of dict
        ``into``, ``where`` and ``from``: the tables and models at the beginning of the way, through all views.
    settings : list of str
        The ``SET`` statements.
    """

    models: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    inserts: list[dict[str, Any]] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def plan_of(statements: Sequence[Statement]) -> Plan:
    """Return what a script would do.

    Examples
    --------
    >>> from thalweg.jobs.script import parse_script
    >>> plan = plan_of(parse_script("CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 'in');"
    ...                             "CREATE TABLE u (a INT) WITH ('connector' = 'print');"
    ...                             "INSERT INTO u SELECT a FROM t", "job.sql", {}))
    >>> plan.inserts
    [{'into': 'u', 'where': 'print', 'from': ['t']}]
    """
    plan = Plan()
    tables: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    queries: dict[str, str] = {}
    for statement in statements:
        options = statement.options
        created = _CREATED.match(statement.text)
        if statement.kind == "SET":
            plan.settings.append(redacted(statement.text[3:].strip()))
        elif statement.kind == "CREATE TABLE" and created:
            where = options.get("topic") or options.get("path") or options.get("connector", "")
            tables[created[1]] = {
                "table": created[1],
                "where": f"topic {where}" if "topic" in options else where,
                "brokers": options.get("properties.bootstrap.servers", ""),
                "read_by": [],
                "written_from": [],
            }
        elif statement.kind == "CREATE MODEL" and created:
            models[created[1]] = {
                "model": created[1],
                "provider": options.get("provider", ""),
                "reads": options.get("input-table", ""),
                "labels": _labels(options),
                "key": options.get("key", ""),
                "gives": [],
            }
        elif statement.kind == "CREATE VIEW" and created:
            queries[created[1]] = _bare(statement.text[created.end() :])
    views = {f"{model}_{view}": (model, view) for model in models for view in _VIEWS}
    for statement in statements:
        inserted = _INSERTED.match(statement.text)
        if statement.kind != "INSERT" or inserted is None:
            continue
        sources = _sources(_bare(statement.text[inserted.end() :]), queries, [*tables, *views], set())
        target = tables.get(inserted[1])
        plan.inserts.append({"into": inserted[1], "where": target["where"] if target else "", "from": sources})
        if target:
            target["written_from"] += [name for name in sources if name not in target["written_from"]]
        for name in sources:
            if name in views:
                model, view = views[name]
                models[model]["gives"] += [view] if view not in models[model]["gives"] else []
            else:
                _reads(tables, name, inserted[1])
    for name, declared in models.items():
        for table in (declared["reads"], declared["labels"].partition(".")[0]):
            for source in _sources(table, queries, list(tables), set()):
                _reads(tables, source, name)
    plan.models, plan.tables = list(models.values()), list(tables.values())
    return plan


def _labels(options: dict[str, str]) -> str:
    label = options.get("label", "")
    return f"{options.get('label-table', options.get('input-table', ''))}.{label}" if label else ""


def _bare(text: str) -> str:
    """Take texts and comments out of a query: a name in them names nothing."""
    return _TEXT.sub("''", _COMMENT.sub("", text))


def _sources(query: str, queries: dict[str, str], known: Sequence[str], seen: set[str]) -> list[str]:
    """Return the tables and views of models that a query reads, through views, each once."""
    found: list[str] = []
    for word in re.findall(r"[\w.]+", query):
        if word in queries and word not in seen:
            found += _sources(queries[word], queries, known, seen | {word})
        elif word in known:
            found.append(word)
        elif word.endswith("_dead_letters") and word.removesuffix("_dead_letters") in known:
            found.append(word)
    return list(dict.fromkeys(found))


def _reads(tables: dict[str, dict[str, Any]], name: str, reader: str) -> None:
    if name in tables and reader not in tables[name]["read_by"]:
        tables[name]["read_by"].append(reader)
