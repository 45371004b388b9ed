"""Who is the default and who has which share: what evidence, guardrails and people change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.udfs.logic.allocation import allocate
from thalweg.udfs.logic.arm_standing import Standing, evidence_of, regression
from thalweg.udfs.logic.comparison_plan import Decision, Plan
from thalweg.udfs.logic.never import NEVER

__all__ = ["Promotion"]

_FIRST = 0.8  # of alpha; the rest is for the periods that follow
_LEAST_FOR_BANDIT = 30
_LEAST_FOR_ROLLBACK = 3  # times min-samples: batches of fewer events are shorter than a storm
_LEAST_MOVE = 1.0  # percent: smaller moves of a bandit are not worth that units change hands


class Promotion:
    """The state of an experiment.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._arms = plan, [arm.name for arm in plan.arms]
        self.default = self._arms.index(plan.default)
        self.previous = -1
        self.period: int = 0
        self.window: int = 0
        self.rollbacks: int = 0
        self.credit = 0.0  # what the default had won before it was promoted, in sum
        held = ("Reward" if plan.reward else plan.metric, "not worse")
        margins = [rule.bound for rule in plan.guardrails if (rule.metric, rule.sign) == held]
        self._margin = max(margins, default=0.0)  # by how much a default may be worse than the one before
        self.frozen = False
        self.wanted = [0.0 if arm.mirror else arm.share for arm in plan.arms]  # percent; that of the default: unused
        self.stopped: set[int] = set()  # out, until a person lets them in
        self.rested: set[int] = set()  # worse: they serve nobody, and are still compared
        self.failed: set[int] = set()  # promoted once and taken back
        self.admitted: set[int] = set()
        self.recommended: set[int] = set()
        self.since_ms = self.moved_ms = NEVER
        self.restarted = False

    def level(self) -> float:
        """Return the chance of an error of each test in this period.

        Alpha is shared by the candidates (Bonferroni) and by the periods; so the chance that one default is ever
        replaced by one that is no better is at most alpha. Each promotion that is taken back halves it.
        """
        rivals = sum(not arm.mirror for arm in self._plan.arms) - 1
        part = _FIRST if self.period == 0 else (1 - _FIRST) / (self.period * (self.period + 1))
        return float(self._plan.alpha * part / max(rivals, 1) / (1 << min(self.rollbacks, 60)))

    def tuned(self) -> float:
        """Return the count of events at which the intervals of this period are the tightest."""
        return 5.0 * self._plan.min_samples * (1 << self.period)

    def period_ends(self) -> int:
        """Return after how many events a new period begins: twice as long as the last, so what changes is noticed."""
        return 20 * self._plan.min_samples * (1 << self.period)

    def window_ends(self) -> int:
        """Return the events of a window, in which a regression is looked for: old merits do not make up for it."""
        return 10 * self._plan.min_samples

    def window_level(self) -> float:
        """Return the chance of an error in this window; over all windows it is at most alpha."""
        return self._plan.alpha / ((self.window + 1) * (self.window + 2))

    def shares(self) -> list[float]:
        """Return the percent of each arm."""
        shares = [share if self._serves(arm) else 0.0 for arm, share in enumerate(self.wanted)]
        shares[self.default] = 0.0
        shares[self.default] = max(0.0, round(100 - sum(shares), 2))
        return shares

    def _serves(self, arm: int) -> bool:
        """Return whether an arm may have a share."""
        if arm == self.default or arm == self.previous:
            return True
        tested = not self._plan.serve_after or arm in self.admitted
        return tested and arm not in self.rested and self._may_win(arm)

    def _may_win(self, arm: int) -> bool:
        """Return whether an arm may be promoted by evidence."""
        waits = self._plan.apprentice_threshold is not None and arm not in self.admitted
        return not (self._plan.arms[arm].mirror or arm in self.stopped or waits)

    def let_in(self, arm: int) -> None:
        """Let an arm serve whatever it was stopped for."""
        for kept_out in (self.stopped, self.rested, self.failed):
            kept_out.discard(arm)

    def next_period(self, standings: Sequence[Standing]) -> None:
        """Begin a period; what the default has won in the last one counts for it in the next."""
        if self.previous >= 0:
            lost = standings[self.previous].better
            self.credit = max(0.0, -lost.value) * min(lost.count, self.window_ends())
        self.period += 1

    def decide(
        self, action: str, arm: int, reason: str, evidence: dict[str, Any], at_ms: int, by: str = ""
    ) -> Decision:
        """Return a decision, with the shares that now hold."""
        changed = action in ("promote", "rollback")
        return Decision(
            self._plan.name,
            action,
            self._arms[arm] if arm >= 0 else "",
            self._arms[self.previous] if changed and self.previous >= 0 else "",
            reason,
            {**evidence, "shares": dict(zip(self._arms, self.shares(), strict=True))},
            at_ms,
            by,
        )

    def look(self, standings: Sequence[Standing], now_ms: int, at_ms: int) -> list[Decision]:
        """Return what the evidence changes at ``now_ms``, for events after ``at_ms``; nothing while frozen."""
        if self.frozen:
            return []
        rolled = self._regression(standings, now_ms, at_ms)
        if rolled:
            return rolled
        out = self._stops(standings, at_ms) + self._admissions(standings, at_ms)
        promoted = self._promotion(standings, now_ms, at_ms)
        if promoted:
            return out + promoted
        return out + (self._reallocation(standings, now_ms, at_ms) if self._plan.allocation != "fixed" else [])

    def _regression(self, standings: Sequence[Standing], now_ms: int, at_ms: int) -> list[Decision]:
        if self.previous < 0:
            return []
        before, failed = standings[self.previous], self.default
        found = regression(before, self.credit, self._margin, _LEAST_FOR_ROLLBACK * self._plan.min_samples)
        broken = standings[failed].broken()
        evidence = evidence_of(before)
        if found is not None:
            reason = (
                f"{self._arms[failed]} has turned out worse than {self._arms[self.previous]} by"
                f" {found.value:.6g}, at least {found.lower:.6g}, over {found.count} events."
            )
            evidence = evidence_of(before._replace(better=found, samples=found.count))
        elif broken and not before.broken():
            reason = f"{self._arms[failed]} breaks {broken[0].told}: {broken[0].value:.6g}."
        else:
            return []
        self.back(now_ms)
        # Who was worse may win again, where it is measured without serving; who breaks a rule must be let in.
        (self.stopped if found is None else self.rested).add(failed)
        self.failed.add(failed)
        decision = self.decide("rollback", self.default, reason, evidence, at_ms)
        self.previous = -1
        return [decision]

    def _stops(self, standings: Sequence[Standing], at_ms: int) -> list[Decision]:
        out = []
        harm = not self._plan.reward or self._plan.allocation == "fixed"  # a bandit sees to it by itself
        for arm, standing in enumerate(standings):
            if arm in (self.default, self.previous) or arm in self.stopped or self._plan.arms[arm].mirror:
                continue
            name, better = self._arms[arm], standing.better
            broken = standing.broken()
            if broken:
                self.stopped.add(arm)
                told = "; ".join(f"{verdict.told}: {verdict.value:.6g}" for verdict in broken)
                reason = f"{name} breaks {told}."
            elif harm and arm not in self.rested and standing.samples >= self._plan.min_samples and better.upper < 0:
                self.rested.add(arm)
                reason = f"{name} is worse than {self._arms[self.default]} by {-better.value:.6g}, at least"
                reason += f" {-better.upper:.6g}, over {standing.samples} events: it answers nobody from now on."
                reason += "" if self._plan.reward else " It is still compared, and may win."
            else:
                continue
            out.append(self.decide("stop", arm, reason, evidence_of(standing), at_ms))
        return out

    def _admissions(self, standings: Sequence[Standing], at_ms: int) -> list[Decision]:
        threshold, least, out = self._plan.apprentice_threshold, self._plan.serve_after, []
        for arm, standing in enumerate(standings if threshold is not None or least else ()):
            settled = self.admitted | self.stopped | self.rested | {self.default, self.previous}
            if arm in settled or self._plan.arms[arm].mirror or standing.samples < least:
                continue
            found, name = standing.agreement, self._arms[arm]
            if threshold is None:
                reason = f"{name} has been compared on {standing.samples} events, and is not known to be worse."
            elif found.count >= self._plan.min_samples and found.lower >= threshold:
                reason = f"{name} answers as the default in {found.value:.2%} of events, at least {found.lower:.2%},"
                reason += f" and {threshold:.2%} are asked for."
            else:
                continue
            self.admitted.add(arm)
            out.append(self.decide("admit", arm, reason, evidence_of(standing), at_ms))
        return out

    def _promotion(self, standings: Sequence[Standing], now_ms: int, at_ms: int) -> list[Decision]:
        if now_ms - self.since_ms < self._plan.min_duration_ms:
            return []
        winners = [
            arm
            for arm, standing in enumerate(standings)
            if arm not in (self.default, self.previous)
            and self._may_win(arm)
            and standing.samples >= self._plan.min_samples
            and (standing.steady if arm in self.failed else standing.better).lower > 0
            and all(v.state == "kept" or (v.state == "open" and not v.needed) for v in standing.verdicts)
        ]
        if not winners:
            return []
        arm = max(winners, key=lambda winner: standings[winner].better.value)
        better, old = standings[arm].better, self._arms[self.default]
        reason = f"{self._arms[arm]} is better than {old} by {better.value:.6g}, at least {better.lower:.6g}, over"
        reason += f" {standings[arm].samples} events."
        if self._plan.promote != "auto":
            if arm in self.recommended:
                return []
            self.recommended.add(arm)
            return [self.decide("recommend", arm, reason, evidence_of(standings[arm]), at_ms)]
        self.replace(arm, now_ms)
        self.credit = better.value * min(better.count, self.window_ends())
        return [self.decide("promote", arm, reason, evidence_of(standings[arm]), at_ms)]

    def _reallocation(self, standings: Sequence[Standing], now_ms: int, at_ms: int) -> list[Decision]:
        """Let the bandit move the shares; seldom enough that the log of weights stays short."""
        if now_ms - self.moved_ms < self._plan.label_timeout_ms // 64:
            return []
        arms = [arm for arm in range(len(standings)) if self._serves(arm)]
        least = _LEAST_FOR_BANDIT if self._plan.reward else self._plan.min_samples  # who does not serve is measured too
        known = all(standings[arm].samples >= least and standings[arm].error > 0 for arm in arms)
        if not known or len(arms) < 2:
            return []
        given = allocate(
            self._plan.allocation,
            [standings[arm].mean for arm in arms],
            [standings[arm].error for arm in arms],
            [standings[arm].samples for arm in arms],
            self._plan.exploration,
        )
        before = self.shares()
        if max(abs(share - before[arm]) for arm, share in zip(arms, given, strict=True)) < _LEAST_MOVE:
            return []
        self.moved_ms = now_ms
        for arm, share in zip(arms, given, strict=True):
            self.wanted[arm] = share
        evidence = {self._arms[arm]: standings[arm].mean for arm in arms}
        reason = f"{self._plan.allocation} moves the shares to what has done best so far."
        return [self.decide("reallocate", -1, reason, {"means": evidence}, at_ms)]

    def replace(self, arm: int, now_ms: int) -> None:
        """Make an arm the default; the old one keeps its share where rewards need one to be told, else scores only."""
        share, old = self.wanted[arm], self.default
        alive = self._plan.reward or self._plan.allocation != "fixed"
        self.default, self.previous = arm, old
        self.wanted[old] = share if alive else 0.0
        for each in (arm, old):
            self.stopped.discard(each)
            self.rested.discard(each)
        self.recommended.clear()
        self.credit = 0.0
        self.since_ms, self.period, self.window, self.restarted = now_ms, 0, 0, True

    def back(self, now_ms: int) -> None:
        """Make the one before the default again; who failed serves nobody."""
        failed = self.default
        self.replace(self.previous, now_ms)
        self.wanted[failed] = 0.0
        self.rollbacks += 1

    def state(self) -> dict[str, Any]:
        """Return the state as plain values; arms by name."""
        named = {name: sorted(self._arms[arm] for arm in getattr(self, name)) for name in _SETS}
        return {
            **named,
            "default": self._arms[self.default],
            "previous": self._arms[self.previous] if self.previous >= 0 else None,
            "wanted": dict(zip(self._arms, self.wanted, strict=True)),
            "configured": [[*arm] for arm in self._plan.arms],
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; an arm that is new, or whose share was configured anew, has that."""
        where = {name: arm for arm, name in enumerate(self._arms)}
        was = {name: (share, mirror) for name, share, mirror in state["configured"]}
        for name in _PLAIN:
            setattr(self, name, state.get(name, 0))
        for name in _SETS:
            setattr(self, name, {where[arm] for arm in state.get(name, ()) if arm in where})
        # A default that is no longer there cannot serve: the declared one takes its place.
        self.default = where.get(state["default"], self.default)
        self.previous = where.get(state["previous"], -1)
        for arm, entry in enumerate(self._plan.arms):
            if was.get(entry.name) == (entry.share, entry.mirror):
                self.wanted[arm] = state["wanted"][entry.name]
        spent = sum(share for arm, share in enumerate(self.shares()) if arm != self.default)
        if spent > 100:
            self.wanted = [share * 100 / spent for share in self.wanted]


_SETS = ("stopped", "rested", "failed", "admitted", "recommended")
_PLAIN = ("period", "window", "rollbacks", "credit", "frozen", "since_ms", "moved_ms")
