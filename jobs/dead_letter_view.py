"""How dead letters are told: their facts for tables and JSON, their bytes for a terminal."""

from __future__ import annotations

import base64
from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.connector.dead_letters import Letter

__all__ = ["details", "facts", "state"]

_TEXT = 2000  # characters of a value on the screen


def state(letter: Letter, replayed: Collection[str], copies: Collection[str]) -> str:
    """Return what has become of the record: new, replayed, refused again, or example, which was no record.

    Parameters
    ----------
    letter : Letter
        The letter.
    replayed, copies : collection of str
        Roots of the letters that were sent back, and of those whose copies were refused.
    """
    if not letter.is_whole:
        return "example"
    return "new" if letter.root not in replayed else "refused again" if letter.root in copies else "replayed"


def facts(letter: Letter) -> dict[str, Any]:
    """Return where a letter and its record are, when it was, and why it was refused."""
    record = letter.record
    return {
        "letter": letter.id,
        **{name: record[name] for name in ("topic", "partition", "offset", "record_time_ms", "model", "reason")},
        "time": _moment(record["record_time_ms"]),
        "written": _moment(letter.written_ms),
    }


def details(letter: Letter, as_json: bool) -> dict[str, Any]:
    """Return all of a letter: bytes as base64 for JSON, and as text or hexadecimal for a terminal."""
    record, found = letter.record, facts(letter) | {"stage": letter.record["stage"]}
    headers = record["headers"] or {}
    if as_json:
        encoded = {name: _base64(record[name]) for name in ("key", "payload")}
        return found | encoded | {"headers": {name: _base64(value) for name, value in headers.items()}}
    found |= {f"header {name}": _shown(value) for name, value in headers.items()}
    return found | {name: _shown(record[name]) for name in ("key", "payload")}


def _moment(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds") if ms >= 0 else ""
    except (OverflowError, ValueError, OSError):
        return str(ms)


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _shown(value: bytes | None) -> str:
    if value is None:
        return "(none)"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "0x" + value.hex()
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}... ({len(value)} bytes)"
