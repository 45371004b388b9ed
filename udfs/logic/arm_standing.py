"""What is known of an arm at a look, and whether a default has turned out worse than the one before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from thalweg.udfs.logic.guardrails import Verdict
from thalweg.udfs.logic.sequential_tests import Interval

__all__ = ["Standing", "evidence_of", "regression"]


class Standing(NamedTuple):
    """What is known of one arm at a look.

    Attributes
    ----------
    samples : int
        Events behind the comparison with the default.
    better : Interval
        By how much it is better than the default.
    steady, recent : Interval
        The same where events that follow one another are alike, so that a storm or a sale is no evidence by itself:
        since the comparison began anew, and over the newest events.
    mean, error : float
        Its own mean and standard error, more is better, for a bandit.
    agreement : Interval
        Share of events, 0 to 1, in which it answers as the default does.
    verdicts : sequence of Verdict
        On the guardrails.
    """

    samples: int
    better: Interval
    steady: Interval
    recent: Interval
    mean: float
    error: float
    agreement: Interval
    verdicts: Sequence[Verdict]

    def broken(self) -> list[Verdict]:
        """Return the guardrails that it breaks."""
        return [verdict for verdict in self.verdicts if verdict.state == "broken"]


def regression(before: Standing, credit: float, margin: float, least: int) -> Interval | None:
    """Return by how much the one before is better than its successor, where that is to be taken back; else None.

    It must be shown in spite of regimes, by more than what people call no worse; and what was lost must be more than
    what had been won: so a policy that promotes and takes back has never lost much to one that does neither.

    Parameters
    ----------
    before : Standing
        Of the default that was replaced.
    credit : float
        What the successor had won in sum before.
    margin : float
        By how much per event it may be worse.
    least : int
        Events that are needed.

    Examples
    --------
    >>> worse = Interval(0.07, 0.02, 0.12, 9.0, 1000)
    >>> nothing = Interval(0.0, -1.0, 1.0, 0.0, 0)
    >>> before = Standing(1000, worse, worse, nothing, 0.0, 0.0, nothing, ())
    >>> regression(before, 60.0, 0.0, 1000).value, regression(before, 80.0, 0.0, 1000)
    (0.07, None)
    """
    for found in (before.steady, before.recent):
        if found.count >= least and found.lower > margin and found.value * found.count > credit:
            return found
    return None


def evidence_of(standing: Standing) -> dict[str, Any]:
    """Return the figures of a decision, all finite."""
    better = standing.better
    found = {"difference": better.value, "lower": better.lower, "upper": better.upper}
    found["e_value"] = math.exp(min(better.log_evidence, 700.0))
    return {"samples": standing.samples, **{name: value for name, value in found.items() if math.isfinite(value)}}
