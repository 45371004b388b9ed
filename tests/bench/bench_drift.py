"""Detection delay and false alarms of the drift detectors, on streams whose drifts are known.

Every detector is fed as it has to be: errors and not hits, standardised where its thresholds have a unit, rises alone,
with 1,000 events between two alarms. An alarm where nothing drifts is false; so is one before the first drift of a
stream, where a model that still learns may become worse for a while. ``default`` is what ``on-drift`` and the metric
``drift`` use. ``every_2000`` fires every 2,000 events whatever comes: a score that it can reach says nothing.

``abrupt_max_delay`` is the default's longest delay over all abrupt drifts; one that is not found within the 10,000
events after it counts as that many. ``false_alarms_per_100k`` is the default's as well.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.drift_detectors import DETECTORS, MOST, watch
from tests.bench.drift_streams import streams

_NOT_FOUND = 10_000


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the table of all detectors; ``rows`` is how long a stream without a drift is (100,000)."""
    delays: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in DETECTORS}
    alarms, still = dict.fromkeys(DETECTORS, 0), dict.fromkeys(DETECTORS, 0)
    seconds, shown = dict.fromkeys(DETECTORS, 0.0), dict.fromkeys(DETECTORS, 0)
    for stream in streams((rows or 100_000) / 100_000):
        for name in DETECTORS:
            if name in MOST and not (stream.name.endswith(".0") and stream.kind in ("abrupt", "none")):
                continue
            count = min(len(stream.miss), MOST.get(name, len(stream.miss)))
            found = watch(name, stream)
            first = stream.drifts[0] if stream.drifts else count
            alarms[name] += sum(at <= first for at in found.alarms)
            still[name] += first
            seconds[name] += found.seconds
            shown[name] += count
            for begin in stream.drifts:
                if begin < count:
                    delays[name][stream.kind].append(_delay(found.alarms, begin))
        told = ", ".join(map(str, watch("default", stream).alarms))
        print(f"{stream.name} {stream.kind}: {told or 'no alarm'}", file=sys.stderr, flush=True)
    table = {
        name: {
            "false_alarms_per_100k": round(1e5 * alarms[name] / still[name], 2),
            **{
                figure: value
                for kind, found in delays[name].items()
                for figure, value in (
                    (f"{kind}_max_delay", max(found)),
                    (f"{kind}_median_delay", int(np.median(found))),
                    (f"{kind}_found", round(float(np.mean([delay < _NOT_FOUND for delay in found])), 3)),
                )
            },
            "us_per_event": round(1e6 * seconds[name] / shown[name], 2),
        }
        for name in DETECTORS
    }
    return {
        "benchmark": "drift",
        "still_events": still["default"],
        "abrupt_drifts": len(delays["default"]["abrupt"]),
        "abrupt_max_delay": table["default"]["abrupt_max_delay"],
        "false_alarms_per_100k": table["default"]["false_alarms_per_100k"],
        "detectors": table,
    }


def _delay(alarms: list[int], begin: int) -> int:
    return min((at - begin for at in alarms if begin < at < begin + _NOT_FOUND), default=_NOT_FOUND)
