"""MIDAS behind the engine protocol: rows and blocks, options, snapshots, what is refused."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.midas_engine import MidasEngine
from thalweg.udfs.logic.options import OPTIONS

VARIANTS = ("normal", "relational", "filtering")
T0 = 1_700_000_000_000
NAMES = ("ann", "bob", "köln", "\ud800", "")


def midas(kinds: tuple[str, str] = ("string", "string"), **options: str) -> EngineSpec:
    inputs = (Field("src", kinds[0]), Field("dst", kinds[1]), Field("ts", "integer"))
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in options.items()))
    return EngineSpec("midas", "anomaly", "midas", inputs, Field("score", "number"), named)


def edges_of(dice: random.Random, kinds: tuple[str, str], count: int) -> list[dict[str, Any]]:
    node = {"string": lambda: dice.choice(NAMES), "integer": lambda: dice.choice([-(1 << 63), -1, 0, 1, (1 << 63) - 1])}
    # Some are late, by up to three ticks.
    times = [T0 + 30_000 * at - dice.randrange(180_000) for at in range(count)]
    return [{"src": node[kinds[0]](), "dst": node[kinds[1]](), "ts": time} for time in times]


def columns_of(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in ("src", "dst", "ts")]


CASES = [
    (midas(kinds, variant=variant, **more), edges_of(random.Random(variant), kinds, 40))
    for variant in VARIANTS
    for kinds, more in (
        (("string", "string"), {}),
        (("integer", "integer"), {"decay": "per-tick", "num_columns": "7", "num_rows": "3"}),
        (("string", "integer"), {"quantile": "0.8", "tick": "10 s"}),
    )
]


@pytest.mark.parametrize(("spec", "rows"), CASES)
def test_midas_keeps_the_protocol(spec: EngineSpec, rows: list[dict[str, Any]]) -> None:
    check_learner(spec, [(row, None) for row in rows])


def test_midas_is_the_same_in_every_process() -> None:
    check_processes([(spec, [(row, None) for row in rows]) for spec, rows in CASES])


def test_options_of_midas_are_not_options_of_jobs() -> None:
    assert engine_class("midas") is MidasEngine
    assert not set(MidasEngine.OPTIONS) & set(OPTIONS)


specs = st.builds(
    lambda variant, kinds, more: midas(kinds, variant=variant, **more),
    st.sampled_from(VARIANTS),
    st.sampled_from([("string", "string"), ("integer", "string"), ("integer", "integer")]),
    st.sampled_from([{}, {"quantile": "0.5", "num_columns": "3"}, {"decay": "per-tick", "quantile": "0.9"}]),
)


@given(specs, st.randoms(use_true_random=False), st.lists(st.integers(1, 20), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_blocks_give_bit_for_bit_what_rows_give(spec: EngineSpec, dice: random.Random, sizes: list[int]) -> None:
    kinds = (spec.inputs[0].kind, spec.inputs[1].kind)
    rows, at = edges_of(dice, kinds, sum(sizes)), 0
    one, many = build(spec), build(spec)
    for size in sizes:
        block = columns_of(rows[at : at + size])
        if kinds == ("integer", "integer") and at % 2:
            block = [np.array(column) for column in block]  # type: ignore[misc]
        before = many.dump()
        asked, alone = many.score_many(block), one.score(rows[at : at + size])
        assert many.dump() == before
        found = many.step_many(block)
        for place in range(size):
            wanted = one.step(rows[at + place])
            label = None if found.flags is None else {-1: None, 0: "false", 1: "true"}[found.flags[place]]
            if at + place == 0:
                assert (wanted, found.scores[0]) == (NOT_READY, 0.0)
            else:
                assert (wanted.score, wanted.label, wanted.status) == (found.scores[place], label, "ok")
            if at:
                assert alone[place].score == asked.scores[place]
        at += size
    assert one.dump() == many.dump()
    assert many.learned == at
    assert many.version == str(at)


@given(specs, st.randoms(use_true_random=False), st.integers(0, 30), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_restored_it_goes_on_as_if_never_stopped(spec: EngineSpec, dice: random.Random, stop: int, more: int) -> None:
    rows = edges_of(dice, (spec.inputs[0].kind, spec.inputs[1].kind), stop + more)
    whole = build(spec)
    whole.step_many(columns_of(rows[:stop]))
    again = restore(spec, whole.dump())
    assert [whole.step(row) for row in rows[stop:]] == [again.step(row) for row in rows[stop:]]
    assert whole.dump() == again.dump()


def test_a_burst_is_told_from_the_usual() -> None:
    engine = build(midas(variant="relational", quantile="0.99", tick="1 min"))
    for minute in range(300):
        for user in range(4):
            engine.learn({"src": f"user {user}", "dst": "shop", "ts": T0 + 60_000 * minute + user})
    now = T0 + 60_000 * 300
    usual = engine.score([{"src": "user 1", "dst": "shop", "ts": now}])[0]
    burst = [engine.step({"src": "eve", "dst": "till", "ts": now + at}) for at in range(50)]
    assert usual.label == "false"
    assert {score.label for score in burst} == {"true"}
    assert burst[-1].score > burst[0].score > 100 * usual.score


def test_a_label_is_asked_for_by_quantile_and_comes_when_there_are_enough_scores() -> None:
    rows = edges_of(random.Random(4), ("string", "string"), 60)
    labels = [build(midas()).step(row).label for row in rows]
    assert set(labels) == {None}
    engine = build(midas(quantile="0.98"))
    labels = [engine.step(row).label for row in rows]
    assert set(labels[:50]) == {None}
    assert set(labels[50:]) <= {"true", "false"}


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("src", None, "'src' is NULL"),
        ("src", 5, "'src' should be a string"),
        ("dst", b"a", "'dst' should be a string"),
        ("ts", None, "'ts' is NULL"),
        ("ts", float("nan"), "'ts' is not finite"),
        ("ts", 1.5, "'ts' should be an integer"),
        ("ts", True, "'ts' should be an integer"),
        ("ts", "2024-01-01", "'ts' should be an integer"),
        ("ts", (1 << 52) + 1, "no time in epoch ms"),
        ("ts", -(1 << 63), "no time in epoch ms"),
        ("ts", 1 << 64, "'ts' should be an integer"),
    ],
)
def test_a_bad_row_is_refused_and_a_block_with_one_is_refused_whole(field: str, value: Any, part: str) -> None:
    engine = build(midas())
    rows = edges_of(random.Random(1), ("string", "string"), 5)
    engine.step_many(columns_of(rows))
    before, bad = engine.dump(), {**rows[3], field: value}
    for call in (
        lambda: engine.step(bad),
        lambda: engine.learn(bad),
        lambda: engine.step_many(columns_of([rows[0], bad, rows[1]])),
        lambda: engine.score_many(columns_of([rows[0], bad, rows[1]])),
    ):
        with pytest.raises(RecordError) as caught:
            call()
        assert part in str(caught.value)
    answers = engine.score([rows[0], bad, rows[1]])
    assert [answer.status for answer in answers] == ["ok", "refused", "ok"]
    assert part in answers[1].reason
    assert engine.dump() == before


def test_a_block_takes_what_a_row_takes() -> None:
    spec = midas(("integer", "string"))
    odd = [np.int32(3), Decimal(3), 3.0, 3]
    one, many, arrays = build(spec), build(spec), build(spec)
    for at, node in enumerate(odd):
        one.learn({"src": node, "dst": "a", "ts": T0 + at})
    many.step_many([odd, np.array(["a"] * 4), np.array([T0, T0 + 1, T0 + 2, T0 + 3], np.uint64)])
    arrays.step_many([np.full(4, 3, np.int16), np.array(["a"] * 4, object), np.arange(8)[::2] // 2 + T0])
    assert one.dump() == many.dump() == arrays.dump()
    assert many.step_many([[], [], []]).scores.tolist() == []
    for wrong in ([[1], ["a"]], [[1, 2], ["a"], [T0]], [np.array([1 << 63], np.uint64), ["a"], [T0]]):
        with pytest.raises(RecordError):
            many.step_many(wrong)


def test_equal_nodes_are_told_apart_by_role_and_direction() -> None:
    for kinds, (a, b) in ((("string", "string"), ("a", "b")), (("integer", "integer"), (1, 2))):
        engine = build(midas(kinds, variant="relational"))
        engine.step_many([[a] * 9, [b] * 9, [T0] * 9])
        now = T0 + 60_000
        there, back = engine.score_many([[a, b], [b, a], [now, now]]).scores
        assert there < back == 1.0, "the edge back has never been seen, nor its source as a source"


def test_the_seed_moves_collisions_and_nothing_else() -> None:
    rows = columns_of(edges_of(random.Random(1), ("string", "string"), 200))
    few = [build(midas(num_columns="2", seed=seed)).step_many(rows).scores.tolist() for seed in "1234"]
    many = [build(midas(num_columns="65536", seed=seed)).step_many(rows).scores.tolist() for seed in "1234"]
    assert len(set(map(tuple, few))) > 1
    assert len(set(map(tuple, many))) == 1


def test_everything_that_is_wrong_with_a_spec_is_said_at_once() -> None:
    inputs = (Field("a", "number"), Field("b", "boolean"), Field("t", "string"))
    params = {
        "decay": "never", "factor": "2", "num-columns": "0", "num-rows": "x", "quantile": "1", "rows": "2",
        "seed": "-1", "threshold": "nan", "tick": "soon", "variant": "best",
    }  # fmt: skip
    spec = EngineSpec("midas", "regression", "midas-f", inputs, Field("y", "string"), tuple(params.items()))
    with pytest.raises(ConfigError) as caught:
        build(spec)
    wheres = {problem.where for problem in caught.value.problems}
    assert wheres >= {f"option '{name}'" for name in params}
    assert wheres >= {"task 'regression'", "model 'midas-f'", "input 'a'", "input 'b'", "input 't'", "output 'y'"}
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"threshold": "5"}, "means nothing to the variant normal"),
        ({"variant": "relational", "threshold": "5"}, "means nothing to the variant relational"),
        ({"factor": "0.5"}, "means nothing to the variant normal"),
        ({"num_columns": "16777216", "num_rows": "9"}, "bytes"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, str], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        build(midas(**options))


def test_an_edge_has_three_columns() -> None:
    with pytest.raises(ConfigError, match="has 2 columns"):
        build(EngineSpec("midas", "anomaly", "midas", (Field("a", "string"),) * 2, Field("y", "number")))


def learned(spec: EngineSpec) -> Any:
    engine = build(spec)
    engine.step_many(columns_of(edges_of(random.Random(1), ("string", "string"), 50)))
    return engine


def test_threshold_and_quantile_may_change_over_a_restore() -> None:
    blob = learned(midas(variant="filtering", threshold="5", quantile="0.9")).dump()
    row = edges_of(random.Random(2), ("string", "string"), 1)
    again = restore(midas(variant="filtering", quantile="0.5"), blob)
    assert again.score(row)[0].label in ("true", "false")
    assert restore(midas(variant="filtering"), blob).score(row)[0].label is None
    plain = learned(midas(variant="filtering")).dump()
    assert restore(midas(variant="filtering", quantile="0.5"), plain).score(row)[0].label is None


@pytest.mark.parametrize(
    "other",
    [{"seed": "1"}, {"tick": "61 s"}, {"num_rows": "1"}, {"num_columns": "8"}, {"decay": "per-tick"},
     {"variant": "normal"}, {"factor": "0.6"}],
)  # fmt: skip
def test_another_models_snapshot_is_refused(other: dict[str, str]) -> None:
    blob = learned(midas(variant="relational")).dump()
    with pytest.raises(SnapshotError, match="another"):
        restore(midas(**{"variant": "relational", **other}), blob)


HEAD = struct.Struct(">BI8sQ?Q")


def forged(blob: bytes, at: int, value: float, size: int | None = None) -> bytes:
    """A snapshot with a checksum that fits, in which the number at byte ``at`` of the body is another."""
    protocol, _, digest, count, counted, length = HEAD.unpack_from(blob)
    body = bytearray(zlib.decompress(blob[HEAD.size :]))
    body[at : at + 8] = struct.pack("<d", value)
    rest = HEAD.pack(protocol, 0, digest, count, counted, length if size is None else size)[5:] + zlib.compress(body)
    return struct.pack(">BI", protocol, zlib.crc32(rest)) + rest


SALT_BYTES = 8 * (3 * 2 + 3)


@pytest.mark.parametrize(
    ("at", "value", "part"),
    [
        (SALT_BYTES, float("nan"), "clock"),
        (SALT_BYTES, 0.5, "clock"),
        (SALT_BYTES + 8, 0.0, "clock"),
        (SALT_BYTES + 8, 1e18, "clock"),
        (SALT_BYTES + 16, 1.0, "sketch"),
        (SALT_BYTES + 24, float("inf"), "clock"),
    ],
)
def test_numbers_that_cannot_be_are_refused(at: int, value: float, part: str) -> None:
    spec = midas(variant="filtering", num_columns="4")
    with pytest.raises(SnapshotError, match=part):
        restore(spec, forged(learned(spec).dump(), at, value))


@pytest.mark.parametrize(
    ("field", "value"),
    [(at, value) for at in range(4) for value in (float("nan"), float("inf"), -1.0, 1e150)]
    + [(2, 1e50), (3, 1e50), (3, 0.5)],
)
def test_cells_that_cannot_be_are_refused(field: int, value: float) -> None:
    # Sketches of one cell: the bytes of its numbers lie one after the other.
    spec = EngineSpec(*("midas", "anomaly", "midas"), midas().inputs, Field("y", "number"),
                      (("num-columns", "1"), ("num-rows", "1"), ("variant", "filtering")))  # fmt: skip
    engine = learned(spec)
    table = bytearray(zlib.decompress(engine.dump()[HEAD.size :])[8 * (3 + 3 + 4) :])
    cells = np.frombuffer(bytes(table), np.uint8).reshape(32, 3).T.copy().view("<f8")
    cells[1, field] = value
    planes = np.ascontiguousarray(cells.view(np.uint8).T).tobytes()
    blob = engine.dump()
    protocol, _, digest, count, counted, length = HEAD.unpack_from(blob)
    body = zlib.decompress(blob[HEAD.size :])[: 8 * (3 + 3 + 4)] + planes
    rest = HEAD.pack(protocol, 0, digest, count, counted, length)[5:] + zlib.compress(body)
    with pytest.raises(SnapshotError, match="sketch"):
        restore(spec, struct.pack(">BI", protocol, zlib.crc32(rest)) + rest)


def test_a_snapshot_that_unpacks_to_more_than_its_sketches_is_refused_before_it_does() -> None:
    spec = midas(num_columns="4")
    blob = learned(spec).dump()
    protocol, _, digest, count, counted, length = HEAD.unpack_from(blob)
    for body in (b"\0" * (1 << 26), zlib.decompress(blob[HEAD.size :])[:-1]):
        rest = HEAD.pack(protocol, 0, digest, count, counted, length)[5:] + zlib.compress(body)
        tracemalloc.start()
        with pytest.raises(SnapshotError, match="not as long"):
            restore(spec, struct.pack(">BI", protocol, zlib.crc32(rest)) + rest)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 22
    with pytest.raises(SnapshotError, match="not as long"):
        restore(spec, forged(blob, 0, 0.0, 1 << 60))


def test_memory_is_bounded_whatever_comes() -> None:
    spec = midas(variant="filtering")
    engine = build(spec)
    names = [f"node {at}" for at in range(200_000)]
    sizes = []
    for at in range(2):
        engine.step_many([names, names[::-1], [T0 + 1000 * at] * len(names)])
        sizes.append(len(engine.dump()))
    assert max(sizes) < 8 * 3 * 2 * 1024 * 4
