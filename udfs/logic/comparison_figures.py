"""What is known of the arms at a look: standings for decisions, figures for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.udfs.logic.arm_answers import ArmAnswers
from thalweg.udfs.logic.arm_latency import ArmLatency
from thalweg.udfs.logic.arm_outcomes import LOSSES, ArmOutcomes
from thalweg.udfs.logic.arm_rewards import ArmRewards
from thalweg.udfs.logic.arm_standing import Standing
from thalweg.udfs.logic.comparison_plan import ArmMetric, Plan
from thalweg.udfs.logic.guardrails import Guardrail, Verdict, judge_interval
from thalweg.udfs.logic.promotion import Promotion
from thalweg.udfs.logic.sequential_tests import Interval

__all__ = ["Figures"]

_NOTHING = Interval(0.0, -math.inf, math.inf, 0.0, 0)
_LEAST_IN_SLICE = 100


class Figures:
    """Reads the books of a comparison; changes nothing.

    Parameters
    ----------
    plan, promotion, answers, latency, losses, rewards :
        Of the comparison.
    """

    def __init__(
        self,
        plan: Plan,
        promotion: Promotion,
        answers: ArmAnswers,
        latency: ArmLatency,
        losses: ArmOutcomes,
        rewards: ArmRewards | None,
    ) -> None:
        self._plan, self._promotion, self._latency = plan, promotion, latency
        self._answers, self._losses, self._rewards = answers, losses, rewards
        self._level, self._tuned = promotion.level(), promotion.tuned()
        self._verdicts = [self._judge(arm) for arm in range(len(plan.arms))]

    def standings(self) -> list[Standing]:
        """Return what is known of each arm."""
        arms = range(len(self._plan.arms))
        betters = [self._better(arm) for arm in arms]
        steadies = [self._losses.steady(arm, self._level, self._tuned) for arm in arms]
        least = min((found.error for found in steadies if found.error > 0), default=0.0)
        out = []
        for arm, better in enumerate(betters):
            samples, steady, own = better.count, steadies[arm], steadies[arm]
            if self._rewards is not None and self._plan.reward:
                samples = min(self._rewards.served(arm), self._rewards.served(self._promotion.default))
                own = self._rewards.own(arm, self._plan.alpha, self._tuned)
            elif arm == self._promotion.default:
                # All are measured by their difference to it, so its own is known.
                samples, own = max(found.count for found in betters), Interval(0.0, 0.0, 0.0, 0.0, 0, least / 1000)
            agreement = self._answers.agreement(arm, self._level, self._tuned)
            recent = self._losses.recent(arm, self._promotion.window_level(), self._promotion.window_ends() / 2)
            if self._plan.reward:  # the spread is that between units already
                steady, recent = better._replace(count=samples), _NOTHING
            out.append(Standing(samples, better, steady, recent, own.value, own.error, agreement, self._verdicts[arm]))
        return out

    def events(self, standings: Sequence[Standing]) -> int:
        """Return the events behind the comparison since the last restart."""
        return max(standing.better.count for standing in standings)

    def verdicts(self, arm: int) -> list[Verdict]:
        """Return the verdicts on the guardrails."""
        return self._verdicts[arm]

    def _better(self, arm: int) -> Interval:
        if self._plan.reward and self._rewards is not None:
            return self._rewards.pair(arm, self._level, self._tuned)
        if self._plan.metric in self._losses.metrics:
            return self._losses.pair(arm, self._plan.metric, self._level, self._tuned)
        return _NOTHING

    def _judge(self, arm: int) -> list[Verdict]:
        out: list[Verdict] = []
        default = arm == self._promotion.default
        for rule in self._plan.guardrails:
            if rule.quantile() is not None:
                out.append(self._latency.judge(arm, rule, self._level, self._plan.min_samples))
            elif rule.metric == "failures":
                out.append(self._answers.judge(arm, rule, self._level, self._plan.min_samples))
            elif rule.sign == "slice":
                out += [] if default else self._in_slices(arm, rule)
            elif rule.sign == "not worse":
                out += [] if default else [self._held(self._pair(arm, rule.metric), -rule.bound, rule)]
            else:
                found, bound = self._own(arm, rule.metric), rule.bound
                if rule.sign == "<":
                    found = found._replace(value=-found.value, lower=-found.upper, upper=-found.lower)
                    bound = -bound
                verdict = self._held(found, bound, rule)
                out.append(verdict._replace(value=-verdict.value) if rule.sign == "<" else verdict)
        return out

    def _held(self, found: Interval, lowest: float, rule: Guardrail) -> Verdict:
        if found.count < self._plan.min_samples:
            return Verdict("open", found.value, rule.told())
        return judge_interval(found, lowest, rule.told())

    def _in_slices(self, arm: int, rule: Guardrail) -> list[Verdict]:
        margins = {other.metric: other.bound for other in self._plan.guardrails if other.sign == "not worse"}
        out = []
        for metric in self._losses.sliced if rule.metric in self._plan.slices else ():
            for name, found in self._losses.slices(arm, metric, rule.metric, self._level, self._tuned):
                if found.count >= _LEAST_IN_SLICE:
                    margin = margins.get(metric, 0.0)
                    told = f"{metric} not worse than {margin:g} for {name}"
                    out.append(judge_interval(found, -margin, told, needed=False))
        return out

    def _pair(self, arm: int, metric: str) -> Interval:
        if metric in LOSSES:
            return self._losses.pair(arm, metric, self._level, self._tuned)
        return _NOTHING if self._rewards is None else self._rewards.pair(arm, self._level, self._tuned)

    def _own(self, arm: int, metric: str) -> Interval:
        if metric in LOSSES:
            return self._losses.own(arm, metric, self._level, self._tuned)
        return _NOTHING if self._rewards is None else self._rewards.own(arm, self._level, self._tuned)

    def metrics(self, standings: Sequence[Standing], now_ms: int) -> list[ArmMetric]:
        """Return the figures for people; those without a finite interval are left out."""
        out: list[ArmMetric] = []
        for arm, (entry, standing) in enumerate(zip(self._plan.arms, standings, strict=True)):

            def told(name: str, found: Interval, part: str = "", arm_name: str = entry.name) -> None:
                if found.count and all(map(math.isfinite, found[:3])):
                    out.append(ArmMetric(arm_name, name, *found[:3], found.count, now_ms, part))

            for metric in self._losses.metrics:
                told(metric, self._own(arm, metric))
            if self._rewards is not None:
                told("Reward", self._own(arm, "Reward"))
                found, covered = self._rewards.by_action(arm, self._plan.alpha, self._tuned)
                told("reward_by_action", found)
                told("reward_by_action_covered", _plain(covered, found.count))
            events, failed, assigned = self._answers.sums["answers"][arm].tolist()
            told("served", _plain(assigned, int(events)))
            if entry.mirror:
                all_events = self._answers.sums["answers"][self._promotion.default, 0]
                told("skipped", _plain(float(all_events - events), int(all_events)))
            told("failures", _plain(failed / max(events, 1), int(events)))
            for name in ("latency", "cost"):
                for percent in (50, 99):
                    time_ms = self._latency.quantile(arm, name, percent / 100)
                    if time_ms is not None:
                        told(f"{name}_p{percent}", _plain(time_ms, self._latency.events(arm)))
            told("events", _plain(float(standing.samples), standing.samples))
            if arm == self._promotion.default:
                continue
            told("difference", standing.better)
            told("agreement", standing.agreement)
            chance = -math.expm1(-max(standing.better.log_evidence, 0.0)) if standing.better.value > 0 else 0.0
            told("evidence", _plain(chance, standing.better.count))
            for column in self._plan.slices if self._losses.metrics else ():
                for name, found in self._losses.slices(arm, self._losses.sliced[0], column, self._level, self._tuned):
                    if found.count >= _LEAST_IN_SLICE:
                        told("difference", found, name)
        return out


def _plain(value: float, count: int) -> Interval:
    return Interval(value, value, value, 0.0, count)
