"""What recommendation has learned, as bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.recommend_kernel import PLACES, Tables
from thalweg.udfs.engines.recommend_memory import HISTORY, LARGEST, MOST_TRAITS, RecommendState, Visitor
from thalweg.udfs.engines.recommend_settings import RecommendSettings
from thalweg.udfs.engines.sealed import inflate, open_sealed, seal

__all__ = ["dump_state", "restore_state"]

# events learned, items there have ever been, items, users, features; origin in ms; bytes before compression
_HEAD = struct.Struct(">QQIIIqQ")
_USER = np.dtype([("last_ms", "<i8"), ("length", "<u4"), ("session", "<u4"), ("named", "<u4")])
_LEVEL = 1
_LARGEST_BODY = 1 << 33
_DAMAGED = "the snapshot is damaged: "


def dump_state(settings: RecommendSettings, state: RecommendState) -> bytes:
    """Return the state as bytes, the same for the same state."""
    t, users = state.tables, list(state.users.values())
    items, traits = len(state.items), len(state.traits)
    visits = np.zeros(len(users), _USER)
    for at, user in enumerate(users):
        visits[at] = (user.last_ms, user.length, user.session, user.session_id is not None)
    # Only neighbours that there are: most lists are short.
    used = np.arange(t.near.shape[1]) < t.held[:items, None]
    parts = [
        _texts(state.items),
        np.fromiter(state.items.values(), "<i4", items).tobytes(),
        _texts(state.users),
        _texts(user.session_id or "" for user in users),
        visits.tobytes(),
        *(user.history[: user.length].astype("<i8").tobytes() for user in users),
        _texts(text for _, text in state.traits),
        np.fromiter((column for column, _ in state.traits), "<i4", traits).tobytes(),
        t.held[:items].astype("<i4").tobytes(),
        t.near[:items][used].astype("<i8").tobytes(),
        t.ties[:items][used].astype("<f4").tobytes(),
        *(array.astype(kind).tobytes() for array, kind in _plain(t, items, traits)),
    ]
    body = b"".join(parts)
    head = _HEAD.pack(state.learned, state.newest, items, len(users), traits, state.origin_ms, len(body))
    return seal(settings.digest, head + zlib.compress(body, _LEVEL))


def restore_state(settings: RecommendSettings, blob: bytes) -> RecommendState:
    """Return the state that ``dump_state`` wrote.

    Raises
    ------
    SnapshotError
        Damaged, hostile, of another protocol, or of another model; sizes are checked before anything is built.
    """
    differs = "other inputs, sizes, seed or half-life"
    content = open_sealed(blob, settings.digest, _HEAD.size, differs)
    learned, newest, items, users, traits, origin, size = _HEAD.unpack_from(content)
    packed = bytes(content[_HEAD.size :])
    # What zlib packs best becomes about a thousandth.
    if items > settings.items or users > settings.users or traits >= MOST_TRAITS or size > 1100 * (len(packed) + 64):
        raise SnapshotError(_DAMAGED + "its sizes cannot be.")
    if not items <= newest < 1 << 53 or learned >= 1 << 53 or abs(origin) > 1 << 53 or size > _LARGEST_BODY:
        raise SnapshotError(_DAMAGED + "its counts cannot be.")
    state = RecommendState(settings)
    state.learned, state.newest, state.origin_ms = learned, newest, origin
    reader = _Reader(inflate(packed, size))
    names = reader.texts(items)
    places = reader.array("<i4", items)
    if sorted(places.tolist()) != list(range(items)) or len(set(names)) != items:
        raise SnapshotError(_DAMAGED + "its items cannot be.")
    state.grow(items, traits + 1)
    state.items = dict(zip(names, places.tolist(), strict=True))
    state.names = [name for _, name in sorted(zip(places.tolist(), names, strict=True))]
    _read_users(reader, state, users)
    words = reader.texts(traits)
    columns = reader.array("<i4", traits).tolist()
    state.traits = {feature: at + 1 for at, feature in enumerate(zip(columns, words, strict=True))}
    if len(state.traits) != traits:
        raise SnapshotError(_DAMAGED + "its features cannot be.")
    t = state.tables
    t.held[:items] = reader.array("<i4", items)
    if items and not 0 <= t.held.min() <= t.held.max() <= t.near.shape[1]:
        raise SnapshotError(_DAMAGED + "its neighbours cannot be.")
    used, total = np.arange(t.near.shape[1]) < t.held[:, None], int(t.held.sum())
    t.near[used] = reader.array("<i8", total)
    t.ties[used] = reader.array("<f4", 2 * total).reshape(-1, 2)
    for array, kind in _plain(t, items, traits):
        array[...] = reader.array(kind, array.size).reshape(array.shape)
    reader.end()
    _audit(settings, state, items, traits)
    return state


def _plain(t: Tables, items: int, traits: int) -> list[tuple[Any, str]]:
    """Return the arrays that are written as they are, as far as they are used."""
    return [
        (t.numbers[:items], "<i8"),
        (t.counts[:items], "<f8"),
        (t.vectors[:items], "<f4"),
        (t.traits[:items], "<i4"),
        (t.lists, "<i8"),
        (t.tastes[: traits + 1], "<f4"),
        (t.weights, "<f8"),
        (t.clock, "<f8"),
    ]


def _read_users(reader: _Reader, state: RecommendState, users: int) -> None:
    names, sessions = reader.texts(users), reader.texts(users)
    visits = reader.array(_USER, users)
    lengths = visits["length"].astype(np.int64)
    odd = (visits["session"] > lengths) | (lengths > HISTORY) | (visits["named"] > 1)
    if len(set(names)) != users or odd.any() or np.abs(visits["last_ms"]).max(initial=0) > 1 << 53:
        raise SnapshotError(_DAMAGED + "its users cannot be.")
    for name, named, visit in zip(names, sessions, visits, strict=True):
        user = state.users[name] = Visitor()
        user.last_ms, user.length, user.session = (int(visit[field]) for field in ("last_ms", "length", "session"))
        user.session_id = named if visit["named"] else None
        user.history = np.zeros(max(8, 1 << (user.length - 1).bit_length()), np.int64)
        user.history[: user.length] = reader.array("<i8", user.length)


def _audit(settings: RecommendSettings, state: RecommendState, items: int, traits: int) -> None:
    """Raise SnapshotError for numbers that no events can have left."""
    t = state.tables
    for array in (t.counts, t.vectors, t.ties, t.tastes, t.weights, t.clock):
        # Of NaN and infinity it is not true, either.
        if array.size and not float(np.abs(array).max()) < LARGEST:
            raise SnapshotError(_DAMAGED + "it holds a number that cannot be.")
    if (
        min(t.counts[:, [0, 1, 2, 4, 5]].min(), t.ties.min(), t.weights[1].min() - 1.0, t.clock.min()) < 0
        or t.clock[2] != items
    ):
        raise SnapshotError(_DAMAGED + "it holds a count that cannot be.")
    rows, numbers = t.traits[:items], t.numbers[:items]
    gaps = (rows[:, :-1] < 0) & (rows[:, 1:] >= 0)
    if rows.size and (rows.min() < -1 or rows.max() > traits or gaps.any()):
        raise SnapshotError(_DAMAGED + "its features cannot be.")
    if (numbers & PLACES != np.arange(items)).any() or (numbers < 0).any():
        raise SnapshotError(_DAMAGED + "its items cannot be.")


def _texts(texts: Iterable[str]) -> bytes:
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, parts), "<u4", len(parts))
    return lengths.tobytes() + b"".join(parts)


class _Reader:
    """Reads parts of a body one after the other; raises SnapshotError where it ends too early."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def array(self, kind: Any, count: int) -> NDArray[Any]:
        size = np.dtype(kind).itemsize * count
        found = np.frombuffer(self._take(size), kind)
        return found

    def texts(self, count: int) -> list[str]:
        ends = np.concatenate(([0], np.cumsum(self.array("<u4", count), dtype=np.int64))).tolist()
        body = self._take(ends[-1])
        try:
            return [body[begin:end].decode("utf-8", "surrogatepass") for begin, end in pairwise(ends)]
        except UnicodeDecodeError as error:
            raise SnapshotError(_DAMAGED + "it holds a text that is none.") from error

    def end(self) -> None:
        if self._at != len(self._body):
            raise SnapshotError(_DAMAGED + "it is longer than what it holds.")

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._body):
            raise SnapshotError(_DAMAGED + "it is not as long as what it holds.")
        self._at += size
        return self._body[self._at - size : self._at]
