"""Records of a live comparison for a report: a candidate that wins, one that is stopped, a name not to be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report_sample import BASE_MS, HOSTILE

HOUR = 3_600_000
ARMS = ("delay_v1", "delay_v2", HOSTILE)


def experiment_records(hours: int = 48, name: str = "delay") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (schema, record); decisions first."""
    shares = ((0, (70.0, 20.0, 10.0)), (12, (80.0, 20.0, 0.0)), (30, (0.0, 100.0, 0.0)))
    decided = (("start", 0, 0, ""), ("stop", 2, 12, "it broke <b>LogLoss</b>"), ("promote", 1, 30, "it is better"))
    for action, arm, hour, reason in decided:
        yield "decision", {
            "model": name, "decision": action, "arm": ARMS[arm], "previous": "", "decided_by": "thalweg",
            "shares": dict(zip(ARMS, dict(shares)[hour], strict=True)), "reason": reason or "it began",
            "evidence": "{}", "event_time_ms": BASE_MS + hour * HOUR,
        }  # fmt: skip
    for hour in range(1, hours):
        now = next(given for start, given in reversed(shares) if hour >= start)
        half = 0.3 / hour**0.5
        for at, arm in enumerate(ARMS):
            loss = (0.5, 0.45, 0.7)[at]
            values = {
                "LogLoss": loss, "LogLoss.lower": loss - half, "LogLoss.upper": loss + half, "share": now[at],
                "latency_p99": 3.0 + at, "latency_p50": 1.0, "cost_p99": 0.2, "served": 50.0 * hour * now[at] / 100,
                "default": float(at == (hour >= 30)), "failures": 0.0, "events": 100.0 * hour,
            }  # fmt: skip
            if at:
                gap = 0.5 - loss
                values |= {"difference": gap, "difference.lower": gap - half, "difference.upper": gap + half}
                values |= {"evidence": min(1.0, hour / 30) if at == 1 else 0.0, "agreement": 0.9}
            parts = [("", values), *([("carrier=<b>UA", {"difference": gap})] if at else [])]
            for part, figures in parts:
                for metric, value in figures.items():
                    yield "metric", {
                        "model": name, "model_version": arm, "metric": metric, "window": "cumulative", "value": value,
                        "count": 100 * hour, "window_start_ms": 0, "event_time_ms": BASE_MS + hour * HOUR,
                        "slice": part,
                    }  # fmt: skip
        yield "metric", {
            "model": name, "model_version": "", "metric": "outcomes", "window": "cumulative", "value": 100.0 * hour,
            "count": 100 * hour, "window_start_ms": 0, "event_time_ms": BASE_MS + hour * HOUR, "slice": "",
        }  # fmt: skip
