"""Which alerts are told: one that comes again and again is told once in a while, and a storm is cut short."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["SEVERITIES", "AlertGate", "Verdict"]

SEVERITIES = ("info", "warning", "critical")
"""From the least to the most."""

_MINUTE_MS = 60_000
_REMEMBERED = 10_000  # alerts by model and name


class Verdict(NamedTuple):
    """What becomes of one alert.

    Attributes
    ----------
    told : bool
        Whether it is told.
    withheld : int
        How many of the same model and name have been withheld since the last one that was told.
    """

    told: bool
    withheld: int


class _Entry:
    __slots__ = ("raised_ms", "told", "waiting", "withheld")

    def __init__(self) -> None:
        self.raised_ms: int | None = None
        self.told = ""
        self.waiting: Mapping[str, Any] | None = None  # what was withheld, where it is not what was told last
        self.withheld = 0


class AlertGate:
    """Lets an alert of a model through once per interval; the end of one that was told is told as well.

    What was withheld and still holds when its time has come is told then (``due``): nobody takes for over what is not.

    Parameters
    ----------
    min_interval_ms : int
        Between two times that one alert of one model is told as raised.
    most_per_minute : int
        Of all alerts together.
    least_severity : str
        Alerts below it are passed over.
    models : collection of str
        The models to hear of; empty: all.
    """

    def __init__(
        self,
        min_interval_ms: int,
        most_per_minute: int,
        least_severity: str = "info",
        models: frozenset[str] = frozenset(),
    ) -> None:
        self._interval, self._most, self._models = min_interval_ms, most_per_minute, models
        self._least = SEVERITIES.index(least_severity)
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._newest: deque[int] = deque()
        self.withheld = 0

    def judge(self, alert: Mapping[str, Any], at_ms: int) -> Verdict | None:
        """Say what becomes of an alert that came at ``at_ms``; None where it is not asked for.

        Examples
        --------
        >>> gate = AlertGate(min_interval_ms=60_000, most_per_minute=10)
        >>> alert = {"model": "fraud", "alert": "drift", "severity": "warning", "state": "raised"}
        >>> [gate.judge(alert, at_ms).told for at_ms in (0, 1_000, 60_000)]
        [True, False, True]
        >>> gate.withheld
        1
        """
        if self._models and alert["model"] not in self._models:
            return None
        severity = alert["severity"]
        # A severity that is not known here may be a grave one.
        if severity in SEVERITIES and SEVERITIES.index(severity) < self._least:
            return None
        place = (alert["model"], alert["alert"])
        entry = self._entries.setdefault(place, _Entry())
        self._entries.move_to_end(place)
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)
        if self._again(entry, alert["state"], at_ms) or self._crowded(at_ms):
            entry.withheld += 1
            self.withheld += 1
            entry.waiting = None if alert["state"] == entry.told else alert
            return Verdict(False, entry.withheld)
        return self._tell(entry, alert["state"], at_ms)

    def due(self, now_ms: int) -> list[tuple[Mapping[str, Any], Verdict]]:
        """Return the alerts that were withheld, still hold, and may be told now."""
        found = []
        for entry in self._entries.values():
            alert = entry.waiting
            if alert is None or self._again(entry, alert["state"], now_ms) or self._crowded(now_ms):
                continue
            entry.withheld -= 1
            self.withheld -= 1
            found.append((alert, self._tell(entry, alert["state"], now_ms)))
        return found

    def _again(self, entry: _Entry, state: str, at_ms: int) -> bool:
        if state == "cleared":
            return entry.told == "cleared"
        return entry.raised_ms is not None and at_ms - entry.raised_ms < self._interval

    def _tell(self, entry: _Entry, state: str, at_ms: int) -> Verdict:
        self._newest.append(at_ms)
        if state != "cleared":
            entry.raised_ms = at_ms
        withheld, entry.withheld = entry.withheld, 0
        entry.told, entry.waiting = state, None
        return Verdict(True, withheld)

    def _crowded(self, at_ms: int) -> bool:
        while self._newest and self._newest[0] <= at_ms - _MINUTE_MS:
            self._newest.popleft()
        return len(self._newest) >= self._most
