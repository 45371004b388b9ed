"""``thalweg models``: model files in a Kafka topic, and which version of each serves."""

from __future__ import annotations

import click
from thalweg.connector.errors import ConfigError
from thalweg.jobs.cli_publish import check_onnx, publish
from thalweg.jobs.model_facts import cell, common_options, facts_of, moment, open_models, tell
from thalweg.jobs.output import print_json, print_table
from thalweg.jobs.signing_options import signing_option

__all__ = ["models"]

_SHORT = {"sha256": 12}
_number = click.IntRange(min=1)


@click.group()
def models() -> None:
    """Publish model files to Kafka, and say which version of each serves.

    \b
    Example:
      thalweg models publish delay delay.onnx --note "June data"
      thalweg models list
    """


@models.command("list")
@common_options
def list_(topic: str, brokers: str, as_json: bool) -> None:
    """List the models, with the size, time and SHA-256 of the version that serves, or else of the newest one.

    \b
    Example:
      thalweg models list
    """
    rows = []
    for name, state in open_models(brokers, topic).models().items():
        shown = state.versions.get(state.serving or max(state.versions, default=0))
        rows.append(
            {
                "name": name,
                "serving": state.serving,
                "versions": list(state.versions),
                "size": shown.size if shown else None,
                "published": moment(shown) if shown else None,
                "sha256": shown.sha256 if shown else None,
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ("name", "serving", "versions", "size", "published", "sha256")
    print_table(columns, ([cell(row[column])[: _SHORT.get(column)] for column in columns] for row in rows))


@models.command()
@click.argument("name")
@click.argument("version", type=_number, required=False)
@common_options
def show(name: str, version: int | None, topic: str, brokers: str, as_json: bool) -> None:
    """Show a VERSION of NAME: by default the one that serves, or else the newest one.

    \b
    Example:
      thalweg models show delay
      thalweg models show delay 2 --json
    """
    found, state = open_models(brokers, topic).find(name, version)
    facts = facts_of(found, state)
    if found.blob and found.kind == "onnx":
        try:
            facts |= check_onnx(found.blob, f"model '{name}', version {found.version}")
        except ConfigError as error:  # another runtime may load it: what is known of it is shown nevertheless
            facts["unreadable"] = str(error)
    if as_json:
        print_json(facts)
    else:
        print_table(("field", "value"), ((field, cell(value)) for field, value in facts.items()))


@models.command()
@click.argument("name")
@click.argument("version", type=_number)
@signing_option
@common_options
def promote(name: str, version: int, topic: str, brokers: str, as_json: bool) -> None:
    """Let VERSION of NAME serve.

    \b
    Example:
      thalweg models promote delay 2
    """
    tell(open_models(brokers, topic).promote(name, version), as_json)


@models.command()
@click.argument("name")
@signing_option
@common_options
def rollback(name: str, topic: str, brokers: str, as_json: bool) -> None:
    """Let the version of NAME serve that served before; once more goes one further back.

    \b
    Example:
      thalweg models rollback delay
    """
    tell(open_models(brokers, topic).rollback(name), as_json)


@models.command()
@click.argument("name")
@click.argument("version", type=_number)
@signing_option
@common_options
def retire(name: str, version: int, topic: str, brokers: str, as_json: bool) -> None:
    """Delete VERSION of NAME for good. The one that serves cannot be retired.

    \b
    Example:
      thalweg models retire delay 1
    """
    tell(open_models(brokers, topic).retire(name, version), as_json)


models.add_command(publish)
