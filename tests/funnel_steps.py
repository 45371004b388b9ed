"""What the windows of the recipe ``funnel`` make of clicks, in a plain loop: for its test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.learning import LEARN, SCORE

from tests.played_rows import Answer, played

NUMBERS = ("steps", "viewed", "searched", "carted", "has_cart", "lasted", "is_new")
TEXTS = ("step", "traffic")
Click = tuple[int, dict[str, Any]]


def answers(clicks: Sequence[Click], minutes: int) -> tuple[dict[str, Answer], dict[str, Answer]]:
    """Return what both models say of each click but purchases, by the event's id; clicks in the order of time."""
    buys: list[tuple[Any, ...]] = []
    goes_on: list[tuple[Any, ...]] = []
    sessions: dict[str, list[Click]] = defaultdict(list)
    for ms, click in clicks:
        sessions[click["session_id"]].append((ms, click))
    wait = minutes * 60_000
    for session in sessions.values():
        for at, (ms, click) in enumerate(session):
            if click["step"] == "buy":
                continue
            seen = [other for other in session if ms - wait <= other[0] <= ms]
            rest = session[at + 1 :]
            bought = next((when for when, other in rest if other["step"] == "buy" and when <= ms + wait), None)
            after = next(((when, other["step"]) for when, other in rest if when <= ms + wait), None)
            head = ("", f"{click['session_id']}/{click['click_id']}", ms)
            features = _features(seen, click)
            for rows, label, none in (
                (buys, None if bought is None else (bought, True), False),
                (goes_on, after, "leave"),
            ):
                told, value = label or (ms + wait + 1, none)
                rows += [(SCORE, *head, ms, None, *features), (LEARN, *head, told, value, *features)]
    form = (
        f"(compose.Select({', '.join(map(repr, NUMBERS))}) | preprocessing.StandardScaler()) + (compose.Select("
        "'step', 'traffic') | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model."
    )
    fields = (*(Field(name, "number") for name in NUMBERS), *(Field(name, "string") for name in TEXTS))
    buying = EngineSpec(
        "river", "classification", f"{form}LogisticRegression(optim.SGD(0.02))", fields, Field("bought", "boolean")
    )
    going_on = EngineSpec(
        "river", "classification", f"{form}SoftmaxRegression(optim.SGD(0.02))", fields, Field("next_step", "string")
    )
    return played(buying, buys), played(going_on, goes_on)


def _features(seen: Sequence[Click], click: dict[str, Any]) -> tuple[Any, ...]:
    counts = {step: sum(other["step"] == step for _, other in seen) for step in ("view", "search", "cart")}
    return (
        math.log(1 + len(seen)), math.log(1 + counts["view"]), math.log(1 + counts["search"]),
        math.log(1 + counts["cart"]), float(counts["cart"] > 0), math.log(1 + (seen[-1][0] - seen[0][0]) / 1000),
        float(click["is_new"]), click["step"], click["traffic"],
    )  # fmt: skip
