"""The options of recommendation: read and checked, all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.choices import one_of, read_options, whole
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.engines.gate import Gate

__all__ = ["DEFAULTS", "RecommendSettings", "settings_of"]

DEFAULTS = {
    "top-k": "10",
    "half-life": "10 d",
    "session-timeout": "30 min",
    "exclude-seen": "true",
    "exploration": "0",
    "factors": "16",
    "learning-rate": "0.03",
    "max-items": "10000",
    "max-users": "100000",
    "neighbours": "128",
    "session": "",
    "weight": "",
    "context": "",
    "seed": "0",
}
_NAMES = ("session", "weight", "context")
_MOST_CONTEXTS = 8


@dataclass(frozen=True)
class RecommendSettings:
    """A checked spec.

    Attributes
    ----------
    top : int
        Items in an answer.
    half_life : int
        Of popularity, ms.
    timeout : int
        Silence after which a session is over, ms.
    exclude : bool
        Whether what a user has seen is not recommended.
    exploration : float
        By how much scores are shaken where little is known.
    factors, neighbours, items, users : int
        Sizes.
    seed : int
        Of the vectors that items start with, and of exploration.
    tune : array of float64
        See ``recommend_kernel.rank``.
    session, weight : str
        Inputs; empty, there is none.
    context, features : tuple of str
        Inputs.
    gate : Gate
        Checks a row.
    digest : bytes
        Eight bytes that stand for what a snapshot must agree with.
    """

    top: int
    half_life: int
    timeout: int
    exclude: bool
    exploration: float
    factors: int
    neighbours: int
    items: int
    users: int
    seed: int
    tune: NDArray[np.float64]
    session: str
    weight: str
    context: tuple[str, ...]
    features: tuple[str, ...]
    gate: Gate
    digest: bytes


@lru_cache(maxsize=256)
def settings_of(spec: EngineSpec) -> RecommendSettings:
    """Check a spec.

    Raises
    ------
    ConfigError
        Everything that is wrong with it.
    """
    problems = spec.problems("recommend", tuple(DEFAULTS)) + _misdeclared(spec)
    readers: dict[str, Callable[[str], Any]] = {
        "top-k": whole(1, 100),
        "half-life": parse_duration_ms,
        "session-timeout": parse_duration_ms,
        "exclude-seen": one_of("true", "false"),
        "exploration": _number(0.0, 10.0),
        "factors": whole(1, 128),
        "learning-rate": _number(0.0, 1.0),
        "max-items": whole(10, 1_000_000),
        "max-users": whole(1, 10_000_000),
        "neighbours": whole(8, 1024),
        "seed": whole(0, 999_999_999),
    }
    values = read_options(spec, readers, DEFAULTS, problems)
    roles = {name: [part.strip() for part in spec.param(name, "").split(",") if part.strip()] for name in _NAMES}
    problems += _roles(spec.inputs[3:], roles)
    if problems:
        raise ConfigError(problems)
    named = {name for names in roles.values() for name in names}
    features = tuple(name for name, _ in spec.inputs[3:] if name not in named)
    sizes = [values[name] for name in ("factors", "neighbours", "max-items", "max-users", "seed")]
    identity = [spec.inputs, roles, sizes, values["half-life"]]
    optional = [name for name, _ in spec.inputs[3:]] + [spec.inputs[1].name]
    return RecommendSettings(
        top=values["top-k"],
        half_life=values["half-life"],
        timeout=values["session-timeout"],
        exclude=values["exclude-seen"] == "true",
        exploration=values["exploration"],
        factors=values["factors"],
        neighbours=values["neighbours"],
        items=values["max-items"],
        users=values["max-users"],
        seed=values["seed"],
        tune=np.array([0.7, 0.9, 0.95, 50.0, values["learning-rate"], 0.01, 0.1, 100.0]),
        session="".join(roles["session"]),
        weight="".join(roles["weight"]),
        context=tuple(roles["context"]),
        features=features,
        gate=Gate(spec.inputs, optional),
        digest=hashlib.sha256(json.dumps(identity).encode("utf-8", "surrogatepass")).digest()[:8],
    )


def _misdeclared(spec: EngineSpec) -> list[Problem]:
    problems = []
    if spec.task != "next-item":
        what, remedy = "recommend has no such task.", "Declare 'task' = 'next-item'."
        problems.append(Problem(f"task '{spec.task}'", what, remedy))
    if spec.model not in ("", "recommend"):
        remedy = "Write 'model' = 'recommend'."
        problems.append(Problem(f"model '{spec.model[:80]}'", "is not a model of this engine.", remedy))
    kinds = tuple(field.kind for field in spec.inputs[:3])
    if len(kinds) < 3 or not {*kinds[:2]} <= {"string", "integer"} or kinds[2] != "integer":
        what = f"begins with {', '.join(kinds) or 'nothing'}."
        remedy = "Declare INPUT (user STRING, item STRING, time BIGINT, ...), the time in epoch ms, in this order."
        problems.append(Problem("INPUT", what, remedy))
    if spec.output.kind != "string":
        what = f"is {spec.output.kind}, and what is recommended is an item."
        problems.append(Problem(f"output '{spec.output.name}'", what, "Declare OUTPUT (next_item STRING)."))
    return problems


def _roles(inputs: Sequence[Field], roles: dict[str, list[str]]) -> list[Problem]:
    """Return what is wrong with the inputs beyond the first three, and with the options that name some of them."""
    problems = []
    kinds = {field.name: field.kind for field in inputs}
    for option, names in roles.items():
        allowed = ("number", "integer") if option == "weight" else ("string", "integer", "boolean")
        most = _MOST_CONTEXTS if option == "context" else 1
        if len(names) > most:
            problems.append(Problem(f"option '{option}'", f"names {len(names)} inputs.", f"Name at most {most}."))
        for name in names:
            if kinds.pop(name, "vector") not in allowed:
                what = f"'{name}' is no input beyond the first three of a type that fits, or is named twice."
                problems.append(Problem(f"option '{option}'", what, f"It takes: {', '.join(allowed)}."))
    for name, kind in kinds.items():
        if kind != "string":
            what = f"is {kind}; a feature of an item is a text, such as 'Action|Comedy'."
            remedy = "Declare it STRING, or name it in the option 'session', 'weight' or 'context'."
            problems.append(Problem(f"input '{name}'", what, remedy))
    return problems


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a number.") from None
        if not least <= value <= most:
            raise ValueError(f"'{text}' is not from {least:g} to {most:g}.")
        return value

    return read
