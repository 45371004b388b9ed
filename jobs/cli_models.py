"""``thalweg models``: model files in a Kafka topic, and which version of each serves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from thalweg.connector.models import ModelState, ModelTopic, ModelVersion

__all__ = ["check_onnx", "models"]

_SHORT = {"sha256": 12}
_number = click.IntRange(min=1)


def check_onnx(data: bytes, where: str) -> dict[str, Any]:
    """Load an ONNX model as the engine does, and return what it takes and gives.

    Parameters
    ----------
    data : bytes
        The file.
    where : str
        What to call it in an error.

    Returns
    -------
    dict
        ``inputs`` and ``outputs``: lists of dicts with ``name``, ``type`` and ``shape``, a list in which a size that
        is not fixed is its name or None.

    Raises
    ------
    ConfigError
        It is no ONNX model, the runtime cannot load it, or its weights are in other files.
    """
    from thalweg.udfs.engines.onnx_session import OnnxSession

    session = OnnxSession(data, where)
    sides = {"inputs": session.inputs, "outputs": session.outputs}
    return {
        side: [{"name": node.name, "type": node.type, "shape": list(node.shape)} for node in nodes]
        for side, nodes in sides.items()
    }


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all of this group have."""
    topic = click.option(
        "--topic", default="thalweg.models.v1", show_default=True, help="The topic that models are published to."
    )
    brokers = click.option("--brokers", default="127.0.0.1:9092", show_default=True, help="host:port, ...")
    return topic(brokers(json_option(command)))


@click.group()
def models() -> None:
    """Publish model files to Kafka, and say which version of each serves.

    \b
    Example:
      thalweg models publish delay delay.onnx --note "June data"
      thalweg models list
    """


@models.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", default="", help="A text for people.")
@click.option("--no-serve", is_flag=True, help="Publish only. The first version of a model serves in any case.")
@click.option("--auc-threshold", type=click.FloatRange(0, 1), help="Gate: the AUC that it has to reach.")
@click.option(
    "--log-loss-threshold",
    type=click.FloatRange(min=0, min_open=True),
    help="Gate: the log loss that it has to stay below.",
)
@click.option("--num-eval-samples", type=_number, help="Gate: on how many rows it must have been measured at least.")
@click.option(
    "--evaluate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of labelled rows to measure AUC and log loss on: features in the order of the model, and the label.",
)
@click.option("--label", default="label", show_default=True, help="The column of the label in that file.")
@click.option("--allow-new-inputs", is_flag=True, help="Gate: it may take other inputs than the version before.")
@click.option("--by-reference", is_flag=True, help="Send where the file lies and its checksum, not the file.")
@_common
def publish(
    name: str,
    file: Path,
    note: str,
    no_serve: bool,
    by_reference: bool,
    evaluate: Path | None,
    label: str,
    topic: str,
    brokers: str,
    as_json: bool,
    **gate: float | int | bool | None,
) -> None:
    """Publish FILE, an ONNX model, as the next version of NAME, and let it serve.

    The file is loaded first, so that what cannot be served is not sent. A topic that does not exist is made.

    \b
    Example:
      thalweg models publish delay delay.onnx --evaluate june.csv --label late --auc-threshold 0.8
      thalweg models publish delay /models/delay.onnx --by-reference --no-serve
    """
    from thalweg.connector.models import check_name

    check_name(name)
    data = _read(file)
    check_onnx(data, f"file {file}")
    given = {option.replace("_", "-"): value for option, value in gate.items() if value is not None}
    if not given["allow-new-inputs"]:
        del given["allow-new-inputs"]
    metrics = _measured(data, evaluate, label, given, file)
    target = _topic(brokers, topic)
    target.create()
    uri = file.resolve().as_uri() if by_reference else None
    version = target.publish(
        name, data, file=file.name, note=note, gate=given, metrics=metrics, uri=uri, serve=not no_serve
    )
    state = target.models()[name]
    if as_json:
        print_json(_facts(version, state))
    else:
        serves = "it serves" if state.serving == version.version else f"version {state.serving} serves"
        click.echo(f"{name}: version {version.version} is published ({version.size} bytes), {serves}.")


