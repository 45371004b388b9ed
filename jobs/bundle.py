"""Thalweg as one zip for a cluster that does not have it installed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["bundle"]

_PACKAGES = ("connector", "jobs", "udfs")
_SUFFIXES = (".py", ".avsc", ".sql", ".xml", "py.typed")
_DIRECTORY = 0x10


def bundle() -> bytes:
    """Return a zip of thalweg.connector, thalweg.udfs and thalweg.jobs with their data, importable as it is.

    The same sources give the same bytes, whenever and wherever: names in order, one fixed date, no compression.
    """
    entries = {f"thalweg/{name}": data for name, data in _sources()}
    # What importlib.metadata reads: without it the zip could not tell its version.
    known = distribution("thalweg")
    entries[f"thalweg-{known.version}.dist-info/METADATA"] = f"Name: thalweg\nVersion: {known.version}\n".encode()
    # Python imports a package without __init__, as thalweg is, from a zip only where the folder has an entry.
    folders = {name[: at + 1] for name in entries for at, sign in enumerate(name) if sign == "/"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(folders | entries.keys()):
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            entry.external_attr = (0o40755 << 16) | _DIRECTORY if name in folders else 0o100644 << 16
            archive.writestr(entry, entries.get(name, b""))
    return packed.getvalue()


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        yield from _files(files(f"thalweg.{package}"), package)


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{path}/{entry.name}")
        elif entry.name.endswith(_SUFFIXES):
            yield f"{path}/{entry.name}", entry.read_bytes()
