"""Idle keys are forgotten in time, active ones never, whatever the order and whenever the job starts again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyflink.datastream import TimeDomain
from scenario import MODEL
from test_operators import Flink, declaration
from thalweg.udfs.flink.operators import LearningOperator
from thalweg.udfs.logic.learning import STEP, learning_kinds
from thalweg.udfs.logic.packing import pack_columns

TTL_MS = 1000


class Clocked(Flink):
    """With a clock that the test turns."""

    def __init__(self, image: bytes | None = None, alarms: set[int] | None = None, now_ms: int = 0) -> None:
        self.now_ms = now_ms
        self.alarms: set[int] = alarms or set()
        self.ringing = False
        d = declaration(MODEL, key="k", state_ttl=f"{TTL_MS} ms", snapshot_every="100 events")
        super().__init__(LearningOperator(d, True), image=image)
        self.kinds = learning_kinds(d.spec)

    def current_processing_time(self) -> int:
        return self.now_ms

    def register_processing_time_timer(self, ms: int) -> None:
        self.alarms.add(ms)

    def get_current_key(self) -> int:
        return 0

    def time_domain(self) -> TimeDomain:
        return TimeDomain.PROCESSING_TIME if self.ringing else TimeDomain.EVENT_TIME

    def turn(self, now_ms: int) -> None:
        self.ringing = True
        while due := sorted(ms for ms in self.alarms if ms <= now_ms):
            self.alarms.discard(due[0])
            self.now_ms = max(self.now_ms, due[0])
            list(self.operator.on_timer(due[0], self))
        self.ringing = False
        self.now_ms = now_ms

    def teach(self, key: str, ms: int) -> None:
        columns = [STEP, key, "e", ms, ms, True, 1.0, 2.0, 3.0]
        self.element(pack_columns(list(zip(self.kinds, [[value] for value in columns], strict=True)), 1))
        self.advance(ms)

    @property
    def known(self) -> set[str]:
        return set(self.states["models"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 700), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30))
def test_a_key_is_kept_for_its_time_to_live_and_not_much_longer(steps: list[tuple[int, str, bool]]) -> None:
    flink = Clocked()
    last: dict[str, int] = {}
    for at, (pause, key, restart) in enumerate(steps):
        flink.turn(flink.now_ms + pause)
        if restart:
            flink = Clocked(flink.image(), flink.alarms, flink.now_ms)
        alive = {name for name, ms in last.items() if flink.now_ms - ms < TTL_MS}
        dead = {name for name, ms in last.items() if flink.now_ms - ms > 1.5 * TTL_MS}
        assert alive <= flink.known
        assert not dead & flink.known
        flink.teach(key, at + 1)
        last[key] = flink.now_ms
    flink.turn(flink.now_ms + 2 * TTL_MS)
    assert flink.known == set(flink.states["seen"]) == flink.alarms == set()


def test_a_forgotten_key_begins_anew() -> None:
    flink: Any = Clocked()
    flink.teach("a", 1)
    flink.turn(400)
    flink.teach("b", 2)
    flink.turn(1300)
    flink.teach("b", 3)
    assert flink.known == {"b"}
