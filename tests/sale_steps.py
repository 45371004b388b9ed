"""What the windows of the recipe ``sale`` make of rows, in a plain loop: for its benchmark and its test."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.learning import LEARN, SCORE

from tests.played_rows import played

INPUTS = ("now", "longer", "kin", "seasonal")
_FORM = (
    "compose.Select('now', 'longer', 'kin', 'seasonal') + (compose.Select('category')"
    " | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LinearRegression(optim.{step},"
    " loss=optim.losses.{loss}, intercept_lr=0.02)"
)
MODELS = {
    "low": _FORM.format(step="SGD(0.02)", loss="Quantile(0.05)"),
    "middle": _FORM.format(step="RMSProp(0.02, 0.99)", loss="Huber(0.2)"),
    "high": _FORM.format(step="SGD(0.02)", loss="Quantile(0.95)"),
}
"""As the recipe has them."""


class Step(NamedTuple):
    """A row: what it says itself, what the model is asked, and the answer to the row before of that product."""

    ms: int
    product: str
    category: str
    sold: float
    recent: float
    features: dict[str, float]
    answers: str | None  # the id of the row before
    growth: float | None
    row_id: str


def spec(model: str) -> EngineSpec:
    """Return the spec of a model on steps."""
    fields = (*(Field(name, "number") for name in INPUTS), Field("category", "string"))
    return EngineSpec("river", "regression", model, fields, Field("growth", "number"))


def forecasts(
    taken: Sequence[Step], strength: int, frozen_at: int | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return low, middle and high of the row after each, by the row's id, of those that have an answer.

    Nothing is learned from rows after ``frozen_at``.
    """
    by_id = {step.row_id: step for step in taken}
    rows: list[tuple[Any, ...]] = []

    def add(kind: int, step: Step, ms: int, label: float | None) -> None:
        features = (*(step.features[name] for name in INPUTS), step.category)
        rows.append((kind, step.product, step.row_id, step.ms, ms, label, *features))

    for step in taken:
        add(SCORE, step, step.ms, None)
        if step.answers is not None and (frozen_at is None or step.ms <= frozen_at):
            add(LEARN, by_id[step.answers], step.ms, step.growth)
    ways = [played(spec(model), rows, strength) for model in MODELS.values()]
    told: dict[str, tuple[float, float, float]] = {}
    for step in taken:
        scores = [way[step.row_id].score for way in ways]
        if None not in scores:
            low, middle, high = (math.exp(score or 0.0) * (1 + step.recent) - 1 for score in scores)
            told[step.row_id] = (max(min(low, middle), 0.0), max(middle, 0.0), max(high, middle, 0.0))
    return told


def steps(sales: Iterable[tuple[int, str, str, float]], back: int, minutes: float) -> Iterator[Step]:
    """Yield a step per (ms, product, category, sold), given in the order of time."""
    last: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=12))
    grown: dict[str, deque[float | None]] = defaultdict(lambda: deque(maxlen=back + 1))
    kin: dict[str, deque[tuple[int, float]]] = defaultdict(deque)
    previous: dict[str, tuple[str, float]] = {}
    waiting: list[tuple[int, str, str, float, float, float]] = []

    def ready() -> Iterator[Step]:
        # Rows of one moment see each other: a window over a range of time has them all.
        for ms, _, category, _, _, now in waiting:
            kin[category].append((ms, now))
        for ms, product, category, sold, recent, now in waiting:
            window = kin[category]
            while window[0][0] < ms - minutes * 60_000:
                window.popleft()
            name = f"{product}@{ms}"
            answers, level = previous.get(product, (None, None))
            growth = None if level is None else math.log((1 + sold) / (1 + level))
            grown[product].append(growth)
            then = grown[product][0] if len(grown[product]) == back + 1 else None
            features = {
                "now": now,
                "longer": math.log((1 + sum(last[product]) / len(last[product])) / (1 + recent)),
                "kin": sum(value for _, value in window) / len(window),
                "seasonal": 0.0 if then is None else then,
            }
            previous[product] = (name, recent)
            yield Step(ms, product, category, sold, recent, features, answers, growth, name)
        waiting.clear()

    for ms, product, category, sold in sales:
        if waiting and waiting[0][0] != ms:
            yield from ready()
        last[product].append(sold)
        newest = list(last[product])[-3:]
        recent = sum(newest) / len(newest)
        waiting.append((ms, product, category, sold, recent, math.log((1 + sold) / (1 + recent))))
    yield from ready()
