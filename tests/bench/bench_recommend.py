"""The next film of a user, as 100,000 ratings come in the order of their time: hits among ten, beside three baselines.

Test, then learn: before each event every method names ten films that the user has not rated yet, then it learns the
event. Judged is the second half. The settings of all, the engine's defaults too, were chosen on the first half alone.
``hit10``: share of events whose film was among the ten; ``ndcg10``: the same, a hit in place n counts 1 / log2(n + 1);
``cold_hit10``: hits of users with fewer than five events before.

Half of the events have the very time of the user's event before (one page of ratings, sent at once), and within a page
the file is in the order of the films' numbers. No method sees the numbers, but what was often rated next is learnable
by those that look at order. ``shuffled`` judges the engine and item-kNN with each page in random order.
"""

from __future__ import annotations

import csv
import lzma
import math
import random
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import click
import numpy as np
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.ranking_measures import ranking_figures

FILE = "movielens-100k.csv.xz"
TOP = 10
COLD = 5
SPEC = EngineSpec(
    "recommend",
    "next-item",
    "recommend",
    (Field("user", "string"), Field("item", "string"), Field("ts", "integer"), Field("genres", "string")),
    Field("next", "string"),
)


class Event(NamedTuple):
    """A rating: user, film, epoch ms, genres."""

    user: str
    item: str
    ts: int
    genres: str


class Method(Protocol):
    """Names films and learns."""

    def top(self, event: Event) -> list[str]:
        """Return ten films for the user of an event that has not come yet."""
        ...

    def learn(self, event: Event) -> None:
        """Learn it."""
        ...


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the figures of all methods, over the first ``rows`` events if given."""
    if data is None or not (data / FILE).exists():
        raise click.UsageError(f"--data names no folder with {FILE}")
    events = read(data / FILE)[:rows]
    half = len(events) // 2
    figures: dict[str, Any] = {"benchmark": "recommend", "events": len(events)}
    methods: dict[str, Callable[[], Method]] = {
        "ours": Ours,
        "popularity": Popularity,
        "item_knn": ItemKnn,
        "frozen": lambda: Frozen(events[:half]),
    }
    for name, make in methods.items():
        figures[name] = judge(name, make(), events, half)
    mixed = shuffled_pages(events)
    figures["shuffled"] = {name: judge(name, methods[name](), mixed, half) for name in ("ours", "item_knn")}
    return figures | {"engine_events_per_s": speed(events)}


def read(path: Path) -> list[Event]:
    """Return the ratings in the order of their time."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [
            Event(line["user"], line["item"], int(line["timestamp"]) * 1000, line["genres"])
            for line in csv.DictReader(lines)
        ]


def shuffled_pages(events: list[Event]) -> list[Event]:
    """Return the events with those of one user and time in random order."""
    dice, mixed = random.Random(1), []
    for _, page in groupby(events, key=lambda event: (event.user, event.ts)):
        part = list(page)
        dice.shuffle(part)
        mixed += part
    return mixed


def judge(name: str, method: Method, events: list[Event], begin: int, end: int | None = None) -> dict[str, float]:
    """Return the figures of a method over ``events[begin:end]``; it learns all before, too."""
    past: dict[str, int] = {}
    all_users, cold = [], []
    for at, event in enumerate(events[:end]):
        before = past.get(event.user, 0)
        past[event.user] = before + 1
        if at >= begin:
            found = ranking_figures(method.top(event), event.item)
            all_users.append(found)
            if before < COLD:
                cold.append(found)
        method.learn(event)
        if at % 10_000 == 0:
            print(f"{name}: {at} of {len(events)}", file=sys.stderr, flush=True)
    return {
        "hit10": round(float(np.mean([found["HitRate"] for found in all_users])), 4),
        "ndcg10": round(float(np.mean([found["NDCG"] for found in all_users])), 4),
        "cold_hit10": round(float(np.mean([found["HitRate"] for found in cold])), 4),
    }


def speed(events: list[Event]) -> int:
    """Return how many events the engine scores and learns in a second, in one process."""
    engine: Any = build(SPEC)
    rows = [event._asdict() for event in events[:30_000]]
    warm = len(rows) // 6
    for row in rows[:warm]:
        engine.step(row)
    started = time.perf_counter()
    for row in rows[warm:]:
        engine.step(row)
    return round((len(rows) - warm) / (time.perf_counter() - started))


class Ours:
    """The engine with its defaults, asked by a row without an item."""

    def __init__(self) -> None:
        self._engine: Any = build(SPEC)

    def top(self, event: Event) -> list[str]:
        answer = self._engine.score([{"user": event.user, "item": None, "ts": event.ts, "genres": None}])[0]
        return list(answer.probabilities or {})

    def learn(self, event: Event) -> None:
        self._engine.learn(event._asdict())


