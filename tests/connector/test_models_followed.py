"""A published model that follows an experiment: each decision once, none from before, people in between."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_models import in_memory
from thalweg.connector.errors import ConfigError
from thalweg.connector.modelstate import Pointer, pointer_of
from thalweg.connector.snapshot import Snapshot

STEPS = st.lists(st.one_of(st.integers(0, 11), st.sampled_from(["people 1", "people 3", "rollback"])), max_size=30)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12), STEPS)
def test_a_decision_counts_once_and_only_after_the_one_before(
    decided: list[tuple[int, int]], steps: list[object]
) -> None:
    """Decisions come in any order and again and again; whoever was the last to say something new is obeyed."""
    topic, store = in_memory()
    store.refused = ()  # no signatures are asked for
    for number in (1, 2, 3):
        topic.publish("delay", b"%d" % number, file="m.onnx")
    serving, newest, back = 3, (-1, ""), [2, 1]
    for step in steps:
        if isinstance(step, int):
            at_ms, version = decided[step % len(decided)]
            name = f"delay@{at_ms} promote v{version}"
            sent, new = len(store.sent), (at_ms, name) != newest and at_ms >= newest[0]
            assert topic.follow("delay", version, at_ms, name, "ana", "because") is new
            assert len(store.sent) == sent + new
            if new:
                newest = (at_ms, name)
                back = back if version == serving else [n for n in (serving, *back) if n != version]
                serving = version
                state = topic.models()["delay"]
                assert (state.by, state.reason) == ("ana", "because")
        elif step == "rollback" and back:
            topic.rollback("delay")
            serving, back = back[0], back[1:]
            assert topic.models()["delay"].by == ""
        elif isinstance(step, str) and step != "rollback":
            version = int(step[-1])
            topic.promote("delay", version)
            back = back if version == serving else [n for n in (serving, *back) if n != version]
            serving = version
        state = topic.models()["delay"]
        assert (state.serving, list(state.previous)) == (serving, back)


def test_a_version_that_is_not_there_is_told_and_nothing_is_sent() -> None:
    topic, store = in_memory()
    store.refused = ()  # no signatures are asked for
    topic.publish("delay", b"1", file="m.onnx")
    sent = len(store.sent)
    with pytest.raises(ConfigError, match="version 2"):
        topic.follow("delay", 2, 5, "delay@5 promote v2", "thalweg", "")
    assert len(store.sent) == sent
    assert topic.follow("delay", 1, 5, "delay@5 promote v1", "thalweg", "it won") is True


@pytest.mark.parametrize("followed", ["x", [1], ["x", 1], [1, 2], {}, [True, "x"]])
def test_a_pointer_with_a_broken_note_is_none(followed: object) -> None:
    spec = json.dumps({"serving": 1, "followed": followed})
    with pytest.raises(ValueError, match="no time with a name"):
        pointer_of("delay", Snapshot("delay", "", "serving", spec, 1, 0, b""))


def test_a_pointer_of_before_has_followed_nothing() -> None:
    found = pointer_of("delay", Snapshot("delay", "", "serving", '{"serving": 1}', 1, 0, b""))
    assert found == Pointer(1, (), 1, None, 1)
    assert not found.has_followed(0, "delay@0 promote v1")
