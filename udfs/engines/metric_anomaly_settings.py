"""The options of anomalies in metrics: read and checked, all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.choices import read_options, whole
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.engines.gate import Gate

__all__ = ["DEFAULTS", "MetricSettings", "settings_of"]

DEFAULTS = {
    "min-training-size": "150",
    "confidence": "0.99",
    "seasonality": "auto",
    "window": "4000",
    "rest": "150",
}
_DAY = 86_400_000
_BINS = 48  # of a day: half an hour each
_MOST_BINS = 7 * _BINS
_OUTPUTS = ("number", "boolean")
_MOST_INPUTS = 16


@dataclass(frozen=True)
class MetricSettings:
    """A checked spec.

    Attributes
    ----------
    least : int
        Events before the first answer.
    confidence : float
        Score from which an event is an anomaly, and share of past errors that the bounds hold.
    period, bins : int
        Of the season: ms where there is an event time, else events; 0, there is none.
    window : int
        Events that a value is compared with.
    rest : int
        Events after an alarm in which evidence counts half.
    timed : bool
        Whether the first input is the event time.
    inputs : int
        How many metrics there are.
    gate : Gate
        Checks a row.
    digest : bytes
        Eight bytes that stand for what a snapshot must agree with: inputs, ``window`` and ``seasonality``.
    """

    least: int
    confidence: float
    period: int
    bins: int
    window: int
    rest: int
    timed: bool
    inputs: int
    gate: Gate
    digest: bytes


@lru_cache(maxsize=256)
def settings_of(spec: EngineSpec) -> MetricSettings:
    """Check a spec.

    Raises
    ------
    ConfigError
        Everything that is wrong with it.
    """
    problems = spec.problems("metric-anomaly", tuple(DEFAULTS)) + _misdeclared(spec)
    timed = spec.inputs[:1] != () and spec.inputs[0].kind == "integer"
    readers: dict[str, Callable[[str], Any]] = {
        "min-training-size": whole(10, 1_000_000),
        "confidence": _share,
        "seasonality": lambda text: _season(text, timed),
        "window": whole(100, 50_000),
        "rest": whole(0, 10_000),
    }
    values = read_options(spec, readers, DEFAULTS, problems)
    if problems:
        raise ConfigError(problems)
    period = values["seasonality"]
    bins = min(_BINS * max(1, round(period / _DAY)), _MOST_BINS) if timed else min(period, _MOST_BINS)
    identity = [spec.inputs, period, values["window"]]
    return MetricSettings(
        least=values["min-training-size"],
        confidence=values["confidence"],
        period=period,
        bins=bins if period else 0,
        window=values["window"],
        rest=values["rest"],
        timed=timed,
        inputs=len(spec.inputs) - timed,
        gate=Gate(spec.inputs, skip_null=False),
        digest=hashlib.sha256(json.dumps(identity).encode("utf-8", "surrogatepass")).digest()[:8],
    )


def _misdeclared(spec: EngineSpec) -> list[Problem]:
    problems = []
    if spec.task != "anomaly":
        what, remedy = "metric-anomaly has no such task.", "Declare 'task' = 'anomaly'."
        problems.append(Problem(f"task '{spec.task}'", what, remedy))
    if spec.model not in ("", "metric-anomaly"):
        remedy = "Write 'model' = 'metric-anomaly'."
        problems.append(Problem(f"model '{spec.model[:80]}'", "is not a model of this engine.", remedy))
    remedy = "Declare INPUT (time BIGINT, value DOUBLE, ...), the time in epoch ms; it may be left out."
    metrics = spec.inputs[1:] if spec.inputs[:1] and spec.inputs[0].kind == "integer" else spec.inputs
    if not 1 <= len(metrics) <= _MOST_INPUTS:
        what = f"has {len(metrics)} metrics; from 1 to {_MOST_INPUTS} can be watched together."
        problems.append(Problem("INPUT", what, remedy))
    for name, kind in metrics:
        if kind != "number":
            problems.append(Problem(f"input '{name}'", f"is {kind}, which no metric can be.", remedy))
    if spec.output.kind not in _OUTPUTS:
        what = f"is {spec.output.kind}, which no score is."
        problems.append(Problem(f"output '{spec.output.name}'", what, "Declare OUTPUT (... DOUBLE) or BOOLEAN."))
    return problems


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number.") from None
    if not 0.5 <= value <= 0.9999:
        raise ValueError(f"'{text}' is not from 0.5 to 0.9999.")
    return value


def _season(text: str, timed: bool) -> int:
    """Return the period in ms, or in events where there is no time; 0 for none."""
    if text == "none":
        return 0
    if text == "auto":
        return _DAY if timed else 0
    if not timed:
        try:
            return whole(2, 100_000)(text)
        except ValueError:
            raise ValueError(f"'{text}' is neither auto, none, nor a number of events from 2 to 100,000.") from None
    try:
        period = parse_duration_ms(text)
    except ValueError:
        raise ValueError(f"'{text}' is neither auto, none, nor a duration such as '1 d' or '7 d'.") from None
    if not 1_000 <= period <= 366 * _DAY:
        raise ValueError(f"'{text}' is not from 1 s to 366 d.")
    return period
