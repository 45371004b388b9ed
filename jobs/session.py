"""Executes the statements of a SQL file; the file is the job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pyflink.table import StatementSet, StreamTableEnvironment
from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.redaction import redacted
from thalweg.jobs.root_cause import root_cause
from thalweg.jobs.script import Statement
from thalweg.udfs.flink.attach import attach

__all__ = ["initial_settings", "prepare", "submit"]

_SET = re.compile(r"SET\s+'([^']+)'\s*=\s*'((?:[^']|'')*)'\s*", re.IGNORECASE)
_MODEL_NAME = re.compile(
    r"CREATE\s+(?:TEMPORARY\s+)?MODEL\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:`([^`]+)`|([\w.]+))", re.IGNORECASE
)


def initial_settings(statements: Sequence[Statement]) -> dict[str, str]:
    """Return what the ``SET`` statements before the first other one set; the environment is made with it.

    Raises
    ------
    ConfigError
        A ``SET`` is not of the form ``SET 'key' = 'value'``; lists all.
    """
    settings, problems = {}, []
    for statement in statements:
        if statement.kind != "SET":
            break
        found = _SET.fullmatch(statement.text)
        if found is None:
            problems.append(Problem(statement.where, "is not a setting.", "Write SET 'key' = 'value'."))
        else:
            settings[found[1]] = found[2].replace("''", "'")
    if problems:
        raise ConfigError(problems)
    return settings


def submit(t_env: StreamTableEnvironment, statements: Sequence[Statement], explain: bool = False) -> Any:
    """Execute all statements and submit all inserts as one job; with ``explain`` return Flink's plan of it instead.

    Returns
    -------
    TableResult
        Of the job; with ``explain`` a str.

    Raises
    ------
    ConfigError
        A statement cannot be executed: file, line, cause.
    """
    statement_set = prepare(t_env, statements)
    try:
        return statement_set.explain() if explain else statement_set.execute()
    except Exception as error:
        raise ConfigError(
            [Problem(statements[0].file, f"the job cannot be started: {root_cause(error)}", "")]
        ) from error


def prepare(t_env: StreamTableEnvironment, statements: Sequence[Statement]) -> StatementSet:
    """Execute all statements but the inserts, and return these, as one job that has not begun.

    Models are built before the first statement that reads them, all at once, so that everything that is wrong with
    any of them is said together.

    Raises
    ------
    ConfigError
        A statement cannot be executed: file, line, cause.
    """
    models, inserts = attach(t_env), 0
    waiting: list[tuple[str, Statement]] = []
    statement_set = t_env.create_statement_set()
    last = statements[-1] if statements else None
    for statement in statements:
        if waiting and _reads_models(statement, [name for name, _ in waiting]):
            try:
                models.build([name for name, _ in waiting])
            except ConfigError as error:
                raise ConfigError(_located(error, waiting)) from error
            waiting.clear()
        try:
            if statement.kind == "SET":
                found = _SET.fullmatch(statement.text)
                if found is None:
                    raise ConfigError([Problem(statement.where, "is not a setting.", "Write SET 'key' = 'value'.")])
                t_env.get_config().set(found[1], found[2].replace("''", "'"))
            elif statement.kind == "INSERT":
                statement_set.add_insert_sql(statement.text)
                inserts += 1
            elif statement.kind not in ("BEGIN SET", "END SET"):
                t_env.execute_sql(statement.text)
                if statement.kind == "CREATE MODEL":
                    name = _MODEL_NAME.match(statement.text)
                    if name:
                        waiting.append((name[1] or name[2].rpartition(".")[2], statement))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError([_problem(statement, error)]) from error
    if not inserts:
        where = last.where if last else "the file"
        raise ConfigError(
            [
                Problem(
                    where, "the file has no INSERT, so there is nothing to run.", "Insert a model's views into tables."
                )
            ]
        )
    return statement_set


def _reads_models(statement: Statement, names: Sequence[str]) -> bool:
    if statement.kind == "INSERT":
        return True
    return statement.kind in ("CREATE VIEW", "other") and any(f"{name}_" in statement.text for name in names)


def _located(error: ConfigError, waiting: Sequence[tuple[str, Statement]]) -> list[Problem]:
    """Put file and line before each problem of a model."""
    located = []
    for problem in error.problems:
        place = next((s.where for name, s in waiting if problem.where.startswith(f"model {name}")), waiting[0][1].where)
        located.append(problem._replace(where=f"{place}: {problem.where}"))
    return located


def _problem(statement: Statement, error: BaseException) -> Problem:
    # First redacted, then cut: half a secret would not be known as one.
    head = " ".join(redacted(statement.text).split())[:60]
    return Problem(f"{statement.where}: '{head}...'", root_cause(error), "")
