"""A live comparison of three models on the flights, from a cold start: does it find the best one, and at what price?

A network that was trained on January and frozen is the default. A linear model and a tree start empty on 1 February and
learn from each label; each answers for a tenth of the flights. The policy promotes by itself. All models score each
departure, labels come at landing. What is counted is the log loss of the answers that were served, of the flights with
a label, against that of each model alone. ``regret`` is the sum of the served losses minus that of the best single
model in hindsight; ``regret_per_event`` divides it; ``even_regret`` is that of thirds that never change, and
``default_regret`` that of the default alone. ``tested`` has candidates serve after 1,000 labels (``serve-after``).

The pure machines of the operators in one loop, without Flink: the same code, and the same answers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ARMS = ("frozen", "linear", "tree")
MODELS = {
    "linear": (
        "(compose.Select('distance') | preprocessing.StandardScaler()) + (compose.Select('carrier', 'origin', 'dest',"
        " 'weekday', 'hour_of_day') | preprocessing.OneHotEncoder(drop_zeros=True)) |"
        " linear_model.LogisticRegression(optim.SGD(0.05))"
    ),
    "tree": "tree.HoeffdingTreeClassifier(grace_period=200)",
}
SHARE = 10.0
BLOCK = 2_000
HOUR = 3_600_000


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the losses, the regret and when the best model was found; ``rows`` bounds the flights after January."""
    from thalweg.jobs.demo_flights import load_flights

    flights = load_flights()
    january = flights.where(flights.month == 1)
    later = flights.where(np.flatnonzero(flights.month > 1)[:rows])
    scores = {"frozen": _frozen(january, later)}
    for name, text in MODELS.items():
        scores[name] = _learning(text, later)
        _say(f"{name}: {int(np.isfinite(scores[name]).sum()):,} of {len(later):,} flights answered")
    figures: dict[str, Any] = {"benchmark": "comparison", "flights": len(later), "labels": int(later.labelled.sum())}
    losses = {name: _losses(score, later) for name, score in scores.items()}
    for name, loss in losses.items():
        # Where a model was not ready the default answers, as it does in the comparison.
        losses[name] = np.where(np.isfinite(loss), loss, losses["frozen"])
        figures[f"{name}.log_loss"] = round(float(losses[name].mean()), 4)
    best = min(losses, key=lambda name: losses[name].sum())
    figures["best"] = best
    even = float(np.mean([loss.sum() for loss in losses.values()]) - losses[best].sum())
    figures["default_regret"] = round(float(losses["frozen"].sum() - losses[best].sum()), 1)
    for name in ("fixed", "tested", "thompson"):
        allocation, serve_after = "thompson" if name == "thompson" else "fixed", 1000 if name == "tested" else 0
        served, decisions = _compared(scores, later, allocation, serve_after)
        loss = _losses(served, later)
        regret = float(loss.sum() - losses[best].sum())
        told = [d for d in decisions if d.action in ("promote", "rollback")]
        found = next((d for d in told if d.arm == best), None)
        known = later.arrival_ms[later.labelled]
        figures |= {
            f"{name}.log_loss": round(float(loss.mean()), 4),
            f"{name}.regret": round(regret, 1),
            f"{name}.regret_per_event": round(regret / len(loss), 5),
            f"{name}.default_at_the_end": told[-1].arm if told else "frozen",
            f"{name}.promotions": len(told),
            f"{name}.labels_to_the_best": None if found is None else int((known <= found.event_time_ms).sum()),
        }
        _say(f"{name}: log loss {loss.mean():.4f}, regret {regret:.1f}, {[(d.action, d.arm) for d in told]}")
    figures["even_regret"] = round(even, 1)
    return figures


def _frozen(january: Any, later: Any) -> Any:
    """Return the scores of the demo's network, trained on January."""
    from thalweg.jobs.demo_frozen import _table, train

    _say(f"training on {len(january):,} flights of January")
    return train(january).predict_proba(_table(later))[:, 1]


