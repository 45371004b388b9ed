"""``thalweg run --dry-run``: a file checked by Flink down to its plan, and told; nothing runs, no broker is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from thalweg.connector.redaction import redacted
from thalweg.jobs.client_config import security
from thalweg.jobs.output import print_json, print_table
from thalweg.jobs.plan import Plan, plan_of
from thalweg.jobs.plan_traps import traps_of
from thalweg.jobs.script import read_script
from thalweg.jobs.table_security import with_security

__all__ = ["dry_run"]


def dry_run(file: Path, variables: Mapping[str, str], profile: str, parallelism: int | None, as_json: bool) -> None:
    """Check a file as a run would, and print what it would do.

    Raises
    ------
    ConfigError
        A statement or a model is wrong; lists all that a run would list.
    SetupError
        The jars are missing.
    """
    statements = with_security(read_script(file, variables), security())
    plan = plan_of(statements)
    from thalweg.jobs.environment import PROFILES, make_environment
    from thalweg.jobs.session import initial_settings, submit
    from thalweg.jobs.setting_traps import setting_traps

    t_env = make_environment(profile, initial_settings(statements), None, parallelism)
    flink: str = redacted(submit(t_env, statements, explain=True))
    settings = {**PROFILES[profile], **initial_settings(statements)}
    traps = [*traps_of(statements), *setting_traps(statements, settings)]
    if as_json:
        print_json({**plan.as_dict(), "traps": [trap._asdict() for trap in traps], "flink": flink})
        return
    _tell(plan)
    for trap in traps:
        click.echo(f"look at {trap.where}: {trap.what} {trap.remedy}")


def _tell(plan: Plan) -> None:
    for setting in plan.settings:
        click.echo(f"set {setting}")
    if plan.models:
        _table(["model", "provider", "reads", "labels", "key", "gives"], plan.models)
    _table(["table", "where", "brokers", "read_by", "written_from"], plan.tables)
    _table(["into", "where", "from"], plan.inserts)
    count = len(plan.inserts)
    click.echo(f"Flink takes all of it, as one job with {count} insert{'s' * (count > 1)}. Nothing has run.")


def _table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    print_table(
        [column.replace("_", " ") for column in columns],
        [[", ".join(row[c]) if isinstance(row[c], list) else row[c] for c in columns] for row in rows],
    )
    click.echo()
