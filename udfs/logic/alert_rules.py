"""Rules such as ``critical: ROCAUC < 0.7 for 10 min``: read, held against what is measured, told once."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thalweg.udfs.engines.durations import parse_duration_ms

__all__ = ["Alert", "AlertBook", "Rule", "judged", "parse_rules", "unknown_in_rules"]

_RULE = re.compile(
    r"(?:(?P<severity>\w+)\s*:\s*)?(?P<metric>[\w.@%-]+(?:\([^)]*\))?)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<bound>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)"
    r"(?:\s+for\s+(?P<held>\d+\s*[A-Za-z]+))?(?:\s+min-samples\s+(?P<least>\d+))?"
)
_SIGNS: dict[str, Any] = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
_SEVERITIES = ("info", "warning", "critical")
_OVER = {
    "rolling": "the last {} events",
    "cumulative": "all {} events",
    "reservoir": "{} old events",
    "reference": "{} events of the reference",
}
_QUIET_MS = 3_600_000  # between two times that one rule is raised


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    severity : str
        ``info``, ``warning`` or ``critical``.
    metric, sign, bound :
        The condition.
    held_ms : int
        How long it must be true to be raised, and false to be cleared, in stream time.
    least : int
        Below so many samples it is not judged.
    """

    severity: str
    metric: str
    sign: str
    bound: float
    held_ms: int
    least: int

    def condition(self) -> str:
        """Return the condition as text: the name of its alert."""
        return f"{self.metric} {self.sign} {self.bound:g}"


class Alert(NamedTuple):
    """A rule that was raised or cleared, with what was measured."""

    alert: str
    severity: str
    state: str
    value: float
    threshold: float
    count: int  # type: ignore[assignment]  # the contract's name
    event_time_ms: int
    reason: str


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read rules, separated by ``;``; ``none`` is no rule.

    Raises
    ------
    ValueError
        Names the first rule that cannot be read, and what a rule looks like.

    Examples
    --------
    >>> parse_rules("critical: ROCAUC < 0.7 for 10 min min-samples 500")
    (Rule(severity='critical', metric='ROCAUC', sign='<', bound=0.7, held_ms=600000, least=500),)
    """
    if text.strip() == "none":
        return ()
    rules = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        found = _RULE.fullmatch(part)
        if found is None:
            raise ValueError(
                f"the rule '{part}' is not of the form 'critical: ROCAUC < 0.7 for 10 min min-samples 100', where only"
                " metric, sign and number must stand."
            )
        severity = found["severity"] or "warning"
        if severity not in _SEVERITIES:
            raise ValueError(f"the rule '{part}' has the severity '{severity}'; it is one of {', '.join(_SEVERITIES)}.")
        try:
            held = parse_duration_ms(found["held"]) if found["held"] else 0
        except ValueError as error:
            raise ValueError(f"the rule '{part}': {error}") from None
        least = int(found["least"]) if found["least"] else 100
        rules.append(Rule(severity, found["metric"], found["sign"], float(found["bound"]), held, least))
    if not rules:
        raise ValueError("has no rule; 'none' is for none.")
    if len({rule.condition() for rule in rules}) < len(rules):
        raise ValueError(f"'{text}' has the same condition twice.")
    return tuple(rules)


def unknown_in_rules(rules: Sequence[Rule], known: Collection[str]) -> list[str]:
    """Return the conditions whose metric is not measured."""
    return [rule.condition() for rule in rules if rule.metric not in known]


def judged(metrics: Iterable[Any]) -> dict[str, tuple[float, int, str]]:
    """Return what rules are held against, of ``scorecard.Metric``: the rolling figures, else those there are."""
    found: dict[str, tuple[float, int, str]] = {}
    for figure in metrics:
        if figure.slice and not figure.metric.startswith("worst."):
            continue
        if figure.window == "rolling" or (figure.window in _OVER and figure.metric not in found):
            told = _OVER[figure.window].format(figure.count) + (f" of {figure.slice}" if figure.slice else "")
            found[figure.metric] = (figure.value, figure.count, told)
    return found


class AlertBook:
    """Which rules are raised.

    A rule is judged at each emission on rolling values. It is raised when its condition has been true for its time,
    once, and held. It is cleared when the condition has been false for the same time, and at least at one emission. It
    is not raised again within an hour after it was raised last: if the condition still holds then, it is raised late.
    With too few samples, or without a value, nothing changes.

    Parameters
    ----------
    rules : sequence of Rule
        What to watch.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        # Whether it is raised, since when the condition differs from that, and when it was raised last.
        self._book: dict[str, list[Any]] = {}

    def judge(self, measured: Mapping[str, tuple[float, int, str]], at_ms: int) -> list[Alert]:
        """Return what changes at ``at_ms``, given value, count and window (for people) of each metric.

        Examples
        --------
        >>> book = AlertBook(parse_rules("MAE > 2"))
        >>> [alert.state for value in (3, 3, 1, 1) for alert in book.judge({"MAE": (value, 100, "window")}, 0)]
        ['raised', 'cleared']
        """
        alerts = []
        for rule in self._rules:
            value, count, window = measured.get(rule.metric, (0.0, -1, ""))
            if count < max(rule.least, 0):
                continue
            entry = self._book.setdefault(rule.condition(), [False, None, None])
            raised, since, last = entry
            holds = bool(_SIGNS[rule.sign](value, rule.bound))
            if holds == raised:
                entry[1] = None
                continue
            since = entry[1] = at_ms if since is None else since
            if at_ms - since < rule.held_ms or (holds and last is not None and at_ms - last < _QUIET_MS):
                continue
            entry[:2] = [holds, None]
            if holds:
                entry[2] = at_ms
            told = f"is {value:.6g}" if holds else f"is {value:.6g} again"
            reason = f"{rule.metric} {told}, over {window}, and the rule is {rule.condition()}"
            if rule.held_ms:
                reason += f" for {rule.held_ms / 1000:g} s; it has been {'so' if holds else 'over'} for"
                reason += f" {(at_ms - since) / 1000:g} s"
            state = "raised" if holds else "cleared"
            alerts.append(Alert(rule.condition(), rule.severity, state, value, rule.bound, count, at_ms, reason + "."))
        return alerts

    def state(self) -> dict[str, list[Any]]:
        """Return the state as plain values."""
        return dict(sorted(self._book.items()))

    def load(self, state: dict[str, list[Any]]) -> None:
        """Take over what ``state`` gave, for the rules that there still are."""
        mine = {rule.condition() for rule in self._rules}
        self._book = {condition: list(entry) for condition, entry in state.items() if condition in mine}
