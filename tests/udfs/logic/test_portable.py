"""Portable models: the form, what is refused, the bounds of the cache, and that scoring never raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.portable import MAGIC, ModelCache, pack_model, pack_parts, read_model, score_rows, unpack_model

TEXT = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
SPEC = EngineSpec("river", "classification", TEXT, (Field("a", "number"), Field("b", "number")), Field("y", "boolean"))


def trained(rows: int = 20) -> Any:
    engine: Any = build(SPEC)
    for n in range(rows):
        engine.learn({"a": n / 7, "b": float(n % 3)}, n % 2 == 0)
    return engine


def with_head(**changes: Any) -> bytes:
    data = pack_model(trained())
    length = int.from_bytes(data[4:8], "big")
    head = {**json.loads(data[8 : 8 + length]), **changes}
    text = json.dumps({name: value for name, value in head.items() if value is not ...}).encode()
    return MAGIC + len(text).to_bytes(4, "big") + text + data[8 + length :]


def with_spec(**changes: Any) -> bytes:
    return with_head(spec=json.dumps({**json.loads(SPEC.to_json()), **changes}))


def test_a_portable_model_comes_back_as_it_was() -> None:
    engine = trained()
    data = pack_model(engine, 3)
    found, skipped = read_model(data)
    assert (found.learned, skipped, found.spec) == (20, 3, SPEC)
    assert pack_model(found, 3) == data
    rows = [{"a": 0.5, "b": 1.0}, {"a": None, "b": 1.0}]
    assert found.score(rows) == engine.score(rows)


def test_the_columns_of_a_snapshot_make_a_portable_model() -> None:
    engine = trained()
    assert unpack_model(pack_parts(SPEC.to_json(), engine.dump())).dump() == engine.dump()
    with pytest.raises(SnapshotError, match="spec"):
        pack_parts("{}", engine.dump())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "do not begin with TWM1"),
        (b"TWM1", "ends too early"),
        (b"TWM1\xff\xff\xff\xff", "ends too early"),
        (b"TWM1\0\0\0\2[]", "not a JSON object"),
        (b"TWM1\0\0\0\2{]", "not JSON"),
        (MAGIC + (200_000).to_bytes(4, "big") + b"[" * 200_000, "not JSON"),
        (with_head(kind="onnx"), "contradicts itself"),
        (with_head(learned=19), "disagree"),
        (with_head(learned="20"), "contradicts itself"),
        (with_head(learned=True), "contradicts itself"),
        (with_head(skipped=-1), "contradicts itself"),
        (with_head(skipped=...), "contradicts itself"),
        (with_head(spec=None), "spec"),
        (with_head(spec="[" * 100_000), "spec"),
        (with_spec(inputs=[["a", ["number"]], ["b", "number"]]), "spec"),
        (with_spec(model="__import__('os').system('true')"), "does not hold"),
        (with_spec(model=TEXT + " "), "learned with another model text"),
        (with_spec(inputs=[["a", "number"]]), "learned with another model text"),
        (with_spec(task="regression"), "does not hold"),
    ],
)
def test_a_portable_model_that_is_not_sound_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(SnapshotError, match=says):
        unpack_model(data)


def test_an_engine_that_does_not_learn_is_refused_unopened() -> None:
    spec = EngineSpec("onnx", "regression", "/etc/passwd", (Field("a", "number"),), Field("y", "number"))
    with pytest.raises(SnapshotError, match="does not learn"):
        unpack_model(pack_parts(spec.to_json(), b""))


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
@example(at=0, value=0, cut=10_000)
def test_damaged_portable_bytes_raise_nothing_but_snapshot_errors(at: int, value: int, cut: int) -> None:
    data = bytearray(pack_model(trained()))
    data[at % len(data)] = value
    try:
        found = unpack_model(bytes(data[:cut]))
    except SnapshotError:
        return
    assert found.score([{"a": 1.0, "b": 1.0}])


def test_the_model_cache_is_bounded_by_count_and_bytes_and_restores_once() -> None:
    models = [pack_model(trained(n)) for n in range(1, 6)]
    cache = ModelCache(count=3)
    first = cache.get(models[0])
    assert cache.get(bytes(bytearray(models[0]))) is first
    for data in models[1:3]:
        cache.get(data)
    assert cache.get(models[0]) is first  # used again, so the second is now the oldest
    cache.get(models[3])
    assert len(cache) == 3
    assert cache.get(models[0]) is first
    assert cache.size == sum(map(len, (models[0], models[2], models[3])))
    small = ModelCache(size=len(models[0]) * 2 + 8)
    for data in models:
        small.get(data)
    assert len(small) == 2
    tiny = ModelCache(size=1)
    tiny.get(models[0])
    assert (len(tiny), tiny.size) == (1, len(models[0]))
    tiny.get(models[1])
    assert (len(tiny), tiny.size) == (1, len(models[1]))


def test_a_model_that_cannot_be_restored_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.udfs.logic import portable

    tries: list[bytes] = []

    def refuse(data: bytes) -> Any:
        tries.append(data)
        raise SnapshotError("the snapshot is damaged.")

    monkeypatch.setattr(portable, "read_model", refuse)
    cache = ModelCache()
    for _ in range(3):
        with pytest.raises(SnapshotError, match="damaged"):
            cache.get(b"no model")
    assert tries == [b"no model"]


def test_scoring_by_position_answers_every_row_and_never_raises() -> None:
    data, other = pack_model(trained()), pack_model(trained(7))
    models = [data, data, None, b"junk", other, data, other]
    rows: list[Any] = [(1, 2), (None, 2.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (1.0, "x"), (0.5, 0.5)]
    answers = score_rows(models, rows, ModelCache())
    assert [a.score.status for a in answers] == ["ok", "refused", "not_ready", "refused", "ok", "refused", "ok"]
    assert [a.learned for a in answers] == [20, 20, None, None, 7, 20, 7]
    assert answers[0].score == trained().score([{"a": 1.0, "b": 2.0}])[0]
    assert answers[6].score == trained(7).score([{"a": 0.5, "b": 0.5}])[0]
    (few,) = score_rows([data], [(1.0,)], ModelCache())
    assert few.score.reason == "the model takes 2 features (a, b), and was given 1"
    assert score_rows([data], [()], ModelCache())[0].score.status == "refused"
    assert score_rows([], []) == []
