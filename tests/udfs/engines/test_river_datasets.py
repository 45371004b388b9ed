"""River's own loop over its bundled data sets, written out for every task: the engine's answers are the same bits."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from river import base
from river_loop import COLD, bits, rivers_loop
from river_streams import STREAMS, Stream
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.safe_pickle import dumps

every_stream = pytest.mark.parametrize("stream", STREAMS, ids=[stream.name[:70] for stream in STREAMS])

# Classifiers and regressors are held to the protocol in test_checks.py.
UNLIKE_THE_OTHERS = [s for s in STREAMS if s.task not in ("classification", "regression") or "words" in s.name]


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
