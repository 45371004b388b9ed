"""Forecasting with River: the next values of a series, asked before its value at this event is known."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from typing import Any

from river import time_series, utils
from thalweg.connector.errors import Problem
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score
from thalweg.udfs.engines.river_task import UNFINISHED, Task

__all__ = ["MAX_HORIZON", "Forecasting", "read_horizon"]

MAX_HORIZON = 366
"""Steps."""


class Forecasting(Task):
    """The label is the value of the series at this event; the score is what was expected, before it is learned.

    ``probabilities`` of the Score holds the forecast of every step: ``"1"`` is this event's value, ``"2"`` that of the
    next event, up to the engine option ``horizon``.

    The inputs are what the model may know beside the past (River's exogenous features). An input with the name of the
    output is the series itself and is not shown to the model. The features of later events are not known yet, so every
    step of a forecast gets those of this event; leave out what changes from step to step (``compose.Discard``).
    """

    options = ("horizon",)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.aside = tuple(name for name, _ in spec.inputs if name == spec.output.name)
        self._horizon = read_horizon(spec) or 1

    def problems(self) -> list[Problem]:
        """Return what is wrong with the option ``horizon``."""
        if read_horizon(self.spec) is not None:
            return []
        given = self.spec.param("horizon", "1")
        what, remedy = f"'{given}' is not a number of steps.", f"Give a whole number from 1 to {MAX_HORIZON}."
        return [Problem("option 'horizon'", what, remedy)]

    def fit(self, model: Any) -> Problem | None:
        """Return why ``model`` is no forecaster, or None."""
        if isinstance(utils.inspect.extract_relevant(model), time_series.base.Forecaster):
            return None
        remedy = "End the pipeline with a forecaster, such as time_series.SNARIMAX(p=12, d=1, q=12)."
        return self.misfit(model, "a forecaster", remedy)

    def may_lack(self, lenient: bool) -> Collection[str]:
        """Return the features that a row may lack: the series itself always."""
        return {*super().may_lack(lenient), *self.aside}

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        """Teach the value of this event; by name, because a pipeline has the arguments the other way round."""
        last.learn_one(y=label, x=dict(x))  # River writes the lags into the features

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        """Return the forecast of all steps."""
        try:
            steps = last.forecast(horizon=self._horizon, xs=[dict(x) for _ in range(self._horizon)] if x else None)
        except IndexError:  # HoltWinters, before it has its first values
            return NOT_READY
        values = [float(value) for value in steps]
        if not all(map(isfinite, values)):
            return UNFINISHED
        return Score(values[0], None, {str(step): value for step, value in enumerate(values, 1)})

    def warm_up(self, last: Any) -> int:
        """Return how many values a forecaster needs for its first differences, trend and season."""
        found = utils.inspect.extract_relevant(last)
        if isinstance(found, time_series.SNARIMAX):
            return int(found.differencer.n_required_past_values) + 1
        return max(2, int(found.seasonality)) if isinstance(found, time_series.HoltWinters) else 1


def read_horizon(spec: EngineSpec) -> int | None:
    """Return the option ``horizon``, in steps; None where it is no number from 1 to MAX_HORIZON."""
    given = spec.param("horizon", "1")
    value = int(given) if given.isascii() and given.isdigit() and len(given) < 4 else 0
    return value if 1 <= value <= MAX_HORIZON else None
