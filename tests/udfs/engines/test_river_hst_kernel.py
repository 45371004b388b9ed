"""HalfSpaceTrees as arrays against River's own: scores, the model read back, bytes, old and hostile snapshots."""

from __future__ import annotations

import math
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import anomaly
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_hst_kernel import HalfSpaceKernel
from thalweg.udfs.engines.safe_pickle import dumps

_ARGUMENTS = "n_trees={n}, height={height}, window_size={window}, seed={seed}, limits={limits}"


def _spec(arguments: str = "n_trees=3, height=4, window_size=20, seed=7", **params: str) -> EngineSpec:
    fields = (Field("b", "number"), Field("a", "number"), Field("flag", "boolean"))
    text = f"anomaly.HalfSpaceTrees({arguments})"
    return EngineSpec("river", "anomaly", text, fields, Field("y", "number"), tuple(sorted(params.items())))


def _rows(n: int, seed: int = 3) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [{"b": dice.random() * 2 - 0.5, "a": dice.gauss(0.5, 0.2), "flag": dice.random() < 0.5} for _ in range(n)]


_values = st.one_of(st.floats(-2, 3), st.sampled_from([0.0, -0.0, 1e149, 5e-324]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"b": _values, "a": _values, "flag": st.booleans()}), min_size=40, max_size=70),
    st.integers(1, 4), st.integers(1, 5), st.integers(3, 20), st.integers(0, 9),
    st.sampled_from([{}, {"a": (-1.0, 2.0)}, {"b": (0.0, 10.0), "a": (0.5, 0.75)}]), st.integers(0, 69),
)  # fmt: skip
def test_half_space_trees_score_as_in_rivers_loop_also_after_a_restore(
    rows: list[dict[str, Any]], n: int, height: int, window: int, seed: int, limits: dict[str, Any], stop: int
) -> None:
    spec = _spec(_ARGUMENTS.format(n=n, height=height, window=window, seed=seed, limits=limits or None))
    model = anomaly.HalfSpaceTrees(n, height, window, limits or None, seed)
    engine: Any = RiverEngine.build(spec)
    assert isinstance(engine._kernel, HalfSpaceKernel)
    for at, row in enumerate(rows):
        found = engine.step(row)
        assert found.score == (model.score_one(row) if at >= window else None)
        model.learn_one(row)
        if at == stop:
            engine = RiverEngine.restore(spec, engine.dump())
    assert dumps(engine.model) == dumps(model)


def test_half_space_trees_without_a_seed_have_that_of_the_option() -> None:
    spec = _spec("n_trees=2, height=3, window_size=5", seed="9")
    engine, model = RiverEngine.build(spec), anomaly.HalfSpaceTrees(2, 3, 5, seed=9)
    for row in _rows(30):
        engine.learn(row)
        model.learn_one(row)
    assert engine.score(_rows(1, 5))[0].score == model.score_one(_rows(1, 5)[0])


@pytest.mark.parametrize("learned", [0, 1, 20, 73])
def test_half_space_trees_written_as_river_has_them_go_on_as_arrays(learned: int) -> None:
    spec, model = _spec(), anomaly.HalfSpaceTrees(3, 4, 20, seed=7)
    engine = RiverEngine.build(spec)
    for row in _rows(learned):
        engine.learn(row)
        model.learn_one(row)
    seen = tuple(name for name in ("b", "a", "flag") if learned)
    rest = engine.dump()[5:13] + struct.pack(">BQ", 0, learned) + dumps([seen, model])
    old = struct.pack(">BI", 1, zlib.crc32(rest)) + rest
    assert RiverEngine.restore(spec, old).dump() == engine.dump()


def test_half_space_trees_behind_a_scaler_stay_with_river() -> None:
    text = f"preprocessing.MinMaxScaler() | {_spec().model}"
    assert RiverEngine.build(EngineSpec("river", "anomaly", text, _spec().inputs, _spec().output))._kernel is None


def test_half_space_trees_may_get_a_threshold_later() -> None:
    engine, model = RiverEngine.build(_spec()), anomaly.HalfSpaceTrees(3, 4, 20, seed=7)
    for row in _rows(50):
        engine.learn(row)
        model.learn_one(row)
    scores = [model.score_one(row) for row in _rows(9, 5)]
    later = RiverEngine.restore(_spec(threshold=repr(scores[4])), engine.dump())
    assert [score.label for score in engine.score(_rows(9, 5))] == [None] * 9
    assert [(a.score, a.label) for a in later.score(_rows(9, 5))] == [
        (score, "true" if score >= scores[4] else "false") for score in scores
    ]


def test_half_space_trees_that_split_elsewhere_keep_their_own_splits() -> None:
    kernel: Any = RiverEngine.build(_spec())._kernel
    for row in _rows(50):
        kernel.learn(tuple(row.values()), None)
    state = bytearray(kernel.pack())
    at = 10 + 4 * 45  # the first threshold
    state[at : at + 8] = struct.pack("<d", 0.123)
    other = kernel.fresh()
    other.unpack(bytes(state))
    assert other.pack() == bytes(state)
    assert kernel.fresh()._splits is None


@pytest.mark.parametrize(
    ("at", "bytes_"),
    [
        (0, struct.pack("<q", 20)),
        (0, struct.pack("<q", -1)),
        (9, b"\0"),
        (10, struct.pack("<i", 3)),
        (10, struct.pack("<i", -1)),
        (10 + 4 * 45, struct.pack("<d", math.nan)),
        (10 + 12 * 45, struct.pack("<I", 21)),
    ],
)
def test_half_space_state_that_cannot_be_is_refused(at: int, bytes_: bytes) -> None:
    engine = RiverEngine.build(_spec())
    for row in _rows(50):
        engine.learn(row)
    blob = engine.dump()
    state = bytearray(blob[22:])
    state[at : at + len(bytes_)] = bytes_
    rest = blob[5:22] + bytes(state)
    with pytest.raises(SnapshotError, match="damaged"):
        RiverEngine.restore(_spec(), struct.pack(">BI", 1, zlib.crc32(rest)) + rest)
