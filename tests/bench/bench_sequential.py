"""How often a comparison that is looked at after every event promotes a model that is no better, and one that is.

Each run is a stream of events that two models answer, with log loss as the metric. In A/A runs both are equally noisy
and independent; in A/B runs the candidate is better by about two percent of the loss. The test is that of the product,
with its levels and periods; beside it the t-test at the same alpha, repeated after every event. ``--rows`` is the
number of events of a run.

``false_rollbacks`` are runs in which a model that is as good as the one it has replaced is taken back; in regimes, each
of 100 events, one of both is better for that long by half a standard deviation, and then the other:
``plain_rollbacks_in_regimes`` are those of the test that takes each event as independent of the last one.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from thalweg.udfs.logic.allocation import allocate
from thalweg.udfs.logic.arm_batches import batch_size, widening
from thalweg.udfs.logic.comparison_plan import Arm, Plan
from thalweg.udfs.logic.promotion import _LEAST_FOR_ROLLBACK, Promotion
from thalweg.udfs.logic.sequential_tests import log_evidence

_RUNS, _AT_ONCE = 2000, 50
_PLAN = Plan("bench", (Arm("champion"), Arm("challenger", 20.0)), "champion", min_samples=500)
_NOISE, _BETTER = 0.6, 0.47
_REGIME, _LOOK = 100, 250
_BANDIT_EVENTS, _BANDIT_STEP, _BANDIT_RUNS = 20_000, 500, 200
_RATES = (0.10, 0.12, 0.11)
_ROLLBACKS = ("false_rollbacks", "false_rollbacks_in_regimes", "plain_rollbacks_in_regimes")


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the shares of runs with a promotion, and after how many events it comes."""
    events = rows or 30_000
    same = _promotions(events, _NOISE, seed=1)
    print("A/A runs are done", file=sys.stderr, flush=True)
    better = _promotions(events, _BETTER, seed=2)
    print("A/B runs are done", file=sys.stderr, flush=True)
    found = better["sequential"][better["sequential"] > 0]
    regrets = {f"regret_{policy}": _regret(policy) for policy in ("fixed", "epsilon", "ucb", "thompson")}
    return {
        "benchmark": "sequential",
        "runs": _RUNS,
        "events": events,
        "alpha": _PLAN.alpha,
        "aa_false_promotions": float((same["sequential"] > 0).mean()),
        "naive_false_promotions": float((same["naive"] > 0).mean()),
        **{name: float(same[name].mean()) for name in _ROLLBACKS},
        "power": float((better["sequential"] > 0).mean()),
        "median_samples": int(np.median(found)) if len(found) else None,
        "effect": round(float(better["effect"]), 5),
        "loss": round(float(better["loss"]), 4),
        **regrets,
    }


