"""What is known of items and users, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.udfs.engines.recommend_kernel import NEWEST, PLACES, SIGNALS, STAGES, Desk, Tables
from thalweg.udfs.engines.recommend_settings import RecommendSettings

__all__ = ["HISTORY", "LARGEST", "MOST_TRAITS", "TRAITS", "RecommendState", "Visitor"]

TRAITS = 8  # features of an item that count
MOST_TRAITS = 1024  # rows of features and contexts; later ones share the first
_POPULAR = 200
HISTORY = 1024  # events of a user that are remembered at most; then the older half goes
_FIRST = 64  # places before the tables grow
LARGEST = 1e300  # beyond what counts, whose unit is made smaller in time, can reach
_WEIGHTS = np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]] * STAGES)


class Visitor:
    """A user.

    Attributes
    ----------
    history : array of int64
        Numbers of items, the newest last; ``length`` of them.
    session : int
        How many of them are of this session.
    last_ms : int
        Time of the newest event.
    session_id : str or None
        What the input names the session.
    """

    __slots__ = ("history", "last_ms", "length", "session", "session_id")

    def __init__(self) -> None:
        self.history: NDArray[np.int64] = np.zeros(8, np.int64)
        self.length = self.session = self.last_ms = 0
        self.session_id: str | None = None

    def push(self, number: int) -> None:
        """Remember an event."""
        if self.length == len(self.history):
            if self.length < HISTORY:
                self.history = np.concatenate((self.history, np.zeros_like(self.history)))
            else:
                half = HISTORY // 2
                self.history[:half] = self.history[half:]
                self.length = half
                self.session = min(self.session, half)
        self.history[self.length] = number
        self.length += 1
        self.session += 1


class RecommendState:
    """Items, users, features and what ties them.

    Parameters
    ----------
    settings : RecommendSettings
        Gives the sizes.

    Attributes
    ----------
    learned : int
        Events learned.
    items, users : dict
        By name; who was heard of last is last.
    traits : dict of (int, str) to int
        Rows in ``tables.tastes`` of features, each a column and a text. Later ones than the tables hold share row 0.
    names : list of str
        Of the item in each place.
    newest : int
        Items there have ever been.
    origin_ms : int
        Time at which an event adds 1 to the popularity.
    tables, desk :
        See ``recommend_kernel``.
    """

    def __init__(self, settings: RecommendSettings) -> None:
        self._settings = settings
        self.learned = 0
        self.origin_ms = 0
        self.items: dict[str, int] = {}
        self.users: dict[str, Visitor] = {}
        self.traits: dict[tuple[int, str], int] = {}
        self.names: list[str] = []
        self.newest = 0
        width = 2 * settings.factors + 1
        places = min(_FIRST, settings.items)
        self.tables = Tables(
            numbers=np.full(places, -1, np.int64),
            counts=np.zeros((places, 6)),
            vectors=np.zeros((places, width), np.float32),
            traits=np.full((places, TRAITS), -1, np.int32),
            near=np.full((places, settings.neighbours), -1, np.int64),
            ties=np.zeros((places, settings.neighbours, 2), np.float32),
            held=np.zeros(places, np.int32),
            lists=np.full(_POPULAR + NEWEST, -1, np.int64),
            tastes=np.zeros((32, width), np.float32),
            weights=np.stack((_WEIGHTS, np.ones((STAGES, SIGNALS)))),
            clock=np.array([1.0, 0.0, 0.0]),
        )
        self.desk = self._room()

    def _room(self) -> Desk:
        places, factors = len(self.tables.numbers), self._settings.factors
        return Desk(
            marks=np.zeros(places + 1, np.int64),
            sums=np.zeros((places, 2)),
            chosen=np.zeros(places, np.int32),
            signals=np.zeros((places, SIGNALS)),
            scores=np.zeros(places),
            query=np.zeros(factors + 1),
            liking=np.zeros(len(self.tables.tastes)),
            heat=np.zeros(len(self.tables.tastes)),
        )

    def grow(self, places: int, traits: int) -> None:
        """Make room for more items and features."""
        t = self.tables
        grown: dict[str, Any] = {}
        if places > len(t.numbers):
            size = min(2 * len(t.numbers), self._settings.items)
            size = max(size, places)
            for name in ("numbers", "counts", "vectors", "traits", "near", "ties", "held"):
                old = getattr(t, name)
                fill = -1 if name in ("numbers", "traits", "near") else 0
                new = np.full((size, *old.shape[1:]), fill, old.dtype)
                new[: len(old)] = old
                grown[name] = new
        if traits > len(t.tastes):
            new = np.zeros((max(traits, 2 * len(t.tastes)), t.tastes.shape[1]), np.float32)
            new[: len(t.tastes)] = t.tastes
            grown["tastes"] = new
        if grown:
            self.tables = t._replace(**grown)
            self.desk = self._room()

    def advance(self, time_ms: int) -> None:
        """Let popularity fade until now: what an event adds grows instead."""
        clock = self.tables.clock
        if not self.learned:
            self.origin_ms = time_ms
        turns = (time_ms - self.origin_ms) / self._settings.half_life
        if turns > 500.0:
            # Smaller units, before the numbers become too large.
            factor = 2.0 ** -min(turns, 1e4)
            self.tables.counts[:, 0] *= factor
            self.tables.counts[:, 3] = np.log(self.tables.counts[:, 0] + 1e-300)
            clock[1] *= factor
            self.origin_ms, turns = time_ms, 0.0
        clock[0] = 2.0 ** max(turns, -1000.0)

    def rows(self, features: Sequence[tuple[int, str]]) -> list[int]:
        """Return the rows of those features that are known."""
        full = len(self.traits) >= MOST_TRAITS - 1
        found = (self.traits.get(feature, 0 if full else None) for feature in features)
        return [row for row in found if row is not None][:TRAITS]

    def add_rows(self, features: Sequence[tuple[int, str]]) -> list[int]:
        """Return the rows of features, giving one to each that is new while there are any."""
        for feature in features:
            if feature not in self.traits and len(self.traits) < MOST_TRAITS - 1:
                row = self.traits[feature] = len(self.traits) + 1
                self.grow(0, row + 1)
                self._start(self.tables.tastes[row], f"t{feature[0]}:{feature[1]}")
        return self.rows(features)

    def repeated(self, user: str, item: str, time_ms: int) -> bool:
        """Return whether an event is one that was learned before: a retry, or a replay."""
        visitor, place = self.users.get(user), self.items.get(item)
        if visitor is None or place is None or time_ms > visitor.last_ms:
            return False
        return bool((visitor.history[: visitor.length] == self.tables.numbers[place]).any())

    def item(self, name: str, traits: list[int]) -> int:
        """Return the place of an item, giving it one; the item that was not heard of for longest makes room."""
        place = self.items.pop(name, None)
        if place is None:
            place = self._settle(name)
        self.items[name] = place
        if traits:
            self.tables.traits[place] = traits + [-1] * (TRAITS - len(traits))
        return place

    def _settle(self, name: str) -> int:
        settings = self._settings
        if len(self.items) >= settings.items:
            place = self.items.pop(next(iter(self.items)))
            t = self.tables
            number = int(t.numbers[place]) + PLACES + 1
            t.clock[1] = max(t.clock[1] - t.counts[place, 0], 0.0)
            t.counts[place] = 0.0
            t.vectors[place] = 0.0
            t.traits[place] = -1
            t.near[place] = -1
            t.ties[place] = 0.0
            t.held[place] = 0
            self.names[place] = name
        else:
            place = number = len(self.items)
            self.grow(place + 1, 0)
            t = self.tables
            t.clock[2] += 1.0
            self.names.append(name)
        t.numbers[place] = number
        self._start(t.vectors[place], f"i{name}")
        t.lists[_POPULAR + self.newest % NEWEST] = number
        self.newest += 1
        return place

    def _start(self, vector: Any, name: str) -> None:
        """Give a vector small numbers that follow from its name."""
        factors = self._settings.factors
        stream = hashlib.shake_256(f"{self._settings.seed} {name}".encode("utf-8", "surrogatepass")).digest(4 * factors)
        vector[: 2 * factors] = (np.frombuffer(stream, "<u2").astype(np.float64) - 32767.5) / 32768.0 * 0.1

    def user(self, name: str) -> Visitor:
        """Return a user, who may be new; who was not heard of for longest makes room."""
        found = self.users.pop(name, None)
        if found is None:
            if len(self.users) >= self._settings.users:
                del self.users[next(iter(self.users))]
            found = Visitor()
        self.users[name] = found
        return found
