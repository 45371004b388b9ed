"""River's bundled data sets as examples for models: rows of plain values with their labels.

Each value is of the kind that a model declares, under a name that SQL takes as it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias

from river import datasets

__all__ = ["ARMS", "Examples"]

Examples: TypeAlias = Iterator[tuple[dict[str, Any], Any]]
ARMS = ("allow", "block")


def phishing(rows: int = 400) -> Examples:
    for x, y in islice(datasets.Phishing(), rows):
        yield {name: float(value) for name, value in x.items()}, y


def phishing_words() -> Examples:
    """The same sites, told in words."""
    for x, y in phishing():
        words = " ".join(name.replace("_", " ") for name, value in x.items() if value > 0.4)
        yield {"words": words, "hint": "no https" if x["https"] < 1 else "https", "age": x["age_of_domain"]}, y


def phishing_arms() -> Examples:
    """What was done about a site at random, and whether it was right."""
    dice = random.Random(5)
    for x, y in phishing():
        arm = dice.choice(ARMS)
        yield {"arm": arm, "https": x["https"], "age": x["age_of_domain"]}, float((arm == "block") == y)


def bananas() -> Examples:
    for x, y in islice(datasets.Bananas(), 500):
        yield {f"x{name}": value for name, value in x.items()}, y


def banana_points() -> Examples:
    """The same without labels."""
    for x, _ in bananas():
        yield x, None


def few_banana_points() -> Examples:
    """For a model that keeps them all."""
    yield from islice(banana_points(), 120)


def segments(rows: int = 300) -> Examples:
    for x, y in islice(datasets.ImageSegments(), rows):
        yield {name.replace("-", "_"): float(value) for name, value in x.items()}, y


def segments_arriving() -> Examples:
    """The classes turn up one by one, a new one every 60 rows."""
    found = list(segments(600))
    first = {label: 60 * at for at, label in enumerate(dict.fromkeys(y for _, y in found))}
    order = sorted(range(len(found)), key=lambda at: max(at, first[found[at][1]]))
    yield from (found[at] for at in order[:450])


def approval() -> Examples:
    for x, y in islice(datasets.TrumpApproval(), 400):
        yield {name: float(value) for name, value in x.items()}, y


def passengers() -> Examples:
    for x, y in datasets.AirlinePassengers():
        yield {"month": x["month"].month, "passengers": float(y)}, float(y)


def chicks() -> Examples:
    for x, y in islice(datasets.ChickWeights(), 400):
        yield {"chick": str(x["chick"]), "diet": str(x["diet"]), "time": float(x["time"])}, float(y)


def water() -> Examples:
    for x, y in islice(datasets.WaterFlow(), 300):
        yield {"hour": x["Time"].hour}, float(y)
