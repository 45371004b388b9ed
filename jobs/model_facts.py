"""What the commands of ``thalweg models`` share: their options, the way to the topic, and how a model is shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.output import json_option, print_json
from thalweg.jobs.signing_options import signer, trust, trust_options

if TYPE_CHECKING:
    from thalweg.connector.models import ModelState, ModelTopic, ModelVersion

__all__ = ["cell", "common_options", "facts_of", "moment", "open_models", "tell"]


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all of this group have."""
    topic = click.option(
        "--topic", default="thalweg.models.v1", show_default=True, help="The topic that models are published to."
    )
    return topic(brokers_option(trust_options(json_option(command))))


def open_models(brokers: str, topic: str) -> ModelTopic:
    """Return the topic of models; what it passes over is told on standard error."""
    from thalweg.connector.models import ModelTopic

    keys: dict[str, Any] = {"signer": signer(), "trust": trust()}
    return ModelTopic(brokers, topic, report=lambda text: click.echo(text, err=True), **keys, **security())


def tell(state: ModelState, as_json: bool) -> None:
    """Say which version of a model serves."""
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


def facts_of(version: ModelVersion, state: ModelState) -> dict[str, Any]:
    """Return all that there is to show of a version, without its file."""
    return {
        "name": version.name,
        "version": version.version,
        "serves": version.version == state.serving,
        "serving": state.serving,
        "previous": list(state.previous),
        "versions": list(state.versions),
        "decided by": state.by,
        "because": state.reason,
        "kind": version.kind,
        "file": version.file,
        "size": version.size,
        "sha256": version.sha256,
        "uri": version.uri,
        "published": moment(version),
        "note": version.note,
        "gate": version.gate,
        "metrics": version.metrics,
        "golden": _golden(version.golden),
    }


def _golden(golden: dict[str, Any]) -> dict[str, Any]:
    """Return what there is to tell of golden rows, which come from a topic."""
    columns = golden.get("columns")
    if not isinstance(columns, list) or not columns or not isinstance(columns[0], list):
        return {}
    return {"rows": len(columns[0]), **{name: golden.get(name) for name in ("tolerance", "runtime", "options")}}


def moment(version: ModelVersion) -> str:
    """Return when a version was published, in UTC."""
    try:
        return datetime.fromtimestamp(version.published_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return f"{version.published_ms} ms"


def cell(value: Any) -> str:
    """Return a value as people read it in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(part)}" for name, part in value.items()) or "-"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return ", ".join(f"{node['name']} {node['type']} {node['shape']}" for node in value)
        return ", ".join(map(str, value)) or "-"
    return str(value)
