"""The operators without a JVM: fake state, the real classes, held to a plain River loop."""

from __future__ import annotations

import itertools
import pickle
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyflink.datastream.functions import RuntimeContext
from scenario import KEYS, MODEL, WITH_COLOUR, Loop, make_stream
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.flink.operators import ANSWER_TYPES, EXTRA_TYPES, LearningOperator, learning_type
from thalweg.udfs.logic.arm_guard import ArmRole
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.learning import LearningLogic, learning_kinds
from thalweg.udfs.logic.packing import pack_columns

HEAD = {"input-table": "events", "event-id": "id", "label-table": "labels", "label": "y", "provider": "river"}


def declaration(text: str, **options: str) -> Declaration:
    inputs = [("a", "DOUBLE"), ("b", "DOUBLE"), ("c", "DOUBLE"), *([("colour", "STRING")] if text != MODEL else [])]
    given_options = {**HEAD, "model": text, **{name.replace("_", "-"): value for name, value in options.items()}}
    return declare("delay", inputs, [("y", "BOOLEAN")], given_options, ("min-samples", "on-null", "seed"), True)


class Flink:
    """State, time and timers of one subtask, as an operator sees them; state goes through bytes, as in Flink."""

    def __init__(self, operator: Any, cached: bool = True, image: bytes | None = None) -> None:
        self.operator, self.key, self.watermark = operator, 0, -(1 << 63)
        self.states: dict[str, dict[Any, Any]] = defaultdict(dict)
        self.timers: set[int] = set()
        if image is not None:
            states, timers, self.watermark = pickle.loads(image)
            self.states.update(states)
            self.timers = set(timers)
        self.cached, self.metrics = cached, None
        operator.open(self)

    def image(self) -> bytes:
        """What a checkpoint holds."""
        kept = {name: dict(sorted(table.items())) for name, table in sorted(self.states.items()) if table}
        return pickle.dumps((kept, sorted(self.timers), self.watermark))

    def take(self, step: bytes | int) -> list[Any]:
        return self.element(step) if isinstance(step, bytes) else self.advance(max(step, self.watermark))

    def _bytes(self, value: Any) -> Any:
        return value if self.cached else pickle.loads(pickle.dumps(value))

    def get_map_state(self, descriptor: Any) -> Any:
        flink, table = self, self.states[descriptor.get_name()]

        class MapState:
            def get(self, key: Any) -> Any:
                return flink._bytes(table.get(key))

            def put(self, key: Any, value: Any) -> None:
                table[key] = flink._bytes(value)

            def items(self) -> Any:
                return list(table.items())

            def keys(self) -> Any:
                return list(table)

            def remove(self, key: Any) -> None:
                table.pop(key, None)

        return MapState()

    def get_state(self, descriptor: Any) -> Any:
        flink, table = self, self.states[descriptor.get_name()]

        class ValueState:
            def value(self) -> Any:
                return flink._bytes(table.get(flink.key))

            def update(self, value: Any) -> None:
                table[flink.key] = flink._bytes(value)

        return ValueState()

    def get_list_state(self, descriptor: Any) -> Any:
        table = self.states[descriptor.get_name()]

        class ListState:
            def get(self) -> Any:
                return list(table.get("rows", []))

            def add(self, value: Any) -> None:
                table.setdefault("rows", []).append(value)

            def clear(self) -> None:
                table.clear()

        return ListState()

    def timer_service(self) -> Flink:
        return self

    def get_metrics_group(self) -> Any:
        return self.metrics

    def get_current_key(self) -> int:
        return self.key

    def current_watermark(self) -> int:
        return self.watermark

    def register_event_time_timer(self, ms: int) -> None:
        self.timers.add(ms)

    def element(self, block: bytes) -> list[Any]:
        return list(self.operator.process_element([block], self))

    def advance(self, watermark: int) -> list[Any]:
        self.watermark = watermark
        out: list[Any] = []
        while due := sorted(ms for ms in self.timers if ms <= watermark):
            self.timers.discard(due[0])
            out += self.operator.on_timer(due[0], self)
        return out


