"""What each arm brought to those whom it served, against the default: an A/B test by units, valid under any shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from thalweg.udfs.logic.arm_outcomes import onward
from thalweg.udfs.logic.off_policy import doubly_robust
from thalweg.udfs.logic.sequential_tests import Interval, mean_interval
from thalweg.udfs.logic.weight_log import Assigned

__all__ = ["BUCKETS", "ArmRewards"]

BUCKETS = 256
"""Units fall into so many buckets; the spread between buckets is that between units, whatever they do how often."""

_LEAST_BUCKETS = 30


class ArmRewards:
    """Rewards, and what they are divided by, of each arm.

    An event is one value for every arm: what is expected of it, and for the arm that served, what came beyond that,
    over its propensity. The mean over events is unbiased while a bandit moves the shares (Dudík, Langford and Li 2011;
    Waudby-Smith et al. 2024 for its sequence). A unit has many events that are alike, so the variance is that between
    buckets of units (Chamandy, Muralidharan, Najmi and Naidu 2012, Estimating uncertainty for massive data streams,
    Google), with the delta method for a ratio (Deng, Knoblich and Lu 2018, KDD).

    Parameters
    ----------
    arms : int
        How many.
    cap : float or None
        A reward above counts as this much.
    """

    def __init__(self, arms: int, cap: float | None) -> None:
        self._cap = cap
        # Of each arm and bucket, where the arm and the default could be served: events, reward and base of the arm,
        # and of the default. Then what those it served brought: events, rewards, bases; what is expected next: reward
        # and base of the arm, reward of whatever is served; and by actions, of an arm that serves nobody: events, sum,
        # squares, and events where nobody could act as it.
        self.sums: dict[str, Any] = {
            "buckets": np.zeros((arms, 5, BUCKETS)),
            "brought": np.zeros((arms, 3)),
            "expected": np.tile([0.0, 1.0, 0.0], (arms, 1)),
            "by_action": np.zeros((arms, 4)),
        }

    def add(self, keys: Any, given: Assigned, reward: Any, base: Any, labels: Any | None, default: int) -> None:
        """Take events with a reward.

        Parameters
        ----------
        keys : array of uint64, shape (n,)
            Of the units.
        given : Assigned
            Their arms, and the shares of all arms.
        reward, base : array of float, shape (n,)
            Reward, and what it is divided by.
        labels : array of object, shape (n, arms), or None
            What each arm answered, to judge arms that serve nobody by others' events.
        default : int
            Place of the default.
        """
        reward = reward if self._cap is None else np.minimum(reward, self._cap)
        arms = given.shares.shape[1]
        mine = given.arm[:, None] == np.arange(arms)
        share = np.where(given.shares > 0, given.shares, 1.0)
        brought = np.stack((np.ones(len(reward)), reward, base), axis=-1)
        self.sums["brought"] = onward(self.sums["brought"], mine[:, :, None] * brought[:, None])
        values = np.empty((len(reward), arms, 2))
        for at, part in enumerate((reward, base)):
            expected = self.sums["expected"][:, at]
            values[:, :, at] = doubly_robust(part[:, None], mine, share, expected, expected)
        valid = (given.shares > 0) & (given.shares[:, default : default + 1] > 0)
        bucket = (keys & np.uint64(BUCKETS - 1)).astype(np.int64)
        for arm in range(arms):
            used = valid[:, arm]
            its = values[used, default]
            for at, part in enumerate((np.ones(len(its)), *values[used, arm].T, *its.T)):
                np.add.at(self.sums["buckets"][arm, at], bucket[used], part)
        if labels is not None:
            self._add_actions(given, reward, labels)

    def _add_actions(self, given: Assigned, reward: Any, labels: Any) -> None:
        place = np.arange(len(reward))
        acted = labels[place, np.maximum(given.arm, 0)]
        chance = (given.shares * (labels == acted[:, None])).sum(axis=1)
        known = (given.arm >= 0) & (acted != None) & (chance > 0)  # noqa: E711  # element by element
        expected = self.sums["expected"][0, 2]
        # Event by event: an arm that has stopped served some of those whose outcome comes now, and not others.
        idle = known[:, None] & (given.shares == 0)
        for arm in np.flatnonzero(idle.any(axis=0)).tolist():
            own = labels[:, arm]
            covered = idle[:, arm] & ((given.shares * (labels == own[:, None])).sum(axis=1) > 0)
            found = doubly_robust(reward, own == acted, np.where(known, chance, 1.0), expected, expected)
            found = np.where(covered, found, 0.0)
            rows = np.stack((covered, found, np.square(found), idle[:, arm] & ~covered), axis=-1)
            self.sums["by_action"][arm] = onward(self.sums["by_action"][arm], rows)

    def look(self) -> None:
        """Learn what to expect of the events to come; only ever from those that are past."""
        for arm, (count, reward, base) in enumerate(self.sums["brought"].tolist()):
            if count:
                self.sums["expected"][arm, :2] = reward / count, base / count
        count, reward, _ = self.sums["brought"].sum(axis=0).tolist()
        if count:
            self.sums["expected"][:, 2] = reward / count

    def restart(self) -> None:
        """Begin the comparison anew."""
        self.sums["buckets"][:] = 0
        self.sums["brought"][:] = 0

    def served(self, arm: int) -> int:
        """Return how many events with a reward an arm has served since the last restart."""
        return int(self.sums["brought"][arm, 0])

    def own(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return an arm's mean reward, or ratio, as all events would have brought it."""
        return self._interval(arm, alpha, tuned, alone=True)

    def pair(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return by how much an arm brings more than the default."""
        return self._interval(arm, alpha, tuned, alone=False)

    def by_action(self, arm: int, alpha: float, tuned: float) -> tuple[Interval, float]:
        """Return the reward of an arm that serves nobody, from events in which others did as it would have done.

        It holds where the reward depends on the answer's class alone. The second figure is the share of events in which
        somebody could have acted as the arm: with less than all of it, nothing is known of the rest.
        """
        count, total, squares, lost = self.sums["by_action"][arm].tolist()
        mean = total / count if count else 0.0
        variance = max(0.0, squares - total * mean) / (count - 1) if count > 1 else 0.0
        return mean_interval(mean, variance, int(count), alpha, tuned), count / max(count + lost, 1)

    def _interval(self, arm: int, alpha: float, tuned: float, alone: bool) -> Interval:
        events, *parts = self.sums["buckets"][arm]
        count = float(events.sum())
        filled = int(np.count_nonzero(events))
        if filled < 2:
            return Interval(0.0, -np.inf, np.inf, 0.0, int(count))
        value, residual = _ratio(parts[0], parts[1], count)
        if not alone:
            its, rest = _ratio(parts[2], parts[3], count)
            value, residual = value - its, residual - rest
        variance = float(np.square(residual).sum()) * filled / (filled - 1) / count
        found = mean_interval(value, variance, int(count), alpha, tuned)
        if filled < _LEAST_BUCKETS:
            return Interval(value, -np.inf, np.inf, 0.0, int(count))
        return found


def _ratio(reward: Any, base: Any, count: float) -> tuple[float, Any]:
    """Return sum of rewards over sum of bases, and how much each bucket moved it, times the count."""
    whole = float(base.sum())
    if whole <= 0:
        return 0.0, np.zeros(len(base))
    value = float(reward.sum()) / whole
    return value, (reward - value * base) * (count / whole)
