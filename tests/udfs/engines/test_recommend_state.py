"""What a recommender remembers is bounded, and goes through bytes unchanged or not at all."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_clicks import GENRES, MINUTE, SMALL, T0, clicks, fed, reco, wild
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.recommend_memory import HISTORY
from thalweg.udfs.engines.sealed import seal

event = st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, 20)), st.integers(-2, 40), st.integers(0, 3))


@given(st.lists(event, min_size=1, max_size=60), st.data())
@settings(deadline=None, max_examples=40)
def test_a_recommender_restored_goes_on_as_if_never_stopped(events: list[Any], data: st.DataObject) -> None:
    """With so little room that items and users come and go."""
    spec = reco(GENRES, **SMALL, half_life="1 min")
    stop = data.draw(st.integers(0, len(events)))
    rows = [
        {
            "user": f"u{user}",
            "item": None if item is None else f"i{item}",
            "ms": T0 + minute * MINUTE,
            "genres": "ab|c"[:n],
        }
        for user, item, minute, n in events
    ]
    whole = fed(spec, rows[:stop])
    again: Any = restore(spec, whole.dump())
    for row in rows[stop:]:
        asked = whole.score([row])
        answer = whole.step(row)
        assert asked == [answer]
        assert again.step(row) == answer
    assert whole.dump() == again.dump()
    state = whole._state
    assert len(state.items) <= 12
    assert len(state.users) <= 4
    assert sorted(state.items.values()) == list(range(len(state.items)))
    t = state.tables
    assert t.clock[1] == pytest.approx(t.counts[:, 0].sum(), rel=1e-6, abs=1e-6)


def test_who_was_not_heard_of_for_longest_makes_room() -> None:
    rows = [{"user": f"u{n}", "item": f"i{n}", "ms": T0 + n} for n in range(12)]
    engine = fed(
        reco(**SMALL), [*rows, {"user": "u0", "item": "i0", "ms": T0 + 20}, {"user": "x", "item": "y", "ms": T0 + 30}]
    )
    assert "i1" not in engine._state.items
    assert {"i0", "y"} <= set(engine._state.items)
    assert list(engine._state.users) == ["u10", "u11", "u0", "x"]
    # What was forgotten is not known by the item that has its place.
    assert "i1" not in engine._state.names


def test_what_is_remembered_of_a_user_is_bounded() -> None:
    engine = fed(reco(max_items="4000"), [{"user": "u", "item": f"i{n}", "ms": T0 + n} for n in range(HISTORY + 10)])
    visitor = engine._state.users["u"]
    assert HISTORY // 2 < visitor.length <= HISTORY
    assert restore(engine.spec, engine.dump()).dump() == engine.dump()


def test_times_far_apart_do_no_harm() -> None:
    far = (1 << 52) - 1
    for times in ((T0, far, T0, far), (-far, far, -far, T0)):
        rows = [{"user": f"u{n % 2}", "item": f"i{n}", "ms": ms} for n, ms in enumerate(times)]
        engine = fed(reco(half_life="1 ms"), rows)
        assert np.isfinite(engine._state.tables.counts).all()
        answer = restore(engine.spec, engine.dump()).score([{"user": "x", "item": None, "ms": T0}])[0]
        assert answer.status == "ok"


def test_heavy_events_and_a_wild_rate_do_not_run_away() -> None:
    engine = fed(
        reco(GENRES, Field("w", "number"), weight="w", learning_rate="1", factors="4"),
        [{**row, "w": 1000.0, "genres": "a"} for row in wild(600)],
    )
    t = engine._state.tables
    assert max(np.abs(t.vectors).max(), np.abs(t.tastes).max(), np.abs(t.weights[0]).max()) <= 20
    assert restore(engine.spec, engine.dump()).dump() == engine.dump()


def test_snapshots_of_another_recommender_are_refused() -> None:
    engine = fed(reco(), clicks(9))
    for other in (reco(factors="8"), reco(half_life="1 d"), reco(GENRES), reco(max_items="20")):
        with pytest.raises(SnapshotError, match="to begin anew"):
            restore(other, engine.dump())
    # What only shapes the answer may change.
    assert len(restore(reco(top_k="3"), engine.dump()).score([clicks(1)[0]])[0].probabilities or {}) == 3


@pytest.mark.parametrize("seed", range(30))
def test_bytes_made_up_under_a_good_seal_are_refused_or_harmless(seed: int) -> None:
    engine = fed(reco(GENRES, **SMALL), wild(60))
    content = memoryview(engine.dump())[13:]
    head = struct.Struct(">QQIIIqQ")
    body = bytearray(zlib.decompress(bytes(content[head.size :])))
    dice = random.Random(seed)
    for _ in range(3):
        at = dice.randrange(len(body))
        body[at] = dice.randrange(256)
    blob = seal(engine._settings.digest, bytes(content[: head.size]) + zlib.compress(bytes(body), 1))
    try:
        again: Any = restore(engine.spec, blob)
    except SnapshotError:
        return
    for row in wild(40, seed=9):
        answer = again.step(row)
        assert answer.status != "ok" or np.isfinite(answer.score)
