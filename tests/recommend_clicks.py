"""Clicks for the tests of recommendation: orderly ones, wild ones, and models to feed them to."""

from __future__ import annotations

import random
from typing import Any

from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

T0 = 1_700_000_000_000
MINUTE = 60_000
PATHS = (("tent", "stove", "lamp", "rope"), ("pen", "ink", "paper", "stapler"), ("pan", "pot", "knife", "apron"))
CORE = (Field("user", "string"), Field("item", "string"), Field("ms", "integer"))
GENRES = Field("genres", "string")


def reco(*more: Field, core: tuple[Field, ...] = CORE, **options: str) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in options.items()))
    return EngineSpec("recommend", "next-item", "recommend", core + more, Field("next", "string"), named)


def clicks(users: int, more: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Each user walks one path, in its order."""
    return [
        {"user": f"u{at}", "item": item, "ms": T0 + MINUTE * (10 * at + step), **(more or {})}
        for at in range(users)
        for step, item in enumerate(PATHS[at % len(PATHS)])
    ]


def wild(count: int, users: int = 7, items: int = 25, seed: int = 1) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {
            "user": f"u{dice.randrange(users)}",
            "item": None if dice.random() < 0.1 else f"i{dice.randrange(items)}",
            "ms": T0 + at * MINUTE - dice.randrange(3 * MINUTE),
            "genres": dice.choice([None, "a", "a|b", " b | c ", "|", "d|e|f|g|h|i|j|k|l"]),
            "device": dice.choice([None, "phone", "desk"]),
            "visit": dice.choice([None, 1, 2]),
            "stars": dice.choice([None, 0.0, 1.0, 5.0]),
        }
        for at in range(count)
    ]


def fed(spec: EngineSpec, rows: list[dict[str, Any]]) -> Any:
    engine: Any = build(spec)
    for row in rows:
        engine.learn(row)
    return engine


ALL = (GENRES, Field("device", "string"), Field("visit", "integer"), Field("stars", "number"))
NAMED = {"session": "visit", "weight": "stars", "context": "device"}
SMALL = {"max_items": "12", "max_users": "4", "neighbours": "8", "factors": "3"}
CASES: list[tuple[EngineSpec, list[dict[str, Any]]]] = [
    (reco(), clicks(15)),
    (reco(*ALL, **NAMED), wild(80)),
    (reco(*ALL, **NAMED, **SMALL, exploration="0.5", exclude_seen="false", half_life="1 min"), wild(80, seed=2)),
    (
        reco(core=(Field("user", "integer"), Field("item", "integer"), Field("ms", "integer")), top_k="3"),
        [{"user": at % 5, "item": at * 7 % 11, "ms": T0 + at} for at in range(50)],
    ),
]
