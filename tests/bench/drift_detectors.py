"""The drift detectors of River, each fed as it has to be, beside the default and one that looks at nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.bench.drift_streams import Stream

__all__ = ["DETECTORS", "MOST", "Found", "watch"]

_COOL_DOWN = 1000
_DUMMY_EVERY = 2000
MOST = {"KSWIN": 15_000}
"""Of how many events at most a detector is shown a stream, and of one seed only: it takes half a millisecond each."""


class Found(NamedTuple):
    """Where a detector fired, counted in events, and the seconds that it took."""

    alarms: list[int]
    seconds: float


def _standardised(values: Any) -> Any:
    """Return each value less the mean of those before it, over their deviation."""
    count = np.arange(1, len(values) + 1)
    mean = np.concatenate(([0.0], (np.cumsum(values) / count)[:-1]))
    square = np.concatenate(([1.0], (np.cumsum(values * values) / count)[:-1]))
    return (values - mean) / np.sqrt(np.maximum(square - mean * mean, 1e-6))


def _rivers(name: str, values: list[Any]) -> list[int]:
    from river import drift

    options: dict[str, Any] = {"KSWIN": {"seed": 1}, "PageHinkley": {"mode": "up"}}.get(name, {})
    detector = getattr(drift if hasattr(drift, name) else drift.binary, name)(**options)
    alarms: list[int] = []
    newest = whole = 0.0
    for at, value in enumerate(values, 1):
        newest += (value - newest) * max(1 / 128, 1 / at)
        whole += (value - whole) / min(at, 5000)
        detector.update(value)
        if detector.drift_detected and newest > whole:
            alarms.append(at)
    return alarms


def _default(values: list[float]) -> list[int]:
    from thalweg.udfs.logic.error_watch import ErrorWatch

    return [at + 1 for at in ErrorWatch().add_all(values)]


def _dummy(values: list[float]) -> list[int]:
    return list(range(_DUMMY_EVERY, len(values) + 1, _DUMMY_EVERY))


DETECTORS: dict[str, tuple[Callable[[Stream], list[Any]], Callable[[list[Any]], list[int]]]] = {
    "default": (lambda s: s.wrong.astype(float).tolist(), _default),
    "ADWIN": (lambda s: s.wrong.astype(float).tolist(), lambda v: _rivers("ADWIN", v)),
    "ADWIN_miss": (lambda s: s.miss.tolist(), lambda v: _rivers("ADWIN", v)),
    **{
        name: (lambda s: s.wrong.tolist(), lambda v, name=name: _rivers(name, v))  # type: ignore[misc]
        for name in ("DDM", "EDDM", "HDDM_A", "HDDM_W", "FHDDM")
    },
    "PageHinkley": (lambda s: _standardised(s.miss).tolist(), lambda v: _rivers("PageHinkley", v)),
    "KSWIN": (lambda s: s.miss[: MOST["KSWIN"]].tolist(), lambda v: _rivers("KSWIN", v)),
    f"every_{_DUMMY_EVERY}": (lambda s: s.wrong.tolist(), _dummy),
}
"""By name: what a detector is shown of a stream, and after how many of these values it fires."""


def watch(name: str, stream: Stream) -> Found:
    """Return where a detector fires, none within 1,000 events after another; the dummy whenever it likes."""
    shown, fires = DETECTORS[name]
    values = shown(stream)
    began = time.perf_counter()
    alarms: list[int] = []
    for at in fires(values):
        if not alarms or at - alarms[-1] >= _COOL_DOWN:
            alarms.append(at)
    return Found(alarms, time.perf_counter() - began)
