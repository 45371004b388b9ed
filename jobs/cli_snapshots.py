"""``thalweg snapshots``: the models that jobs have published, and the ways for one of them to leave its topic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.output import json_option, print_json, print_table
from thalweg.jobs.signing_options import signer, signing_option, trust, trust_options

if TYPE_CHECKING:
    from thalweg.connector.snapshot import Snapshot
    from thalweg.udfs.engines.base import Scorer

__all__ = ["snapshots"]


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all of this group have."""
    topic = click.option("--topic", required=True, help="The snapshot topic, <app>.snapshot.v1.")
    return topic(brokers_option(trust_options(json_option(command))))


_key_option = click.option("--key", default="", help="Key of the model; that of the shared model is empty.")


@click.group()
def snapshots() -> None:
    """Look at the models that jobs have published to a snapshot topic, and take them elsewhere.

    \b
    Example:
      thalweg snapshots list --topic flights.snapshot.v1
      thalweg snapshots export delay --key UA --topic flights.snapshot.v1 --out delay.onnx
    """


@snapshots.command("list")
@_common
def list_(topic: str, brokers: str, as_json: bool) -> None:
    """List the newest snapshot of each model and key.

    \b
    Example:
      thalweg snapshots list --topic flights.snapshot.v1
    """
    found = [_facts(snapshot) for _, snapshot in sorted(_latest(brokers, topic).items())]
    if as_json:
        print_json(found)
        return
    columns = ("model", "key", "kind", "version", "event_time", "bytes", "sha256", "signed_by")
    print_table(columns, ([str(facts[column])[:25] for column in columns] for facts in found))


@snapshots.command()
@click.argument("model")
@_key_option
@click.option("--blob", type=click.Path(dir_okay=False, path_type=Path), help="Also write the model's bytes here.")
@_common
def show(model: str, key: str, blob: Path | None, topic: str, brokers: str, as_json: bool) -> None:
    """Show the newest snapshot of MODEL.

    \b
    Example:
      thalweg snapshots show delay --key UA --topic flights.snapshot.v1 --blob delay.bin
    """
    snapshot = _find(brokers, topic, model, key)
    facts = _facts(snapshot) | {"spec": snapshot.spec, "writer": snapshot.writer, "metrics": dict(snapshot.metrics)}
    if blob is not None:
        blob.write_bytes(snapshot.blob)
    _tell(facts, as_json)


@snapshots.command()
@click.argument("model")
@_key_option
@click.option(
    "--format",
    "form",
    type=click.Choice(("onnx", "river")),
    default="onnx",
    show_default=True,
    help="onnx: a model that serves anywhere. river: the snapshot itself as a file, to learn on from.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--publish", "name", help="Publish the ONNX model as the next version of this name, and let it serve.")
@click.option("--models", default="thalweg.models.v1", show_default=True, help="The topic that it is published to.")
@click.option("--note", default="", help="With --publish: a text for people.")
@click.option("--no-serve", is_flag=True, help="With --publish: the first version of a model serves in any case.")
@signing_option
@_common
def export(
    model: str,
    key: str,
    form: str,
    out: Path | None,
    name: str | None,
    models: str,
    note: str,
    no_serve: bool,
    topic: str,
    brokers: str,
    as_json: bool,
) -> None:
    """Export the newest snapshot of MODEL, to a file or to the SQL functions.

    An ONNX model answers as River does: linear models, naive Bayes, Hoeffding trees and adaptive random forests, with
    their scalers and encoders. What has no exact counterpart in ONNX is refused by name.

    \b
    Example:
      thalweg snapshots export delay --topic flights.snapshot.v1 --out delay.onnx
      thalweg snapshots export delay --topic flights.snapshot.v1 --publish delay --note "as of tonight"
      thalweg snapshots export delay --key UA --topic flights.snapshot.v1 --format river --out delay.avro
    """
    problems = []
    if out is None and name is None:
        problems.append(Problem("option '--out'", "is missing, and so is --publish.", "Give one of the two, or both."))
    if form != "onnx" and name is not None:
        what = "only ONNX models serve in the SQL functions."
        problems.append(Problem("option '--publish'", what, "Leave out --format, or leave out --publish."))
    if problems:
        raise ConfigError(problems)
    if name is not None:
        from thalweg.connector.models import check_name

        check_name(name)
    snapshot = _find(brokers, topic, model, key)
    engine = _restored(snapshot)
    data = _onnx(snapshot, engine) if form == "onnx" else _file(_signed(snapshot))
    facts = _facts(snapshot) | {"format": form, "exported_bytes": len(data)}
    if out is not None:
        _write(out, data)
        facts["file"] = str(out)
    if name is not None:
        facts |= _published(brokers, models, name, data, f"{model}.onnx", note, not no_serve)
    if as_json:
        print_json(facts)
        return
    where = [] if out is None else [f"in {out}"]
    where += [] if name is None else [f"published as '{name}', version {facts['published_version']}"]
    click.echo(f"{model}: version {snapshot.version} is {' and '.join(where)} ({len(data)} bytes).")