class _Seen:
    """Films by the order in which they appeared, and which of them a user has rated."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.histories: dict[str, list[int]] = {}

    def number(self, item: str) -> int:
        if item not in self.numbers:
            self.numbers[item] = len(self.names)
            self.names.append(item)
        return self.numbers[item]

    def best(self, user: str, scores: Any) -> list[str]:
        """Return the ten best that the user has not rated; of equal ones those that appeared first."""
        open_to = scores[: len(self.names)].copy()
        rated = [number for number in self.histories.get(user, ()) if number < len(open_to)]
        open_to[rated] = -math.inf
        chosen = np.argsort(-open_to, kind="stable")[:TOP]
        return [self.names[number] for number in chosen if open_to[number] > -math.inf]

    def note(self, event: Event) -> int:
        number = self.number(event.item)
        self.histories.setdefault(event.user, []).append(number)
        return number


class Popularity:
    """The films rated most of late: each rating counts half after a half-life."""

    def __init__(self, half_life_ms: float = 10 * 86_400_000.0) -> None:
        self._seen, self._half_life = _Seen(), half_life_ms
        self._scores = np.zeros(2000)
        self._origin: int | None = None

    def top(self, event: Event) -> list[str]:
        return self._seen.best(event.user, self._scores)

    def learn(self, event: Event) -> None:
        # All fade alike: a newer rating counts more instead.
        self._origin = self._origin or event.ts
        self._scores[self._seen.note(event)] += 2.0 ** ((event.ts - self._origin) / self._half_life)


class ItemKnn:
    """Item-to-item neighbours, kept up to date: cosine of the users in common, summed over what the user rated last.

    Sarwar et al., WWW 2001, with the fading of session-based variants (Ludewig and Jannach, 2018): later ratings of a
    history weigh more, ratings of a user that lie far apart tie films less, and a user without a history gets what is
    popular. No list of neighbours is cut off.
    """

    def __init__(self, fade: float = 0.8, tie_fade: float = 0.95, shrink: float = 3.0) -> None:
        self._seen, self._fade, self._tie_fade, self._shrink = _Seen(), fade, tie_fade, shrink
        self._together, self._counts = np.zeros((2000, 2000)), np.zeros(2000)
        self._popular = Popularity()

    def top(self, event: Event) -> list[str]:
        history = self._seen.histories.get(event.user, [])[:-51:-1]
        if not history:
            return self._popular.top(event)
        weights = self._fade ** np.arange(len(history)) / np.sqrt(self._counts[history] + self._shrink)
        scores = weights @ self._together[history] / np.sqrt(self._counts + self._shrink)
        # Where nothing was seen together yet, what is popular.
        return self._seen.best(event.user, scores + 1e-9 * self._counts)

    def learn(self, event: Event) -> None:
        history = self._seen.histories.get(event.user, [])[:-101:-1]
        number = self._seen.number(event.item)
        if history:
            tie = self._tie_fade ** np.arange(len(history))
            self._together[number, history] += tie
            self._together[history, number] += tie
        self._counts[number] += 1
        self._seen.note(event)
        self._popular.learn(event)


class Frozen:
    """Implicit matrix factorisation of the first half, frozen: films never change, a user is folded in when asked.

    Alternating least squares with confidences (Hu, Koren and Volinsky, ICDM 2008). The vector of a user is the exact
    solution for all ratings until now, with fixed films, so users who came later are served, too; one without a rating
    gets the films most rated in the first half. Films of the second half are not known.
    """

    def __init__(self, events: list[Event], factors: int = 32, alpha: float = 10.0, decay: float = 10.0) -> None:
        self._seen, self._alpha, self._decay = _Seen(), alpha, decay
        users = {user: row for row, user in enumerate(dict.fromkeys(event.user for event in events))}
        pairs = [(users[event.user], self._seen.number(event.item)) for event in events]
        rated = np.zeros((len(users), len(self._seen.names)))
        rated[tuple(np.array(pairs).T)] = 1.0
        self._known, self._popular = len(self._seen.names), rated.sum(axis=0)
        dice = np.random.default_rng(1)
        self._films = dice.normal(0, 0.1, (self._known, factors))
        for _ in range(15):
            people = self._solved(self._films, rated)
            self._films = self._solved(people, rated.T)
        self._gram = self._films.T @ self._films + decay * np.eye(factors)

    def _solved(self, fixed: Any, rated: Any) -> Any:
        gram = fixed.T @ fixed + self._decay * np.eye(fixed.shape[1])
        return np.stack([self._fold(fixed, gram, np.flatnonzero(row)) for row in rated])

    def _fold(self, fixed: Any, gram: Any, at: Any) -> Any:
        own = fixed[at]
        return np.linalg.solve(gram + self._alpha * own.T @ own, (1 + self._alpha) * own.sum(axis=0))

    def top(self, event: Event) -> list[str]:
        rated = [number for number in self._seen.histories.get(event.user, ()) if number < self._known]
        scores = np.full(len(self._seen.names), -math.inf)
        scores[: self._known] = self._films @ self._fold(self._films, self._gram, rated) if rated else self._popular
        return self._seen.best(event.user, scores)

    def learn(self, event: Event) -> None:
        self._seen.note(event)
