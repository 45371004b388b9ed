"""Anomalies in metrics behind the engine protocol: found as they come, without labels, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.metric_anomaly_feedback import fingerprint
from thalweg.udfs.engines.metric_anomaly_kernel import observe
from thalweg.udfs.engines.metric_anomaly_settings import DEFAULTS, MetricSettings, settings_of
from thalweg.udfs.engines.metric_anomaly_state import MetricState

__all__ = ["MetricAnomalyEngine"]

_new = tuple.__new__
_NOTABLE = 0.5  # no event below it is remembered for feedback; the least confidence is no lower


class MetricAnomalyEngine:
    """Scores a metric, or several together, by how new what they do is, and learns it.

    Parameters
    ----------
    spec : EngineSpec
        Task ``anomaly``; inputs: the event time in epoch ms (integer; may be left out), then one metric or more
        (numbers). Engine options:

        ``min-training-size`` (150): events before the first answer.
        ``confidence`` (0.99): the score from which an event is an anomaly, and the share of the errors of past
        forecasts that the bounds hold.
        ``seasonality``: ``auto`` (default), a day where there is an event time; ``none``; a duration such as ``7 d``;
        without an event time, a number of events.
        ``window`` (4000): events that a value is compared with.
        ``rest`` (150): events after an alarm in which evidence counts half; 0 for none.

    Attributes
    ----------
    learned : int
        How many events the model has learned; part of the dump.

    Notes
    -----
    *Score*, from 0 to 1: one minus a mean of p-values, itself no exact p-value. Five channels look at a metric: its
    value, the mean of its last 4, the spread of its last 24, the pattern of its last 12 such means (as in piecewise
    aggregate approximation: Keogh et al., 2001), and what is left of it without its season, where it has one. In each,
    how new a value is, is its distance to the nearest within ``window``, and the p-value of that is its rank among the
    distances before it (conformal anomaly detection: Laxhammar and Falkman, 2010; with nearest neighbours on streams:
    Burnaev and Ishimtsev, 2016). The geometric mean of the channels' p-values (Fisher's way to combine) is ranked in
    the same manner, so that an alarm has to be rare for the metric as a whole; the score takes the geometric mean of
    both. Ranks know no unit: nothing is to be scaled, flat lines score low, and a spike while training takes one rank.
    Several metrics share one more channel: the distance of the whole row to the nearest, each metric in units of the
    error of its forecast. The strangest metric decides.

    *Rest*. For ``rest`` events after an alarm the logarithm of the p-value counts half, so that one trouble is one
    alarm, as in the detectors CAD-OSE and KNN-CAD of the Numenta Anomaly Benchmark.

    *Feedback*. A label says whether an event was an anomaly. Where that contradicts the alarm, or its absence, the
    threshold moves half of the way to the event's evidence, for this key alone; the score does not change, and without
    labels nothing does. The 256 newest events that were alarms, or nearly, are remembered for it.

    *Parts* in ``probabilities``: ``actual_value``, ``forecast_value``, ``lower_bound`` and ``upper_bound`` of the
    strangest metric, and ``metric``, its number from 1. The forecast is a smoothed level, or season and level,
    whichever erred less of late; the bounds are a conformal interval around it.

    *Order*. Events are taken as they come; the time only tells where in the season they are, so a gap or a late event
    does no harm. A level that has shifted is new once, and known when its values have been seen. Rows that do not fit
    (NULL, NaN) are refused and leave no trace.

    *Memory*, for each key: 88 bytes for each event of ``window`` and each metric, and 8 more, 384 kB with the defaults
    and one metric; half of that in a snapshot, before compression. The cost of an event grows with ``window``, too:
    the pattern is compared with each one in it. With many keys give a smaller one.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> spec = EngineSpec("metric-anomaly", "anomaly", "metric-anomaly", (Field("load", "number"),),
    ...                   Field("score", "number"))
    >>> engine = MetricAnomalyEngine.build(spec)
    >>> for at in range(600):
    ...     engine.learn({"load": 50.0 + at * 7 % 10})
    >>> usual, spike = engine.score([{"load": 54.0}, {"load": 95.0}])
    >>> usual.label, spike.label, spike.probabilities["actual_value"]
    ('false', 'true', 95.0)
    """

    OPTIONS = tuple(DEFAULTS)

    def __init__(self, spec: EngineSpec, settings: MetricSettings, state: MetricState) -> None:
        self.spec = spec
        self._settings, self._state, self._gate = settings, state, settings.gate
        self._row, self._answer = np.zeros(settings.inputs), np.zeros(4)
        self._least = -math.log10(1.0 - settings.confidence)
        # Compiled here, or read from the cache, rather than in the first answer.
        self._observe(self._at(0), False)

    @classmethod
    def build(cls, spec: EngineSpec) -> MetricAnomalyEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        settings = settings_of(spec)
        return cls(spec, settings, MetricState(settings))

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> MetricAnomalyEngine:
        """Return the model that ``dump`` wrote; ``window``, ``seasonality`` and the inputs must be the same.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model than the spec's.
        """
        settings = settings_of(spec)
        return cls(spec, settings, MetricState.restore(settings, blob))

    @property
    def learned(self) -> int:
        """Events learned so far."""
        return self._state.learned

    @property
    def version(self) -> str:
        """Name of this state of the model: the number of events it has learned."""
        return str(self._state.learned)

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order, each as if it came next; a row that does not fit is refused."""
        answers = []
        for row in rows:
            try:
                phase = self._take(row)
            except RecordError as error:
                answers.append(Score(None, None, None, "refused", str(error)))
            else:
                answers.append(self._judge(phase, False))
        return answers

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn an event, in place; a label is not needed, and is taken as feedback.

        Raises
        ------
        RecordError
            The row or the label does not fit; the model is unchanged.
        """
        self.step(row, label)

    def feedback(self, row: Mapping[str, Value], label: Value) -> None:
        """Take what somebody says of an event that was learned before: ``label`` is whether it was an anomaly.

        Beyond the protocol: an engine that has it is given labels that come after their events by it, and learns each
        event when it comes, with or without a label.

        Raises
        ------
        RecordError
            The row does not fit, or the label is neither a boolean nor 0 or 1; the model is unchanged.
        """
        said = _verdict(label)
        self._state.feedback.judge(fingerprint(self._gate.values(row)), said, self._least)

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Score an event and learn it, in one pass; raises as ``learn``."""
        phase = self._take(row)
        said = None if label is None else _verdict(label)
        answer = self._judge(phase, True, row)
        if said is not None:
            self._state.feedback.judge(fingerprint(self._gate.values(row)), said, self._least)
        return answer

    def healthy(self) -> bool:
        """Return True: ranks cannot diverge."""
        return True

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state."""
        return self._state.dump()

    def _take(self, row: Mapping[str, Value]) -> int:
        """Put the metrics of a row in their place; return the bin of the season, -1 without one."""
        found = self._gate.values(row)
        if self._settings.timed:
            self._row[:] = found[1:]
            return self._at(found[0])
        self._row[:] = found
        return self._at(self._state.learned)

    def _at(self, time: int) -> int:
        settings = self._settings
        return time % settings.period * settings.bins // settings.period if settings.period else -1

    def _judge(self, phase: int, learn: bool, row: Mapping[str, Value] | None = None) -> Score:
        settings, state = self._settings, self._state
        ready = state.learned >= settings.least
        self._observe(phase, learn)
        evidence, which, forecast, width = self._answer.tolist()
        resting = state.alarm and state.learned - state.alarm < settings.rest
        evidence = evidence / 2 if resting else evidence
        # Logarithms are not the same to the last bit on every machine.
        score = _score(evidence)
        shift = state.feedback.shift
        alarm = score >= (_score(self._least + shift) if shift else settings.confidence)
        if learn:
            state.learned += 1
            if ready and alarm:
                state.alarm = state.learned
            if ready and row is not None and score >= _NOTABLE:
                state.feedback.note(fingerprint(self._gate.values(row)), round(evidence, 9), self._least)
        if not ready:
            return NOT_READY
        metric = int(which)
        parts = {
            "actual_value": self._row.item(metric),
            "forecast_value": forecast,
            "lower_bound": forecast - width,
            "upper_bound": forecast + width,
            "metric": which + 1.0,
        }
        return _new(Score, (score, "true" if alarm else "false", parts, "ok", ""))

    def _observe(self, phase: int, learn: bool) -> None:
        state = self._state
        observe(
            learn,
            state.learned,
            self._settings.confidence,
            phase,
            self._row,
            state.values,
            state.codes,
            state.recent,
            state.seasons,
            state.levels,
            self._answer,
        )


def _score(evidence: float) -> float:
    return round(1.0 - math.pow(10.0, -evidence), 9)


def _verdict(label: Value) -> bool:
    if isinstance(label, (bool, int, float)) and label in (0, 1):
        return bool(label)
    raise RecordError(f"a label says whether an event was an anomaly, as a boolean or as 0 or 1, and is {label!r:.40}")
