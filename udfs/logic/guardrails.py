"""Rules that a candidate must keep, such as ``LogLoss not worse than 0.01; latency_p99 < 50 ms; slice(carrier)``."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from thalweg.udfs.logic.sequential_tests import Interval

__all__ = ["Guardrail", "Verdict", "judge_interval", "parse_guardrails", "unknown_in_guardrails"]

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_RULE = re.compile(
    rf"(?P<metric>\w+(?:\.\d+)?)\s*(?P<sign>not\s+worse\s+than|<|>)\s*(?P<bound>-?{_NUMBER})\s*(?P<unit>%|ms|s)?",
    re.IGNORECASE,
)
_SLICE = re.compile(r"slice\s*\(\s*(?P<column>[^()]+?)\s*\)", re.IGNORECASE)
_LATENCY = re.compile(r"(?:latency|cost)_p(\d{1,2}(?:\.\d+)?)")


class Guardrail(NamedTuple):
    """One rule.

    Attributes
    ----------
    metric : str
        A loss, ``Reward``, ``failures``; ``latency_p50`` to ``latency_p99.9``, what an event waits for the model in the
        worker; ``cost_p50`` and so on, that time by the events that waited together; of a slice rule the column.
    sign : str
        ``<`` or ``>``: held against the bound; ``not worse``: against the default; ``slice``: what is held against the
        default holds for each value of the column too, and where nothing is, the metric that decides.
    bound : float
        Milliseconds for a latency or a cost, a share (0 to 1) for failures, else in the unit of the metric.
    """

    metric: str
    sign: str
    bound: float

    def told(self) -> str:
        """Return the rule as people write it.

        Examples
        --------
        >>> Guardrail("LogLoss", "not worse", 0.01).told()
        'LogLoss not worse than 0.01'
        """
        if self.sign == "slice":
            return f"slice({self.metric})"
        unit = " ms" if self.quantile() is not None else ""
        return f"{self.metric} {self.sign}{' than' if self.sign == 'not worse' else ''} {self.bound:g}{unit}"

    def quantile(self) -> float | None:
        """Return which quantile of the latency or the cost it is about, 0 to 1; None for another metric."""
        found = _LATENCY.fullmatch(self.metric)
        return float(found[1]) / 100 if found else None


class Verdict(NamedTuple):
    """What is known of a rule.

    Attributes
    ----------
    state : str
        ``kept``: the whole interval is within the bound; ``broken``: the whole interval is beyond; ``open``.
    value : float
        What was measured.
    told : str
        The rule and what it is about, for people.
    needed : bool
        Whether a promotion has to wait until it is kept. The rule for a slice is not, as a rare value would never let
        it: it only must not be broken.
    """

    state: str
    value: float
    told: str
    needed: bool = True


def parse_guardrails(text: str) -> tuple[Guardrail, ...]:
    """Read rules between ``;``; ``none`` is no rule.

    Raises
    ------
    ValueError
        Names all rules that cannot be read, and what a rule looks like.

    Examples
    --------
    >>> for rule in parse_guardrails("LogLoss not worse than 0.01; latency_p99 < 50 ms; slice(carrier)"):
    ...     print(rule.told())
    LogLoss not worse than 0.01
    latency_p99 < 50 ms
    slice(carrier)
    """
    if text.strip() == "none":
        return ()
    rules, wrong = [], []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        if (inside := _SLICE.fullmatch(part)) is not None:
            rules.append(Guardrail(inside["column"], "slice", 0.0))
            continue
        rule = _read(part)
        if isinstance(rule, str):
            wrong.append(f"'{part}' {rule}")
        else:
            rules.append(rule)
    if wrong:
        raise ValueError(
            f"{'; '.join(wrong)}. A rule is of the form 'LogLoss not worse than 0.01', 'latency_p99 < 50 ms',"
            " 'failures < 1 %' or 'slice(carrier)'."
        )
    if not rules:
        raise ValueError("has no rule; 'none' is for none.")
    if len(set(rules)) < len(rules):
        raise ValueError(f"'{text}' has the same rule twice.")
    return tuple(rules)


def _read(part: str) -> Guardrail | str:
    """Return a rule, or what is wrong with it."""
    found = _RULE.fullmatch(part)
    if found is None:
        return "cannot be read"
    unit = (found["unit"] or "").lower()
    bound = float(found["bound"]) * {"s": 1000.0, "%": 0.01}.get(unit, 1.0)
    rule = Guardrail(found["metric"], "not worse" if len(found["sign"]) > 1 else found["sign"], bound)
    quantile = rule.quantile()
    if not math.isfinite(bound):
        return "has no finite bound"
    if rule.metric.startswith(("latency", "cost")):
        if quantile is None or not 0 < quantile < 1:
            return "names no quantile such as latency_p99 or cost_p50"
        if unit not in ("ms", "s") or rule.sign != "<" or bound <= 0:
            return "needs '<' and a time above 0 in ms or s"
    elif unit in ("ms", "s"):
        return "has a time, and only a latency or a cost is one"
    elif rule.metric == "failures":
        if rule.sign != "<" or not 0 < bound < 1:
            return "needs '<' and a share between 0 and 100 %"
    elif unit:
        return "has a percent sign, and only failures are a share"
    elif rule.sign == "not worse" and bound < 0:
        return "has a margin below 0"
    return rule


def unknown_in_guardrails(rules: Sequence[Guardrail], metrics: Collection[str], columns: Collection[str]) -> list[str]:
    """Return the rules whose metric is not measured, or whose column is no slice.

    Examples
    --------
    >>> unknown_in_guardrails(parse_guardrails("MAE < 2; slice(city)"), ["LogLoss"], ["carrier"])
    ['MAE < 2', 'slice(city)']
    """
    unknown = []
    for rule in rules:
        if rule.sign == "slice":
            known = rule.metric in columns
        else:
            known = rule.metric in metrics or rule.metric == "failures" or rule.quantile() is not None
        if not known:
            unknown.append(rule.told())
    return unknown


def judge_interval(interval: Interval, lowest: float, told: str, needed: bool = True) -> Verdict:
    """Return the verdict on a figure, more is better, that is to be at least ``lowest``.

    Examples
    --------
    >>> judge_interval(Interval(-0.02, -0.03, -0.015, 9.0, 5000), -0.01, "LogLoss not worse than 0.01").state
    'broken'
    """
    state = "kept" if interval.lower >= lowest else "broken" if interval.upper < lowest else "open"
    return Verdict(state, interval.value, told, needed)