def _learning(text: str, later: Any) -> Any:
    """Return the scores of a model that learns from each label; NaN where it was not ready."""
    from thalweg.udfs.engines.base import EngineSpec, Field
    from thalweg.udfs.logic.learning import LEARN, SCORE, LearningLogic
    from thalweg.udfs.logic.options import Every
    from thalweg.udfs.logic.upkeep import Policy

    from tests.bench.bench_cadence import _Store

    table = later.table
    names = ("carrier", "origin", "dest", "distance", "weekday")
    values = list(zip(*(table[n].tolist() for n in names), map(str, table["sched_hour"].tolist()), strict=True))
    kinds = ("string", "string", "string", "number", "string", "string")
    fields = tuple(Field(*pair) for pair in zip((*names, "hour_of_day"), kinds, strict=True))
    spec = EngineSpec("river", "classification", text, fields, Field("late", "boolean"), (("min-samples", "1"),))
    logic, store = LearningLogic(spec, Policy(Every(1 << 60, None), 1 << 30)), _Store()
    scores = np.full(len(later), np.nan)
    rows = _timeline(later)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        columns = [
            [LEARN if learn else SCORE for _, learn, _ in part], [""] * len(part), [str(n) for _, _, n in part],
            [int(later.departure_ms[n]) for _, _, n in part], [ms for ms, _, _ in part],
            [bool(later.late[n]) if learn else None for _, learn, n in part],
            *map(list, zip(*(values[n] for _, _, n in part), strict=True)),
        ]  # fmt: skip
        answers = logic.on_rows(columns, store).answers.columns
        for name, score in zip(answers[0], answers[3], strict=True):
            if score is not None:
                scores[int(name)] = score
    return scores


def _timeline(later: Any) -> list[tuple[int, bool, int]]:
    """Return (time, whether it is a label, flight), in the order of time."""
    rows = [(ms, False, n) for n, ms in enumerate(later.departure_ms.tolist())]
    return sorted([*rows, *((ms, True, n) for n, ms in enumerate(later.arrival_ms.tolist()) if ms >= 0)])


def _compared(scores: dict[str, Any], later: Any, allocation: str, serve_after: int) -> tuple[Any, list[Any]]:
    """Return the scores that were served, and the decisions."""
    from thalweg.udfs.logic.comparison import ANSWER, OUTCOME, Arm, Comparison, Plan
    from thalweg.udfs.logic.options import Every

    arms = tuple(Arm(name, 0.0 if name == "frozen" else SHARE) for name in ARMS)
    plan = Plan(
        "flights", arms, "frozen", promote="auto", every=Every(None, HOUR), label_timeout_ms=24 * HOUR,
        allocation=allocation, min_samples=1000, serve_after=serve_after,
    )  # fmt: skip
    machine = Comparison(plan)
    served, decisions = np.full(len(later), np.nan), []
    given = [scores[name].tolist() for name in ARMS]
    truths = ["true" if late else "false" for late in later.late.tolist()]
    departed, rows = later.departure_ms.tolist(), _timeline(later)
    for start in range(0, len(rows), BLOCK):
        part = [(arm, *row) for row in rows[start : start + BLOCK] for arm in range(len(ARMS))]
        score = [given[arm][n] for arm, _, _, n in part]
        score = [value if value == value else None for value in score]  # NaN: not ready
        names = [str(n) for _, _, _, n in part]
        nothing = [None] * len(part)
        out = machine.on_rows(
            [
                [OUTCOME if label else ANSWER for _, _, label, _ in part],
                [arm for arm, _, _, _ in part],
                names,
                names,
                [departed[n] for _, _, _, n in part],
                [ms for _, ms, _, _ in part],
                score,
                [None if value is None else "true" if value > 0.5 else "false" for value in score],
                nothing,
                [truths[n] if label else None for _, _, label, n in part],
                ["not_ready" if value is None else "ok" for value in score],
                nothing,
            ]
        )
        for at in out.served.row:
            served[int(names[at])] = np.nan if score[at] is None else score[at]
        decisions += out.decisions
    return served, decisions


def _losses(score: Any, later: Any) -> Any:
    """Return the log loss of each flight with a label."""
    known = later.labelled
    p = np.clip(score[known], 1e-15, 1 - 1e-15)
    return -np.log(np.where(later.late[known], p, 1 - p))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
