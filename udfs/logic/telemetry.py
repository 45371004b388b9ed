"""What a running job counts about its models: the names, what they mean, and the figures behind them.

Names without a prefix are those of Flink's own ``PredictFunction`` and of Flink ML. PyFlink carries whole numbers only,
and its distributions reach no reporter of numbers, so latency is told as gauges in microseconds.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

__all__ = ["METRICS", "Latency", "Metric", "prometheus_name", "version_number"]

_PREFIX = "flink_taskmanager_job_task_operator_"
_BLOCKS = 128
_EXACT = 1 << 53  # Prometheus has doubles


class Metric(NamedTuple):
    """One metric.

    Attributes
    ----------
    kind : str
        ``counter``, since the start of the task; ``gauge``, as of now.
    labels : tuple of str
        Besides Flink's own: ``model``, and of rolling figures ``metric``.
    meaning : str
        One sentence with the unit.
    """

    kind: str
    labels: tuple[str, ...]
    meaning: str


_MODEL = ("model",)
METRICS: dict[str, Metric] = {
    "inference_requests": Metric("counter", _MODEL, "Rows that were to be answered."),
    "inference_requests_success": Metric("counter", _MODEL, "Rows that were answered."),
    "inference_requests_failure": Metric("counter", _MODEL, "Rows that the model refused."),
    "inference_latency": Metric("gauge", _MODEL, "Microseconds that half of the newest rows spent in the operator."),
    "inference_latency_p99": Metric("gauge", _MODEL, "The same for 99 of 100."),
    "modelDataVersion": Metric(
        "gauge",
        _MODEL,
        "Version that answers: of a model that learns, the examples behind the newest answers; of a published one, its"
        " number; of a file, a number made of its hash.",
    ),
    "thalweg_not_ready": Metric("counter", _MODEL, "Rows without an answer, for the model had not learned enough."),
    "thalweg_learned": Metric("counter", _MODEL, "Labelled rows that were taken to learn from."),
    "thalweg_refused": Metric("counter", _MODEL, "Labelled rows that could not be learned: the dead letters."),
    "thalweg_late": Metric("counter", _MODEL, "Events behind the watermark: answered, and not learned."),
    "thalweg_shadow_skipped": Metric("counter", _MODEL, "Events that a shadow over its budget did not answer."),
    "thalweg_shadow_unlearned": Metric("counter", _MODEL, "Labels that it did not learn, far over its budget."),
    "thalweg_shadow_failures": Metric("counter", _MODEL, "Blocks of events at which a shadow failed."),
    "thalweg_models": Metric("gauge", _MODEL, "Models in state, of the shards that have had rows since the start."),
    "thalweg_state_bytes": Metric("gauge", _MODEL, "Bytes of these models, from the size of the published ones."),
    "thalweg_snapshots": Metric("counter", _MODEL, "Models that were published."),
    "thalweg_snapshot_bytes": Metric("counter", _MODEL, "Bytes of them."),
    "thalweg_snapshots_refused": Metric("counter", _MODEL, "Keys whose snapshot no trusted key has signed."),
    "thalweg_alerts_raised": Metric("counter", _MODEL, "Alerts that were raised."),
    "thalweg_alerts_cleared": Metric("counter", _MODEL, "Alerts that were cleared."),
    "thalweg_labels_matched": Metric("gauge", _MODEL, "Labels that came in time, since the job's first start."),
    "thalweg_labels_duplicate": Metric("gauge", _MODEL, "Second labels of one event."),
    "thalweg_labels_unknown": Metric("gauge", _MODEL, "Labels of no event so far."),
    "thalweg_labels_late": Metric("gauge", _MODEL, "Labels after the timeout."),
    "thalweg_labels_expired": Metric("gauge", _MODEL, "Events that got no label in time."),
    "thalweg_labels_defaulted": Metric("gauge", _MODEL, "Events that got the default label."),
    "thalweg_labels_corrected": Metric("gauge", _MODEL, "Labels that came after the default."),
    "thalweg_labels_pending": Metric("gauge", _MODEL, "Events that wait for their label."),
    "thalweg_rolling_millionths": Metric(
        "gauge", ("model", "metric"), "Each rolling metric, in millionths, as of the last emission."
    ),
    "thalweg_rows_without_answer": Metric("counter", (), "Rows that a SQL function did not answer."),
    "thalweg_models_refused": Metric("counter", (), "Versions of published models that were not let serve."),
    "thalweg_unseen_categories": Metric("counter", (), "Texts that a model's encoders do not know."),
    "thalweg_records_malformed": Metric("counter", (), "Kafka records that could not be decoded."),
}
"""All metrics by name."""


def prometheus_name(name: str) -> str:
    """Return the name under which Flink's Prometheus reporter shows a metric of an operator.

    Examples
    --------
    >>> prometheus_name("inference_requests")
    'flink_taskmanager_job_task_operator_model_inference_requests'
    """
    return _PREFIX + "".join(f"{label}_" for label in METRICS[name].labels) + name


def version_number(version: str) -> int:
    """Return a version as a number: itself, or one that changes with the text.

    Examples
    --------
    >>> version_number("12")
    12
    >>> version_number("b5bb9d8014a0") == version_number("b5bb9d8014a1")
    False
    """
    if version.isascii() and version.isdecimal() and len(version) < 20 and int(version) < _EXACT:
        return int(version)
    return int(hashlib.sha256(version.encode("utf-8", "surrogatepass")).hexdigest()[:13], 16)


class Latency:
    """How long the newest 128 blocks took; each row of a block waits for the whole of it."""

    def __init__(self) -> None:
        self._taken = np.zeros((2, _BLOCKS), dtype=np.int64)
        self._blocks = 0
        self._sorted: tuple[Any, Any] | None = None

    def add(self, nanoseconds: int, rows: int) -> None:
        """Note one block."""
        self._taken[:, self._blocks % _BLOCKS] = nanoseconds, rows
        self._blocks += 1
        self._sorted = None

    def quantile(self, share: float) -> int:
        """Return what ``share`` of the rows had at most, in whole microseconds; 0 before the first row.

        Examples
        --------
        >>> latency = Latency()
        >>> for milliseconds, rows in ((1, 90), (20, 10)):
        ...     latency.add(milliseconds * 1_000_000, rows)
        >>> latency.quantile(0.5), latency.quantile(0.99)
        (1000, 20000)
        """
        if self._sorted is None:
            taken, rows = self._taken[:, : self._blocks]
            order = np.argsort(taken)
            self._sorted = taken[order], np.cumsum(rows[order])
        taken, reached = self._sorted
        if not len(reached) or not reached[-1]:
            return 0
        return int(taken[int(np.searchsorted(reached, share * reached[-1]))] // 1000)
