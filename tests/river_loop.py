"""River's own loop, written out for every task: predict, then learn, as River's guide does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from river import anomaly, proba
from river_data import ARMS
from river_streams import Stream

__all__ = ["COLD", "Answer", "bits", "rivers_loop"]

Answer = tuple[Any, Any, Any]
COLD: Answer = (None, None, None)


def rivers_loop(stream: Stream, model: Any) -> Iterator[Answer]:
    """Predict, then learn, as River's guide does it; score, label and probabilities of every row."""
    loop = {
        "classification": classify, "regression": regress, "anomaly": detect, "clustering": assign,
        "forecasting": forecast, "recommendation": rate, "bandit": play,
    }[stream.task]  # fmt: skip
    for x, y in stream.examples():
        yield from loop(stream, model, dict(x), y)


def classify(stream: Stream, model: Any, x: dict[str, Any], y: Any) -> Iterator[Answer]:
    odds, best = model.predict_proba_one(x), model.predict_one(x)
    if best is None:
        yield COLD
    elif stream.output.kind == "boolean":
        yield odds.get(True, 0.0), str(best).lower(), None
    else:
        yield odds[best], best, odds
    model.learn_one(x, y)


def regress(stream: Stream, model: Any, x: dict[str, Any], y: Any) -> Iterator[Answer]:
    yield model.predict_one(x), None, None
    model.learn_one(x, y)


def detect(stream: Stream, model: Any, x: dict[str, Any], y: Any) -> Iterator[Answer]:
    last = model._last_step if hasattr(model, "steps") else model
    given = (x,)
    if isinstance(last, anomaly.base.SupervisedAnomalyDetector):
        (_, watched), *context = x.items()
        given = (dict(context), watched)
    score = model.score_one(*given)
    if isinstance(last, anomaly.base.AnomalyFilter):
        yield score, str(last.classify(score)).lower(), None
    elif "threshold" in stream.params:
        yield score, str(score >= float(stream.params["threshold"])).lower(), None
    else:
        yield score, None, None
    model.learn_one(*given)


def assign(stream: Stream, model: Any, x: dict[str, Any], y: Any) -> Iterator[Answer]:
    try:
        number = model.predict_one(x)
    except (AttributeError, KeyError, ValueError):  # no clusters yet
        yield COLD
    else:
        yield COLD if number is None else (float(number), str(number), None)
    model.learn_one(x)


def forecast(stream: Stream, model: Any, x: dict[str, Any], y: float) -> Iterator[Answer]:
    horizon = int(stream.params.get("horizon", "1"))
    x.pop(stream.output.name, None)
    try:
        steps = model.forecast(horizon) if "month" in x else model.forecast(horizon, [dict(x) for _ in range(horizon)])
    except IndexError:  # no values yet
        yield COLD
    else:
        yield steps[0], None, {str(step + 1): value for step, value in enumerate(steps)}
    if hasattr(model, "steps"):
        model.learn_one(dict(x), y)
    else:
        model.learn_one(y, dict(x))


def rate(stream: Stream, model: Any, x: dict[str, Any], y: float) -> Iterator[Answer]:
    user, item, *_ = x.values()
    context = {"time": x["time"]}
    yield model.predict_one(user, item, context), None, None
    model.learn_one(user, item, y, context)


def play(stream: Stream, model: Any, x: dict[str, Any], y: float) -> Iterator[Answer]:
    """The arm of the policy is noted; what is learned is the arm that was shown."""
    shown, policy = x.pop("arm"), model
    context: tuple[Any, ...] = ()
    if hasattr(model, "steps"):
        scaler, policy = model.steps.values()
        context = (scaler.transform_one(x),)
    arm = policy.pull(list(ARMS), *context)
    if context:
        expected = policy._bayes_lin_regs[arm].predict_one(*context)
        scaler.learn_one(x)
        context = (scaler.transform_one(x),)
    else:
        reward = policy._rewards.get(arm, policy.reward_obj)
        is_beta = isinstance(reward, proba.Beta)
        expected = reward.alpha / (reward.alpha + reward.beta) if is_beta else reward.get()
    yield expected, arm, None
    policy.update(shown, *context, y)


def bits(answer: Any) -> str:
    """The answer with every bit of its numbers."""
    score, label, shares = answer[:3]
    named = None if shares is None else {name: float(share).hex() for name, share in shares.items()}
    return repr((None if score is None else float(score).hex(), label, named))
