"""Streams for the tests of live comparison: events that several models answer, and their outcomes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, OUTCOME, Comparison

Row = tuple[Any, ...]
STEP_MS = 10


def order(row: Row) -> tuple[Any, ...]:
    return (row[5], row[0], row[4], row[2], row[1])


def stream(
    count: int,
    noise: Sequence[float],
    seed: int = 0,
    first: int = 0,
    delay_ms: int = 35,
    units: int = 1000,
    lift: Sequence[float] = (),
    failing: Sequence[float] = (),
) -> list[Row]:
    """Rows in order; the noisier an arm, the larger its loss; ``lift`` is the chance of a reward for each arm."""
    pick = np.random.default_rng(seed)
    arms = len(noise)
    rows: list[Row] = []
    for n in range(first, first + count):
        centre = pick.normal()
        truth = bool(pick.random() < 1 / (1 + np.exp(-centre)))
        chance = 1 / (1 + np.exp(-(centre + np.array(noise) * pick.normal(size=arms))))
        event, unit, at = f"e{n}", f"u{pick.integers(units)}", n * STEP_MS
        slices = '["UA"]' if n % 3 else '["AA"]'
        rewards = pick.random(arms) < np.array(lift or [0.5] * arms)
        down = pick.random(arms) < np.array(failing or [0.0] * arms)
        for arm in range(arms):
            score = None if down[arm] else float(chance[arm])
            label = None if score is None else str(score > 0.5).lower()
            status = "not_ready" if score is None else "ok"
            latency = float(pick.exponential(5.0))
            given = (arm, event, unit, at)
            rows.append((ANSWER, *given, at, score, label, None, None, status, slices, latency, None, None))
            reward = [float(r) for r in rewards]
            told = (at + delay_ms, score, label, None, str(truth).lower(), None, slices, None, reward, None)
            rows.append((OUTCOME, *given, *told))
    return sorted(rows, key=order)


def command(name: str, at_ms: int, argument: str = "", by: str = "ann") -> Row:
    detail = f'{{"argument": "{argument}", "issued_by": "{by}", "reason": "because"}}'
    return (COMMAND, 0, "", None, at_ms, at_ms, None, name, detail, None, None, None, None, None, None)


class Run:
    """A machine that is fed, with all that came of it.

    The reward of an event is that of the arm that served it, so an outcome has to come in a later block than its
    answer: a window is to be shorter than the delay of the outcomes.
    """

    def __init__(self, machine: Comparison, window_ms: int | None = None) -> None:
        self.machine, self._window_ms = machine, window_ms
        self.decisions: list[Any] = []
        self.metrics: list[Any] = []
        self.alerts: list[Any] = []
        self.served: list[tuple[str, str, int, int, int, float]] = []  # event, unit, ms, arm, assigned, propensity
        self._who: dict[str, int] = {}

    def feed(self, rows: list[Row], cuts: Sequence[int] = (), restart: bool = False, clock: bool = False) -> Run:
        rows = sorted(rows, key=order)
        # A block holds whole events, as a watermark releases them.
        starts = [0, *(n for n in range(1, len(rows)) if rows[n][5] != rows[n - 1][5]), len(rows)]
        edges = {0, len(rows), *(starts[cut % len(starts)] for cut in cuts)}
        if self._window_ms is not None:
            window = self._window_ms
            edges |= {n for n in starts[1:-1] if rows[n][5] // window != rows[n - 1][5] // window}
        for start, stop in pairwise(sorted(edges)):
            self._block(rows[start:stop])
            if clock and stop < len(rows):
                self._take(self.machine.on_time(rows[stop][5]))
            if restart:
                self.machine = pickle.loads(pickle.dumps(self.machine))
        while (wake := self.machine.wake_at()) is not None:
            self._take(self.machine.on_time(wake))
        return self

    def _block(self, rows: list[Row]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        columns[13] = [
            given[self._who.get(event, 0)] if isinstance(given, list) else given
            for given, event in zip(columns[13], columns[2], strict=True)
        ]
        out = self.machine.on_rows(columns)
        self._take(out)
        for row, arm, assigned, propensity in zip(*out.served, strict=True):
            self._who[columns[2][row]] = assigned
            self.served.append((columns[2][row], columns[3][row], columns[4][row], arm, assigned, propensity))

    def _take(self, out: Any) -> None:
        self.decisions += out.decisions
        self.metrics += out.metrics
        self.alerts += out.alerts

    def actions(self) -> list[str]:
        return [decision.action for decision in self.decisions]

    def last(self, arm: str, metric: str) -> Any:
        return [figure for figure in self.metrics if (figure.arm, figure.metric, figure.slice) == (arm, metric, "")][-1]