def _promotions(events: int, noise: float, seed: int) -> dict[str, Any]:
    """Return for each run after how many events the candidate is promoted; 0, it is not."""
    pick = np.random.default_rng(seed)
    first: dict[str, list[Any]] = {"sequential": [], "naive": []} | {name: [] for name in _ROLLBACKS}
    effects, champions = [], []
    for _ in range(0, _RUNS, _AT_ONCE):
        centre = pick.normal(size=(_AT_ONCE, events))
        truth = pick.random(centre.shape) < _chance(centre)
        champion, challenger = (
            _loss(_chance(centre + spread * pick.normal(size=centre.shape)), truth) for spread in (_NOISE, noise)
        )
        ahead = champion - challenger
        effects.append(ahead.mean())
        champions.append(champion.mean())
        first["sequential"].append(_sequential(ahead))
        if noise == _NOISE:
            lasting = pick.choice((-0.5, 0.5), size=(_AT_ONCE, -(-events // _REGIME))).repeat(_REGIME, axis=1)
            regimes = ahead + lasting[:, :events] * ahead.std()
            for name, values, steady in zip(_ROLLBACKS, (ahead, regimes, regimes), (True, True, False), strict=True):
                first[name].append(_rolled_back(values, steady))
        first["naive"].append(_first(_t_values(ahead) > 1.96, _PLAN.min_samples))
    found = {name: np.concatenate(parts) for name, parts in first.items() if parts}
    return {**found, "effect": np.mean(effects), "loss": np.mean(champions)}


def _chance(logit: Any) -> Any:
    return 1 / (1 + np.exp(-logit))


def _loss(chance: Any, truth: Any) -> Any:
    return -np.log(np.where(truth, chance, 1 - chance))


def _moments(values: Any) -> tuple[Any, Any, Any]:
    count = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, axis=1) / count
    variance = np.cumsum(np.square(values), axis=1) / count - np.square(mean)
    return count, mean, variance * count / np.maximum(count - 1, 1)


def _sequential(ahead: Any) -> Any:
    """Return when the product would promote: period after period, each with its level."""
    promotion, begin = Promotion(_PLAN), 0
    found = np.zeros(len(ahead), dtype=np.int64)
    while begin < ahead.shape[1]:
        level, tuned = promotion.level(), promotion.tuned()
        count, mean, variance = _moments(ahead[:, begin : begin + promotion.period_ends()])
        evidence = log_evidence(mean, variance, count, level, tuned)
        at = _first((evidence > math.log(1 / level)) & (mean > 0), _PLAN.min_samples)
        found = np.where((found == 0) & (at > 0), begin + at, found)
        begin += promotion.period_ends()
        promotion.period += 1
    return found


def _rolled_back(ahead: Any, steady: bool) -> Any:
    """Return which runs are rolled back, as looked at every so often, where nothing had been won before."""
    promotion = Promotion(_PLAN)
    rolled = np.zeros(len(ahead), dtype=bool)
    begin = 0
    while begin < ahead.shape[1]:
        part = ahead[:, begin : begin + promotion.period_ends()]
        rolled |= _ever_worse(part, promotion.level(), promotion.tuned(), steady)
        begin += promotion.period_ends()
        promotion.period += 1
    for begin in range(0, ahead.shape[1], promotion.window_ends()):
        part = ahead[:, begin : begin + promotion.window_ends()]
        rolled |= _ever_worse(part, promotion.window_level(), promotion.window_ends() / 2, steady)
        promotion.window += 1
    return rolled


def _ever_worse(ahead: Any, level: float, tuned: float, steady: bool) -> Any:
    sums = np.cumsum(np.pad(ahead, ((0, 0), (1, 0))), axis=1)
    squares = np.cumsum(np.square(ahead), axis=1)
    worse = np.zeros(len(ahead), dtype=bool)
    for count in range(_LEAST_FOR_ROLLBACK * _PLAN.min_samples, ahead.shape[1] + 1, _LOOK):
        mean = sums[:, count] / count
        variance = (squares[:, count - 1] - sums[:, count] * mean) / (count - 1)
        if steady:
            size = batch_size(count)
            batches = np.diff(sums[:, : count // size * size + 1 : size], axis=1)
            found = batches.var(axis=1, ddof=1) / size * widening(batches.shape[1], level)
            variance = np.maximum(variance, found)
        worse |= (mean < 0) & (log_evidence(mean, variance, count, level, tuned) > math.log(1 / level))
    return worse


def _t_values(values: Any) -> Any:
    count, mean, variance = _moments(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean * np.sqrt(count / variance)


def _first(found: Any, least: int) -> Any:
    """Return the first event of each run, counted from 1, at which it is so; 0, never."""
    found = found.copy()
    found[:, : least - 1] = False
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def _regret(policy: str) -> float:
    """Return the mean reward that is lost to always serving the best arm, in percent of it."""
    pick = np.random.default_rng(3)
    best, lost = max(_RATES), 0.0
    for _ in range(_BANDIT_RUNS):
        shares = np.full(len(_RATES), 1 / len(_RATES))
        counts, hits = np.zeros(len(_RATES)), np.zeros(len(_RATES))
        for _ in range(_BANDIT_EVENTS // _BANDIT_STEP):
            served = pick.multinomial(_BANDIT_STEP, shares)
            counts += served
            hits += pick.binomial(served, _RATES)
            lost += float((served * (best - np.array(_RATES))).sum())
            if policy != "fixed":
                means = hits / counts
                errors = np.sqrt(np.maximum(means * (1 - means), 1e-6) / counts)
                given = allocate(policy, means.tolist(), errors.tolist(), [int(n) for n in counts], _PLAN.exploration)
                shares = np.array(given) / sum(given)
    return round(100 * lost / (_BANDIT_RUNS * _BANDIT_EVENTS * best), 3)
