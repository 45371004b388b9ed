"""Forecasts: of the value at this event and of the steps after it, before the value is learned."""

from __future__ import annotations

import math
from typing import Any

import pytest
from river import time_series
from thalweg.connector.errors import ConfigError, RecordError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field

SERIES = (Field("y", "number"),)
SNARIMAX = "time_series.SNARIMAX(p=2, d=1, q=1)"
VALUES = [10 + n / 3 + math.sin(n) for n in range(40)]


def forecaster(text: str = SNARIMAX, inputs: tuple[Field, ...] = SERIES, output: str = "number", **params: str) -> Any:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return build(EngineSpec("river", "forecasting", text, inputs, Field("y", output), named))


def test_an_input_with_the_name_of_the_output_is_never_shown() -> None:
    engine, plain = forecaster(horizon="4"), time_series.SNARIMAX(p=2, d=1, q=1)
    for n, value in enumerate(VALUES):
        given = {"y": value if n % 3 else None}  # the value of an event may come with its label alone
        (answer,) = engine.score([given])
        steps = plain.forecast(4)
        if n > 1:
            assert answer.score == steps[0]
            assert answer.probabilities == dict(zip("1234", steps, strict=True))
        else:
            assert answer.status == "not_ready"
        assert engine.step(given, value) == answer
        plain.learn_one(value)
        engine = restore(engine.spec, engine.dump())


def test_every_step_has_the_features_of_its_event() -> None:
    engine = forecaster("time_series.SNARIMAX(p=1, d=0, q=0)", (Field("promo", "boolean"),), horizon="3")
    plain = time_series.SNARIMAX(p=1, d=0, q=0)
    for n, value in enumerate(VALUES):
        answer = engine.step({"promo": n % 2 == 0}, value)
        steps = plain.forecast(3, [{"promo": n % 2 == 0} for _ in range(3)])
        assert n == 0 or list((answer.probabilities or {}).values()) == steps
        plain.learn_one(value, {"promo": n % 2 == 0})


def test_a_season_must_have_been_seen_once() -> None:
    engine = forecaster("time_series.HoltWinters(0.3, 0.1, 0.2, seasonality=7)")
    answers = [engine.step({"y": value}, value) for value in VALUES]
    assert [answer.status for answer in answers] == ["not_ready"] * 7 + ["ok"] * 33
    assert list(answers[-1].probabilities or {}) == ["1"]
    assert engine.learned == 40


def test_a_value_that_is_no_number_is_not_learned() -> None:
    engine = forecaster()
    for value in (None, math.nan, "1", True):
        with pytest.raises(RecordError, match="'y'"):
            engine.learn({"y": 1.0}, value)
    assert engine.learned == 0


@pytest.mark.parametrize("horizon", ["0", "-1", "1.5", "367", "many", ""])
def test_a_horizon_is_a_number_of_steps(horizon: str) -> None:
    with pytest.raises(ConfigError, match="from 1 to 366"):
        forecaster(horizon=horizon)


def test_what_is_no_forecaster_is_refused() -> None:
    with pytest.raises(ConfigError, match="LinearRegression is not a forecaster"):
        forecaster("linear_model.LinearRegression()")
    with pytest.raises(ConfigError, match="forecasting gives no boolean"):
        forecaster(output="boolean")