def run(loop: Loop, d: Declaration, seed: int, block: int, flink: Flink) -> tuple[list[Any], list[Any]]:
    """Feed the loop's rows in shuffled blocks behind a watermark; return answers and all other records."""
    names = [field.name for field in d.spec.inputs]
    rows = [(*row[:6], *(getattr(row[6], name) for name in names)) for row in loop.rows]
    pick, emitted = random.Random(seed), []
    for start in range(0, len(rows), block):
        chunk = rows[start : start + block]
        pick.shuffle(chunk)
        cut = pick.randrange(len(chunk) + 1)
        for part in filter(None, (chunk[:cut], chunk[cut:])):
            columns = list(zip(learning_kinds(d.spec), map(list, zip(*part, strict=True)), strict=True))
            emitted += flink.element(pack_columns(columns, len(part)))
        following = rows[start + block : start + block + 1]
        emitted += flink.advance(following[0][4] - 1 if following else (1 << 63) - 1)
    answers = [
        dict(zip(ANSWER_TYPES, values, strict=True))
        for row in emitted
        for values in zip(*list(row)[: len(ANSWER_TYPES)], strict=True)
    ]
    others = [row for row in emitted if any(value is not None for value in list(row)[len(ANSWER_TYPES) :])]
    return answers, others


@pytest.mark.parametrize(("text", "key"), [(MODEL, "k"), (WITH_COLOUR, None)])
def test_equals_a_plain_river_loop(text: str, key: str | None) -> None:
    loop = Loop(*make_stream(3000), text, key is not None)
    d = declaration(text, **({"key": key} if key else {}))
    flink = Flink(LearningOperator(d, True))
    answers, others = run(loop, d, 1, 200, flink)
    got = [(a["event_id"], (a["key"], a["score"], a["learned"], a["status"])) for a in answers]
    assert got == [(event, tuple(answer)) for event, answer in loop.answers]
    assert {name: cell.engine(d.spec).learned for name, cell in flink.states["models"].items()} == loop.learned
    assert len(loop.learned) == (KEYS if key else 1)
    assert any(row[len(ANSWER_TYPES)] is not None for row in others), "no snapshot was published"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 7, 50, 400]), st.booleans())
def test_blocks_shuffles_and_bytes_change_nothing(seed: int, block: int, cached: bool) -> None:
    loop = Loop(*make_stream(400), MODEL, True)
    d = declaration(MODEL, key="k", snapshot_every="2 min")
    calm = Flink(LearningOperator(d, True))
    wild = Flink(LearningOperator(d, True), cached)
    expected, found = run(loop, d, 0, 100_000, calm), run(loop, d, seed, block, wild)
    assert found[0] == expected[0]
    assert sorted(map(str, found[1])) == sorted(map(str, expected[1])), "snapshots, refusals or alerts differ"
    assert {key: cell.dump() for key, cell in wild.states["models"].items()} == {
        key: cell.dump() for key, cell in calm.states["models"].items()
    }


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    block=st.sampled_from([9, 40, 90]),
    marks=st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=12),
    options=st.sampled_from(
        [{"key": "k"}, {}, {"key": "k", "prior": "global", "snapshot_every": "30 events, on-drift"}]
    ),
)
def test_crashes_anywhere_change_nothing(
    seed: int, block: int, marks: list[tuple[int, bool]], options: dict[str, str]
) -> None:
    """Checkpoints and crashes at any point: what is committed, and every model, is as if nothing had happened."""
    loop = Loop(*make_stream(200), MODEL, True)
    d = declaration(MODEL, **{"snapshot_every": "2 min", **options})
    steps = list(steps_of(loop, d, seed, block))
    calm = Flink(LearningOperator(d, True))
    expected = [str(row) for step in steps for row in calm.take(step)]
    events = {at % len(steps): crash for at, crash in marks}
    flink, committed, pending, at = Flink(LearningOperator(d, True)), [], [], 0
    saved = (0, flink.image())
    while at < len(steps):
        crash = events.pop(at, None)
        if crash is False:
            committed += pending
            pending, saved = [], (at, flink.image())
        elif crash:
            at, image = saved
            pending, flink = [], Flink(LearningOperator(d, True), image=image)
            continue
        pending += [str(row) for row in flink.take(steps[at])]
        at += 1
    assert committed + pending == expected
    assert flink.image() == calm.image()


def steps_of(loop: Loop, d: Declaration, seed: int, block: int) -> Iterator[bytes | int]:
    """The loop's rows as an operator gets them: blocks, and between them watermarks."""
    names = [field.name for field in d.spec.inputs]
    rows = [(*row[:6], *(getattr(row[6], name) for name in names)) for row in loop.rows]
    if not d.key:
        rows = [(row[0], None if row[1] is None else "", *row[2:]) for row in rows]
    pick = random.Random(seed)
    for start in range(0, len(rows), block):
        chunk = rows[start : start + block]
        pick.shuffle(chunk)
        columns = list(zip(learning_kinds(d.spec), map(list, zip(*chunk, strict=True)), strict=True))
        yield pack_columns(columns, len(chunk))
        following = rows[start + block : start + block + 1]
        yield following[0][4] - pick.randrange(1, 5000) if following else (1 << 63) - 1


