"""The books of a live comparison: who is served, what is measured, and what follows at a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.alert_rules import Alert
from thalweg.udfs.logic.arm_answers import ArmAnswers
from thalweg.udfs.logic.arm_latency import ArmLatency
from thalweg.udfs.logic.arm_outcomes import ArmOutcomes
from thalweg.udfs.logic.arm_rewards import ArmRewards
from thalweg.udfs.logic.assignment import counts_of, slots_of
from thalweg.udfs.logic.comparison_figures import Figures
from thalweg.udfs.logic.comparison_plan import ArmMetric, Decision, Plan, Served
from thalweg.udfs.logic.experiment_commands import obey
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.order_guard import OrderGuard
from thalweg.udfs.logic.promotion import Promotion
from thalweg.udfs.logic.sample_ratio import SampleRatio
from thalweg.udfs.logic.weight_log import WeightLog

__all__ = ["Books", "Ready"]


class Ready(NamedTuple):
    """A block's values as arrays, one line per event, one column per arm."""

    there: Any
    answered: Any
    labels: Any
    scores: Any
    latency: Any
    waited: Any
    gains: Any
    codes: Any
    reward: Any
    base: Any


class Books:
    """All that a comparison remembers.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.promotion = Promotion(plan)
        self.orders = None if plan.order_max_age_ms is None else OrderGuard(plan.order_max_age_ms)
        self.answers, self.losses, self.latency = ArmAnswers(plan), ArmOutcomes(plan), ArmLatency(plan)
        rewarded = plan.reward or any(rule.metric == "Reward" for rule in plan.guardrails)
        self.rewards = ArmRewards(len(plan.arms), plan.reward_cap) if rewarded else None
        self.ratio = SampleRatio(len(plan.arms))
        default = self.promotion.default
        others = [arm for arm in range(len(plan.arms)) if arm != default]
        self.log = WeightLog(self._counts(), [*others, default])
        self.outcomes = self.late = self.repeated = 0
        self.latest_ms = NEVER  # of the events that were served
        self.raised: list[str] = []
        self.begun = False

    def _counts(self) -> list[int]:
        shares, default = self.promotion.shares(), self.promotion.default
        others = [arm for arm in range(len(shares)) if arm != default]
        counts = dict(zip([default, *others], counts_of([0.0, *(shares[arm] for arm in others)]), strict=True))
        return [counts[arm] for arm in range(len(shares))]

    def begin(self, now_ms: int) -> list[Decision]:
        """Return the decision that starts the experiment, at its first row."""
        if self.begun:
            return []
        self.begun = True
        self.promotion.since_ms = self.promotion.moved_ms = now_ms
        told = f"{self.plan.default} is the default; {len(self.plan.arms) - 1} others are compared with it."
        return [self.promotion.decide("start", self.promotion.default, told, {}, now_ms - 1)]

    def prepare(self, columns: Sequence[Sequence[Any]], rows: Any, asked: Any, told: Any) -> Ready:
        """Return the values of a block; ``asked`` and ``told`` say which events are answers, and outcomes."""
        there = rows >= 0
        safe = np.maximum(rows, 0)

        def numbers(at: int) -> Any:
            if len(columns) <= at:
                return np.full(rows.shape, np.nan)
            return np.where(there, np.array(columns[at], dtype=np.float64)[safe], np.nan)

        scores, latency, waited = numbers(6), numbers(12), numbers(15)
        labels = np.array(columns[7], dtype=object)[safe]
        labels[~there] = None
        answered = there & (np.array(columns[10], dtype=object)[safe] == "ok")
        gains = np.full((*rows.shape, len(self.losses.metrics)), np.nan)
        codes = np.zeros((len(rows), len(self.plan.slices)), dtype=np.int64)
        if told.any():
            gains[told], codes[told] = self.losses.values(columns, rows[told], scores[told], labels[told])
        reward, base = np.full((2, len(rows)), np.nan)
        if self.rewards is not None:
            last = np.arange(len(rows)), rows.argmax(axis=1)  # all rows of an outcome say the same
            reward, base = numbers(13)[last], numbers(14)[last]
        base = np.where(np.isfinite(base), base, 1.0)
        return Ready(there, answered, labels, scores, latency, waited, gains, codes, reward, base)

    def serve(self, ready: Ready, at: Any, rows: Any, keys: Any, event_ms: Any) -> Served:
        """Return whose answers are served for the events ``at``, and count them."""
        default = self.promotion.default
        given = self.log.at(slots_of(keys[at]), event_ms[at])
        assigned = np.where(given.arm < 0, default, given.arm)
        there, answered = ready.there[at], ready.answered[at]
        place = np.arange(len(at))
        # An answer of the assigned arm, else of the default; without any, the row that says why there is none.
        second = np.where(there[:, default], default, assigned)
        arm = np.where(answered[place, assigned], assigned, second)
        # Neither has a row: people promoted a shadow that skips events. Somebody serves all the same.
        lost = ~there[place, arm]
        if lost.any():
            able = there & ~np.array([entry.mirror for entry in self.plan.arms])
            good = able & answered
            arm = np.where(lost, np.where(good.any(axis=1), good.argmax(axis=1), able.argmax(axis=1)), arm)
        row = rows[at][place, arm]
        found = row >= 0
        self.answers.add(there, answered, ready.labels[at], ready.scores[at], assigned, default)
        self.latency.add(ready.latency[at], ready.waited[at])
        self.latest_ms = max(self.latest_ms, int(event_ms[at].max()))
        propensity = given.shares[place, assigned]
        return Served(*(part[found].tolist() for part in (row, arm, assigned, propensity)))

    def measure(self, ready: Ready, at: Any, keys: Any, event_ms: Any, row_ms: Any) -> None:
        """Take the outcomes ``at``."""
        self.outcomes += len(at)
        late = row_ms[at] - event_ms[at] > self.plan.label_timeout_ms
        self.late += int(late.sum())
        at = at[~late]
        if not len(at):
            return
        default = self.promotion.default
        self.losses.add(ready.gains[at], ready.codes[at], default)
        given = self.log.at(slots_of(keys[at]), event_ms[at])
        scored = np.isfinite(ready.scores[at])[np.arange(len(at)), np.maximum(given.arm, 0)]
        counted = scored & (given.arm >= 0) & (event_ms[at] >= self.log.since_ms())
        self.ratio.add(keys[at][counted], given.arm[counted])
        if self.rewards is not None:
            known = np.isfinite(ready.reward[at]) & (given.arm >= 0)
            labels = ready.labels[at][known] if self.plan.task == "classification" else None
            part = type(given)(given.arm[known], given.shares[known])
            self.rewards.add(keys[at][known], part, ready.reward[at][known], ready.base[at][known], labels, default)

    def command(self, name: str | None, detail: str | None, now_ms: int) -> Decision:
        """Carry out an order of people."""
        at_ms = max(now_ms, self.latest_ms)
        decision = obey(self.promotion, self.plan, name or "", detail, now_ms, at_ms, self.orders)
        self.follow(at_ms)
        return decision

    def look(self, now_ms: int, at_ms: int) -> tuple[list[Decision], list[ArmMetric], list[Alert]]:
        """Judge and measure at ``now_ms``; what changes holds for events after ``at_ms`` and all that were served."""
        at_ms = max(at_ms, self.latest_ms)
        figures = Figures(self.plan, self.promotion, self.answers, self.latency, self.losses, self.rewards)
        standings = figures.standings()
        alerts = self._alerts(figures, now_ms)
        metrics = figures.metrics(standings, now_ms)
        counts = [("outcomes", self.outcomes), ("outcomes_late", self.late), ("rows_repeated", self.repeated)]
        counts += [] if self.orders is None else [("orders_refused", self.orders.refused)]
        metrics += [ArmMetric("", name, value, value, value, self.outcomes, now_ms) for name, value in counts]
        decisions = self.promotion.look(standings, now_ms, at_ms)
        for decision in decisions:
            if decision.action == "rollback":
                value, count = decision.evidence.get("difference", 0.0), decision.evidence["samples"]
                alerts.append(Alert("rollback", "critical", "raised", value, 0.0, count, now_ms, decision.reason))
        if self.rewards is not None:
            self.rewards.look()
        if not self.promotion.restarted and figures.events(standings) >= self.promotion.period_ends():
            self.promotion.next_period(standings)
            self._restart()
        elif not self.promotion.restarted and self.losses.new_window(self.promotion.window_ends()):
            self.promotion.window += 1
        self.follow(at_ms)
        self.log.prune(now_ms - self.plan.label_timeout_ms)
        shares = self.promotion.shares()
        for arm, entry in enumerate(self.plan.arms):
            for name, value in (("share", shares[arm]), ("default", float(arm == self.promotion.default))):
                metrics.append(ArmMetric(entry.name, name, value, value, value, self.outcomes, now_ms))
        return decisions, metrics, alerts

    def _restart(self) -> None:
        self.losses.restart()
        self.answers.restart()
        self.latency.restart()
        if self.rewards is not None:
            self.rewards.restart()

    def follow(self, at_ms: int) -> None:
        """Deal the units anew where shares have changed, and begin the tests anew where the default has."""
        if self.promotion.restarted:
            self.promotion.restarted = False
            self._restart()
        if self.log.shares() != self.promotion.shares():
            self.log.change(at_ms + 1, self._counts())
            self.ratio.restart()

    def _alerts(self, figures: Figures, now_ms: int) -> list[Alert]:
        """Return what is raised and cleared: mismatched samples, and guardrails that are broken."""
        shares = [share / 100 for share in self.log.shares()]
        found: dict[str, tuple[str, float, float, int, str]] = {}
        unknown = set()  # what cannot be told, as the tests have just begun anew, stays as it was
        wrong, value, told = self.ratio.mismatch(shares)
        if wrong:
            count = int(self.ratio.sums["units"].sum())
            reason = f"units are not measured in the shares in which they were dealt: {told}. Trust no comparison"
            found["sample-ratio"] = ("critical", value, 1000.0, count, f"{reason} before it is known why.")
        for arm, entry in enumerate(self.plan.arms):
            for verdict in figures.verdicts(arm):
                if verdict.state == "open":
                    unknown.add(f"{entry.name}: {verdict.told}")
                if verdict.state == "broken":
                    severity = "critical" if arm == self.promotion.default else "warning"
                    reason = f"{entry.name} breaks {verdict.told}: {verdict.value:.6g}."
                    found[f"{entry.name}: {verdict.told}"] = (severity, verdict.value, 0.0, self.outcomes, reason)
        alerts = [
            Alert(name, severity, "raised", value, bound, count, now_ms, reason)
            for name, (severity, value, bound, count, reason) in found.items()
            if name not in self.raised
        ]
        for name in self.raised:
            if name not in found and name not in unknown:
                severity = "critical" if name == "sample-ratio" else "warning"
                alerts.append(Alert(name, severity, "cleared", 0.0, 0.0, self.outcomes, now_ms, f"{name} is over."))
        self.raised = [*(name for name in self.raised if name in unknown), *found]
        return alerts

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return the arrays by book and name; the first axis of each is the arm."""
        books: dict[str, Any] = {"answers": self.answers, "losses": self.losses, "ratio": self.ratio}
        books["latency"] = self.latency
        if self.rewards is not None:
            books["rewards"] = self.rewards
        return {name: book.sums for name, book in books.items()}