@models.command("list")
@_common
def list_(topic: str, brokers: str, as_json: bool) -> None:
    """List the models, with the size, time and SHA-256 of the version that serves, or else of the newest one.

    \b
    Example:
      thalweg models list
    """
    rows = []
    for name, state in _topic(brokers, topic).models().items():
        shown = state.versions.get(state.serving or max(state.versions, default=0))
        rows.append(
            {
                "name": name,
                "serving": state.serving,
                "versions": list(state.versions),
                "size": shown.size if shown else None,
                "published": _moment(shown) if shown else None,
                "sha256": shown.sha256 if shown else None,
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ("name", "serving", "versions", "size", "published", "sha256")
    print_table(columns, ([_cell(row[column])[: _SHORT.get(column)] for column in columns] for row in rows))


@models.command()
@click.argument("name")
@click.argument("version", type=_number, required=False)
@_common
def show(name: str, version: int | None, topic: str, brokers: str, as_json: bool) -> None:
    """Show a VERSION of NAME: by default the one that serves, or else the newest one.

    \b
    Example:
      thalweg models show delay
      thalweg models show delay 2 --json
    """
    found, state = _topic(brokers, topic).find(name, version)
    facts = _facts(found, state)
    if found.blob and found.kind == "onnx":
        try:
            facts |= check_onnx(found.blob, f"model '{name}', version {found.version}")
        except ConfigError as error:  # another runtime may load it: what is known of it is shown nevertheless
            facts["unreadable"] = str(error)
    if as_json:
        print_json(facts)
    else:
        print_table(("field", "value"), ((field, _cell(value)) for field, value in facts.items()))


@models.command()
@click.argument("name")
@click.argument("version", type=_number)
@_common
def promote(name: str, version: int, topic: str, brokers: str, as_json: bool) -> None:
    """Let VERSION of NAME serve.

    \b
    Example:
      thalweg models promote delay 2
    """
    _tell(_topic(brokers, topic).promote(name, version), as_json)


@models.command()
@click.argument("name")
@_common
def rollback(name: str, topic: str, brokers: str, as_json: bool) -> None:
    """Let the version of NAME serve that served before; once more goes one further back.

    \b
    Example:
      thalweg models rollback delay
    """
    _tell(_topic(brokers, topic).rollback(name), as_json)


@models.command()
@click.argument("name")
@click.argument("version", type=_number)
@_common
def retire(name: str, version: int, topic: str, brokers: str, as_json: bool) -> None:
    """Delete VERSION of NAME for good. The one that serves cannot be retired.

    \b
    Example:
      thalweg models retire delay 1
    """
    _tell(_topic(brokers, topic).retire(name, version), as_json)


def _topic(brokers: str, topic: str) -> ModelTopic:
    from thalweg.connector.models import ModelTopic

    return ModelTopic(brokers, topic, report=lambda text: click.echo(text, err=True))


def _measured(data: bytes, rows: Path | None, label: str, gate: dict[str, Any], file: Path) -> dict[str, float]:
    """Return what is measured on the rows; raises ConfigError where the gate would refuse it."""
    from thalweg.udfs.logic.model_gate import threshold_objections

    metrics = {}
    if rows is not None:
        from thalweg.jobs.model_evaluation import evaluate_file

        metrics = evaluate_file(data, rows, label, f"file {file}")
    against = threshold_objections(gate, metrics)
    if against:
        raise ConfigError(
            [Problem(f"file {file}", f"{why}.", "Train it longer, or lower the bound.") for why in against]
        )
    return metrics


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror})."
        raise ConfigError([Problem(f"file {file}", what, "Check the path and its permissions.")]) from error


def _tell(state: ModelState, as_json: bool) -> None:
    facts = {
        "name": state.name,
        "serving": state.serving,
        "previous": list(state.previous),
        "versions": list(state.versions),
    }
    if as_json:
        print_json(facts)
    else:
        versions = ", ".join(map(str, state.versions)) or "none"
        click.echo(f"{state.name}: version {state.serving or 'none'} serves. Versions: {versions}.")


def _facts(version: ModelVersion, state: ModelState) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "serves": version.version == state.serving,
        "serving": state.serving,
        "previous": list(state.previous),
        "versions": list(state.versions),
        "kind": version.kind,
        "file": version.file,
        "size": version.size,
        "sha256": version.sha256,
        "uri": version.uri,
        "published": _moment(version),
        "note": version.note,
        "gate": version.gate,
        "metrics": version.metrics,
    }


def _moment(version: ModelVersion) -> str:
    try:
        return datetime.fromtimestamp(version.published_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return f"{version.published_ms} ms"


def _cell(value: Any) -> str:
    """Return a value as people read it in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items()) or "-"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return ", ".join(f"{node['name']} {node['type']} {node['shape']}" for node in value)
        return ", ".join(map(str, value)) or "-"
    return str(value)