def test_a_refused_label_is_told_with_its_reason_and_its_row() -> None:
    loop = Loop(*make_stream(2000), MODEL, True)
    d = declaration(MODEL, key="k")
    _, others = run(loop, d, 3, 100, Flink(LearningOperator(d, True)))
    place = len(ANSWER_TYPES) + list(EXTRA_TYPES).index("refusal")
    reasons = [row[place][2] for row in others if row[place] is not None]
    assert len(reasons) > 10
    assert any("key is null" in reason for reason in reasons)
    assert any("'a'" in reason for reason in reasons)


def ticking(block_ms: float) -> Any:
    """A clock by which each block takes so long."""
    return itertools.count(0, round(block_ms * 1e6)).__next__


def test_a_shadow_over_its_budget_skips_events_and_learns_all_the_same() -> None:
    loop, d = Loop(*make_stream(600), MODEL, True), declaration(MODEL, key="k")
    calm = Flink(LearningOperator(d, True))
    slow = Flink(LearningOperator(d, True, ArmRole((), True, 0.035), ticking(2.0)))
    (answers, others), (some, same) = run(loop, d, 3, 50, calm), run(loop, d, 3, 50, slow)
    assert 0 < len(some) < len(answers)
    assert all(answer in answers for answer in some)
    assert [str(list(row)[: len(ANSWER_TYPES) + 4]) for row in others] == [
        str(list(row)[: len(ANSWER_TYPES) + 4]) for row in same if any(v is not None for v in list(row)[10:14])
    ]
    assert calm.image() == slow.image()


def test_of_a_model_that_is_compared_each_block_tells_how_long_it_took() -> None:
    loop, d = Loop(*make_stream(500), MODEL, True), declaration(MODEL, key="k")
    flink = Flink(LearningOperator(d, True, ArmRole(), ticking(3.0)))
    answers, rows = run(loop, d, 3, 50, flink)
    told = [list(row)[-2:] for row in rows if row[-1] is not None]
    assert {ms for ms, _ in told} == {3.0}
    first = len(answers) - sum(count for _, count in told)
    assert 0 < first <= 50, "of all blocks but the first, once each"
    assert len(list(rows[0])) == len(learning_type(ArmRole()).get_field_names())


def test_all_that_a_compared_model_emits_has_the_columns_of_its_type() -> None:
    loop = Loop(*make_stream(300), MODEL, True)
    d = declaration(MODEL, key="k", old_examples="50", evaluate_every="1 min", snapshot_every="1 min")
    flink = Flink(LearningOperator(d, True, ArmRole()))
    rows = [list(row) for step in steps_of(loop, d, 3, 50) for row in flink.take(step)]
    names = learning_type(ArmRole()).get_field_names()
    assert {len(row) for row in rows} == {len(names)}
    kinds = {name for row in rows for name, value in zip(names, row, strict=True) if value not in (None, [])}
    assert {"event_id", "snapshot", "refusal", "remembered", "block_ms"} <= kinds


def test_a_shadow_that_fails_answers_with_its_reason_and_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, d = Loop(*make_stream(400), MODEL, True), declaration(MODEL, key="k")
    flink, calls, real = Flink(LearningOperator(d, True, ArmRole((), True))), itertools.count(), LearningLogic.on_rows

    def failing(self: Any, columns: Any, store: Any) -> Any:
        if next(calls) % 5 == 2:
            raise RuntimeError("no memory left on the device")
        return real(self, columns, store)

    monkeypatch.setattr(LearningLogic, "on_rows", failing)
    answers, _ = run(loop, d, 3, 50, flink)
    assert sorted(a["event_id"] or "" for a in answers) == sorted(event or "" for event, _ in loop.answers)
    failed = [a for a in answers if a["reason"] == "the shadow failed: RuntimeError: no memory left on the device"]
    assert 0 < len(failed) < len(answers) / 2
    assert {a["status"] for a in failed} == {"refused"}
    with pytest.raises(RuntimeError):
        run(loop, d, 3, 50, Flink(LearningOperator(d, True, ArmRole())))


def test_every_function_that_travels_can_be_pickled() -> None:
    import cloudpickle

    d = declaration(MODEL)
    assert isinstance(d.spec, EngineSpec)
    assert isinstance(d.spec.output, Field)
    assert cloudpickle.loads(cloudpickle.dumps(LearningOperator(d, True)))
    assert RuntimeContext is not None