@snapshots.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@signing_option
@_common
def import_(file: Path, topic: str, brokers: str, as_json: bool) -> None:
    """Send FILE, which 'export --format river' wrote, to a snapshot topic. A topic that does not exist is made.

    The file is checked and its model restored first, so that what no job could use is not sent.

    \b
    Example:
      thalweg snapshots import delay.avro --topic flights.snapshot.v1
    """
    from thalweg.connector.kafka import SnapshotTopic, create_topics
    from thalweg.connector.snapshot_file import snapshot_from_file

    try:
        data = file.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror})."
        raise ConfigError([Problem(f"file {file}", what, "Check the path and its permissions.")]) from error
    snapshot = _signed(snapshot_from_file(data, trust=trust()))
    _restored(snapshot)
    create_topics(brokers, {topic: {"compact": True}}, **security())
    SnapshotTopic(brokers, topic, report=lambda text: click.echo(text, err=True), **security()).publish(snapshot)
    _tell(_facts(snapshot), as_json)


def _restored(snapshot: Snapshot) -> Scorer:
    """Return the model of a snapshot: its bytes pass the engine's own audit before anything leaves the topic."""
    from thalweg.udfs.engines import check_whole, restore
    from thalweg.udfs.engines.base import EngineSpec

    where = f"Snapshot of model '{snapshot.model}', key '{snapshot.key}'"
    try:
        spec = EngineSpec.from_json(snapshot.spec)
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{where}: its spec is not that of an engine.") from error
    if spec.kind != snapshot.kind:
        raise SnapshotError(f"{where}: it is of kind '{snapshot.kind}', and its spec of kind '{spec.kind}'.")
    engine = restore(spec, snapshot.blob)
    check_whole(engine)
    return engine


def _onnx(snapshot: Snapshot, engine: Scorer) -> bytes:
    from thalweg.udfs.engines.river_engine import RiverEngine
    from thalweg.udfs.engines.river_to_onnx import export_onnx

    if not isinstance(engine, RiverEngine):
        what = f"is a model of the engine '{snapshot.kind}', and River's are exported to ONNX."
        raise ConfigError([Problem(f"model '{snapshot.model}'", what, "Export it with --format river.")])
    name = f"{snapshot.model}/{snapshot.key}" if snapshot.key else snapshot.model
    return export_onnx(engine, name, snapshot.event_time_ms)


def _file(snapshot: Snapshot) -> bytes:
    from thalweg.connector.snapshot_file import snapshot_to_file

    return snapshot_to_file(snapshot)


def _signed(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot with the signature of ``--signing-key``; without it with its own."""
    from thalweg.connector.snapshot_signature import sign_snapshot

    key = signer()
    return snapshot if key is None else sign_snapshot(snapshot, key)


def _write(out: Path, data: bytes) -> None:
    try:
        out.write_bytes(data)
    except OSError as error:
        what = f"cannot be written ({error.strerror})."
        raise ConfigError([Problem(f"file {out}", what, "Check the path and its permissions.")]) from error


def _published(brokers: str, topic: str, name: str, data: bytes, file: str, note: str, serve: bool) -> dict[str, Any]:
    """Publish a model once it has been loaded as the functions load it; return its version and which one serves."""
    from thalweg.jobs.cli_publish import check_onnx
    from thalweg.jobs.model_facts import open_models

    check_onnx(data, f"model '{name}'")
    target = open_models(brokers, topic)
    target.create()
    version = target.publish(name, data, file=file, note=note, serve=serve)
    serving = target.models()[name].serving
    return {"published": name, "published_version": version.version, "serving": serving}


def _latest(brokers: str, topic: str) -> dict[tuple[str, str], Snapshot]:
    from thalweg.connector.kafka import SnapshotTopic

    return SnapshotTopic(brokers, topic, trust=trust(), **security()).latest()


def _find(brokers: str, topic: str, model: str, key: str) -> Snapshot:
    found = _latest(brokers, topic)
    if (model, key) not in found:
        known = ", ".join(sorted({name for name, _ in found})) or "none"
        what = f"no snapshot with key '{key}' in topic {topic}."
        raise ConfigError([Problem(f"model '{model}'", what, f"Models there: {known}; see 'thalweg snapshots list'.")])
    return found[model, key]


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    moment = datetime.fromtimestamp(snapshot.event_time_ms / 1000, timezone.utc)
    return {
        "model": snapshot.model,
        "key": snapshot.key,
        "kind": snapshot.kind,
        "version": snapshot.version,
        "event_time": moment.isoformat(timespec="milliseconds"),
        "event_time_ms": snapshot.event_time_ms,
        "bytes": snapshot.size,
        "sha256": snapshot.sha256,
        "signed_by": _signed_by(snapshot),
    }


def _signed_by(snapshot: Snapshot) -> str:
    """Return whose signature a snapshot carries; only ``--trusted-keys`` makes sure of it."""
    claimed = snapshot.signature.split(":")[1] if snapshot.signature.count(":") == 2 else snapshot.signature
    return claimed if trust() is not None or not claimed else f"{claimed} (not checked)"


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_table(("field", "value"), facts.items())
