"""``thalweg bundle``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
from thalweg.jobs.bundle import bundle
from thalweg.jobs.output import json_option, print_json

__all__ = ["bundle_command"]


@click.command("bundle")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), default=Path("thalweg.zip"))
@json_option
def bundle_command(target: Path, as_json: bool) -> None:
    """Write Thalweg as one zip, TARGET, for a cluster that does not have it installed.

    Its requirements (River, ONNX Runtime) are not in it: the cluster's Python needs those.

    \b
    Example:
      thalweg bundle thalweg.zip
      sql-client.sh -pyfs thalweg.zip
    """
    data = bundle()
    target.write_bytes(data)
    facts = {"file": str(target), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{facts['file']}: {facts['bytes']} bytes, SHA-256 {facts['sha256']}")
