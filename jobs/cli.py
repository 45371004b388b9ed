"""The command ``thalweg``. Each command is imported when it is called, so that ``--help`` is quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import click
from thalweg.connector.errors import ConfigError, SetupError, ThalwegError
from thalweg.connector.redaction import guard_tracebacks, redacted

__all__ = ["main"]

_COMMANDS = {
    "alerts": "thalweg.jobs.cli_alerts:alerts",
    "broker": "thalweg.jobs.cli_broker:broker",
    "bundle": "thalweg.jobs.cli_bundle:bundle_command",
    "dead-letters": "thalweg.jobs.cli_dead_letters:dead_letters",
    "ddl": "thalweg.jobs.cli_contract:ddl",
    "demo": "thalweg.jobs.demo:demo_command",
    "doctor": "thalweg.jobs.cli_doctor:doctor_command",
    "experiment": "thalweg.jobs.cli_experiment:experiment",
    "keys": "thalweg.jobs.cli_keys:keys",
    "models": "thalweg.jobs.cli_models:models",
    "plan": "thalweg.jobs.cli_plan:plan_command",
    "recipes": "thalweg.jobs.cli_recipes:recipes",
    "resume": "thalweg.jobs.cli_jobs:resume_command",
    "report": "thalweg.jobs.cli_report:report_command",
    "run": "thalweg.jobs.run:run_command",
    "sample": "thalweg.jobs.cli_recipes:sample",
    "snapshots": "thalweg.jobs.cli_snapshots:snapshots",
    "status": "thalweg.jobs.cli_jobs:status_command",
    "stop": "thalweg.jobs.cli_jobs:stop_command",
    "watch": "thalweg.jobs.cli_watch:watch_command",
}


class _Group(click.Group):
    """Finds commands by name, and prints errors meant for the user as their sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        return cast("click.Command", getattr(import_module(module), name))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ThalwegError as error:
            click.echo(redacted(str(error)), err=True)
            ctx.exit(2 if isinstance(error, ConfigError) else 3 if isinstance(error, SetupError) else 1)


@click.group(
    name="thalweg", cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="thalweg", message="%(prog)s %(version)s")
def main() -> None:
    """Machine learning that learns while it serves, inside Flink and Kafka pipelines.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong configuration, 3 something is missing (Java, a jar, a broker).

    \b
    Example:
      thalweg doctor
      thalweg run fraud.sql -D brokers=127.0.0.1:9092
    """
    guard_tracebacks()
