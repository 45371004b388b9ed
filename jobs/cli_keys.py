"""``thalweg keys``: keys that snapshots, models and orders are signed with."""

from __future__ import annotations

import os
from pathlib import Path

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.output import json_option, print_json, print_table

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Make the keys that snapshots, models and orders are signed with, and show what a file of keys holds.

    \b
    Example:
      thalweg keys generate ci-2026 --out signing.key
      thalweg keys show signing.key.pub
    """


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--algorithm",
    type=click.Choice(("ed25519", "hmac-sha256")),
    default="ed25519",
    show_default=True,
    help="ed25519: a private key to sign with and a public one to check with. hmac-sha256: one secret for both.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@json_option
def generate(key_id: str, algorithm: str, out: Path, as_json: bool) -> None:
    """Make a key whose name is ID, such as who signs, and since when; signatures carry it.

    The file can be read by its owner alone (mode 0600). Of an Ed25519 key the public half is written beside it, with
    .pub behind its name: workers need that one. A file that exists is left as it is.

    \b
    Example:
      thalweg keys generate ci-2026 --out signing.key
      thalweg keys generate ops --algorithm hmac-sha256 --out shared.key
    """
    from thalweg.connector.keys import generate_key

    try:
        key = generate_key(algorithm, key_id)
    except ValueError as error:
        raise ConfigError([Problem("ID", str(error), "Take a name such as ci-2026.")]) from error
    files = {out: key.text()}
    if key.public() is not key:
        files[out.with_name(f"{out.name}.pub")] = key.public().text()
    _write(files)
    facts = {"id": key.id, "algorithm": key.algorithm, "fingerprint": key.fingerprint, "files": list(map(str, files))}
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{key.id}: {key.algorithm}, fingerprint {key.fingerprint}, in {' and '.join(facts['files'])}.")


@keys.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@json_option
def show(files: tuple[Path, ...], as_json: bool) -> None:
    """Show which keys FILES hold: id, kind and fingerprint, and nothing of a secret.

    \b
    Example:
      thalweg keys show signing.key signing.key.pub
    """
    from thalweg.connector.signing import read_keys

    found = [(file, key) for file in files for key in read_keys(f"file:{file.absolute()}", "FILES")]
    facts = [
        {"id": key.id, "kind": key.kind, "fingerprint": key.fingerprint, "signs": key.signs, "file": str(file)}
        for file, key in found
    ]
    if as_json:
        print_json(facts)
    else:
        columns = ("id", "kind", "fingerprint", "file")
        print_table(columns, ([fact[column] for column in columns] for fact in facts))


def _write(files: dict[Path, str]) -> None:
    """Write files that did not exist, readable by their owner alone; all of them, or none."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(text + "\n")
    except OSError as error:
        for done in written:
            done.unlink(missing_ok=True)
        what = f"cannot be written ({error.strerror})."
        remedy = "Keys are never overwritten: take another name, or another folder."
        raise ConfigError([Problem(f"file {path}", what, remedy)]) from error
