"""Records of two models for a report: one that gets better, one with a name that no page should trust."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

HOSTILE = "<script>alert(1)</script>\"'&\x00</style></title>"
BASE_MS = 1_700_000_000_000


def sample_records(hours: int = 72) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (schema, record); labels last."""
    dice = random.Random(7)
    labels = []
    for model in ("fraud", HOSTILE):
        for hour in range(hours):
            at_ms = BASE_MS + hour * 3_600_000
            quality = 0.85 - 0.3 * math.exp(-hour / 12) - (0.15 if 40 <= hour < 50 else 0.0)
            figures = {
                ("ROCAUC", "rolling"): quality, ("ROCAUC", "fading"): quality + 0.01, ("ROCAUC", "cumulative"): 0.8,
                ("LogLoss", "rolling"): 1 - quality, ("baseline.prior.LogLoss", "rolling"): 0.6,
                ("estimated-LogLoss", "rolling"): 1.02 - quality, ("label-coverage", "rolling"): 0.97,
                ("labels_matched", "cumulative"): 100.0 * hour, ("label-delay-ms.p50", "cumulative"): 5e6,
                ("label-delay-ms.p95", "cumulative"): 9e6, ("ROCAUC", "reference"): quality - 0.05,
                ("ROCAUC", "reservoir"): quality, ("forgetting.ROCAUC", "reference"): 0.02,
                ("psi(amount)", "rolling"): 0.05 + (0.3 if 40 <= hour < 50 else 0.0),
            }  # fmt: skip
            slices = [("ROCAUC", f"carrier={name}", quality - at / 20) for at, name in enumerate(("UA", "AA", "<b>DL"))]
            slices.append(("worst.LogLoss", "carrier=<b>DL", 0.4))
            version = "1" if hour < 30 else "2</title>"
            fixed = {
                "model": model,
                "model_version": version,
                "count": 500,
                "window_start_ms": at_ms,
                "event_time_ms": at_ms,
            }
            for (metric, window), value in figures.items():
                yield "metric", {**fixed, "metric": metric, "window": window, "value": value, "slice": ""}
            for metric, part, value in slices:
                yield "metric", {**fixed, "metric": metric, "window": "rolling", "value": value, "slice": part}
            for number in range(8):
                event, score = f"{model[:5]}{hour}-{number}", round(dice.random(), 6)
                status = "not_ready" if hour == 0 else "ok"
                yield "prediction", {
                    "model": model, "model_version": version, "event_id": event, "key": "", "event_time_ms": at_ms,
                    "score": None if hour == 0 else score, "label": None if hour == 0 else str(score > 0.5).lower(),
                    "probabilities": None, "status": status, "reason": "", "learned": hour,
                }  # fmt: skip
                came_ms = at_ms + int(math.exp(dice.gauss(14, 1)))
                truth = str(dice.random() < score).lower()
                labels.append({"event_id": event, "label_time_ms": came_ms, "label": truth})
        for hour, state in ((42, "raised"), (52, "cleared")):
            yield "alert", {
                "model": model, "alert": "drift > 0", "severity": "critical", "state": state, "value": 0.7,
                "threshold": 0.75, "count": 500, "event_time_ms": BASE_MS + hour * 3_600_000,
                "reason": f"It is <i>low</i>. {HOSTILE}",
            }  # fmt: skip
        yield "decision", {
            "model": model, "decision": "reset", "arm": model, "previous": "", "shares": {}, "decided_by": "thalweg",
            "reason": f"It begins <i>anew</i>. {HOSTILE}", "evidence": '{"key":""}',
            "event_time_ms": BASE_MS + 42 * 3_600_000,
        }  # fmt: skip
    yield from (("label", label) for label in labels)
