"""River's own loop over its bundled data sets, written out for every task: the engine's answers are the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from river import anomaly, base, proba
from river_data import ARMS
from river_streams import STREAMS, Stream
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.safe_pickle import dumps

Answer = tuple[Any, Any, Any]
COLD: Answer = (None, None, None)
every_stream = pytest.mark.parametrize("stream", STREAMS, ids=[stream.name[:70] for stream in STREAMS])

# Classifiers and regressors are held to the protocol in test_checks.py.
UNLIKE_THE_OTHERS = [s for s in STREAMS if s.task not in ("classification", "regression") or "words" in s.name]


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


@every_stream
def test_answers_are_those_of_rivers_own_loop_to_the_last_bit(stream: Stream) -> None:
    spec, plain = stream.spec(), stream.model()
    whole, parts = build(spec), build(spec)
    answers = 0
    for at, (expected, (row, label)) in enumerate(zip(rivers_loop(stream, plain), stream.examples(), strict=True)):
        if at % 97 == 60:
            parts = restore(spec, parts.dump())
        (scored,), answer = parts.score([row]), whole.step(row, label)
        parts.learn(row, label)
        assert scored == answer, at
        if at < stream.cold or expected == COLD:
            assert answer.status == "not_ready", at
        else:
            assert (answer.status, bits(answer)) == ("ok", bits(expected)), at
            answers += 1
    assert answers > 100
    assert parts.dump() == whole.dump()
    assert whole.learned == at + 1
    if stream.same_state:
        assert dumps(whole.model) == dumps(plain)


@pytest.mark.parametrize("stream", UNLIKE_THE_OTHERS, ids=[stream.name[:70] for stream in UNLIKE_THE_OTHERS])
def test_streams_of_every_task_keep_the_protocol(stream: Stream) -> None:
    examples = list(stream.examples())[: max(30, stream.cold + 12)]
    check_learner(stream.spec(), examples)


@every_stream
def test_the_text_stands_for_the_model(stream: Stream) -> None:
    assert dumps(parse(stream.text).construct(0)) == dumps(stream.model())


def test_classes_that_appear_later_join_the_answers() -> None:
    for stream in STREAMS:
        if stream.examples.__name__ != "segments_arriving":
            continue
        engine: Any = build(stream.spec())
        known: list[str] = []
        for row, label in stream.examples():
            answer = engine.step(row, label)
            assert set(answer.probabilities or ()) <= set(known)
            known += [label] if label not in known else []
        assert len(known) == 7
        assert set(engine.score([row])[0].probabilities) == set(known)


def test_the_table_covers_every_task_and_a_dozen_models() -> None:
    assert {stream.task for stream in STREAMS} == {
        "classification", "regression", "anomaly", "clustering", "forecasting", "recommendation", "bandit",
    }  # fmt: skip
    assert len({stream.name for stream in STREAMS}) == len(STREAMS) > 24
    assert all(isinstance(stream.model(), base.Base) for stream in STREAMS)


def test_answers_and_state_do_not_depend_on_the_process() -> None:
    check_processes([(s.spec(), list(islice(s.examples(), 40))) for s in UNLIKE_THE_OTHERS])
