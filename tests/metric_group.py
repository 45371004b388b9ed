"""Flink's metrics as PyFlink gives them to a function, for tests: counters and gauges by name and labels."""

from __future__ import annotations

from collections.abc import Callable


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def inc(self, n: int = 1) -> None:
        self.count += n


class MetricGroup:
    """A group and those below it; a group is a label and its value."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], MetricGroup] = {}
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Callable[[], int]] = {}

    def add_group(self, name: str, value: str) -> MetricGroup:
        return self.groups.setdefault((name, value), MetricGroup())

    def counter(self, name: str) -> Counter:
        assert name not in self.gauges
        return self.counters.setdefault(name, Counter())

    def gauge(self, name: str, value: Callable[[], int]) -> None:
        assert name not in self.gauges, f"{name} is registered twice"
        assert name not in self.counters
        self.gauges[name] = value

    def read(self) -> dict[tuple[str, ...], int]:
        """Return all values, by name and the values of the labels."""
        found: dict[tuple[str, ...], int] = {(name,): counter.count for name, counter in self.counters.items()}
        found |= {(name,): value() for name, value in self.gauges.items()}
        for (_, value), group in self.groups.items():
            found |= {(name, value, *rest): number for (name, *rest), number in group.read().items()}
        assert all(type(number) is int for number in found.values()), "PyFlink carries whole numbers only"
        return found

    def labels(self) -> set[tuple[str, tuple[str, ...]]]:
        """Return the names that there are, with the names of their labels."""
        found: set[tuple[str, tuple[str, ...]]] = {(name, ()) for name in (*self.counters, *self.gauges)}
        for (label, _), group in self.groups.items():
            found |= {(name, (label, *rest)) for name, rest in group.labels()}
        return found
