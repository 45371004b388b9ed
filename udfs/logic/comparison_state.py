"""The state of a live comparison as bytes, and back; arms are known by name, so a plan may gain and lose some."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.comparison_books import Books

__all__ = ["dump_books", "load_books"]

_PROTOCOL = b"\x01"
_COUNTS = ("outcomes", "late", "repeated", "latest_ms", "raised", "begun")


def dump_books(books: Books, clock: dict[str, int]) -> bytes:
    """Return the state: the protocol number, the length of the head, the head as JSON, the arrays."""
    arrays = [(book, name, array) for book, sums in books.parts().items() for name, array in sorted(sums.items())]
    head = {
        "arms": [arm.name for arm in books.plan.arms],
        "clock": clock,
        "promotion": books.promotion.state(),
        "log": books.log.state(),
        "losses": books.losses.state(),
        "orders": None if books.orders is None else books.orders.state(),
        "arrays": [[book, name, list(array.shape)] for book, name, array in arrays],
        **{name: getattr(books, name) for name in _COUNTS},
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    values = b"".join(np.ascontiguousarray(array, dtype="<f8").tobytes() for _, _, array in arrays)
    return _PROTOCOL + struct.pack("<I", len(text)) + text + np.packbits(books.ratio.seen).tobytes() + values


def load_books(books: Books, blob: bytes) -> dict[str, int]:
    """Take over a state into new books, and return its clock.

    Raises
    ------
    SnapshotError
        The bytes are of another protocol or damaged.
    """
    if blob[:1] != _PROTOCOL:
        raise SnapshotError(f"comparison state has protocol {blob[:1].hex() or 'none'}, this version reads 01.")
    try:
        (length,) = struct.unpack_from("<I", blob, 1)
        head = json.loads(blob[5 : 5 + length])
        at = 5 + length
        seen = np.frombuffer(blob, np.uint8, len(books.ratio.seen) // 8, at)
        arrays, end = _arrays(head["arrays"], blob, at + len(seen))
        if end != len(blob):
            raise ValueError("bytes are left over.")
        books.ratio.seen = np.unpackbits(seen).astype(np.bool_)
        return _take(books, head, arrays)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, struct.error) as error:
        raise SnapshotError(f"comparison state is damaged: {error}") from None


def _arrays(told: list[Any], blob: bytes, at: int) -> tuple[dict[str, dict[str, Any]], int]:
    found: dict[str, dict[str, Any]] = {}
    for book, name, shape in told:
        count = int(np.prod(shape))
        found.setdefault(book, {})[name] = np.frombuffer(blob, "<f8", count, at).reshape(shape).astype(np.float64)
        at += 8 * count
    return found, at


def _take(books: Books, head: dict[str, Any], arrays: dict[str, dict[str, Any]]) -> dict[str, int]:
    names = [arm.name for arm in books.plan.arms]
    places = [names.index(name) if name in names else -1 for name in head["arms"]]
    kept = [(was, now) for was, now in enumerate(places) if now >= 0]
    losses: dict[str, Any] = {}
    for book, sums in books.parts().items():
        for name, fresh in sums.items():
            old = arrays.get(book, {}).get(name)
            if old is None:
                continue
            array = np.zeros((len(names), *old.shape[1:])) if book == "losses" else fresh.copy()
            if array.shape[1:] != old.shape[1:]:
                continue  # other guardrails: what they count begins now
            for was, now in kept:
                array[now] = old[was]
            if book == "losses":
                losses[name] = array
            else:
                sums[name] = array
    books.losses.load(head["losses"], losses)
    for name in _COUNTS:
        setattr(books, name, head[name])
    books.promotion.load(head["promotion"])
    if books.orders is not None:
        books.orders.load(head.get("orders") or {})
    books.log.load(head["log"], places)
    clock = {name: int(head["clock"][name]) for name in ("now_ms", "next")}
    books.promotion.restarted = head["promotion"]["default"] not in names
    books.follow(max(clock["now_ms"], books.latest_ms))
    return clock
