"""The operator of a comparison without a JVM: fake state, the real machine, shuffled blocks, crashes anywhere."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operators import Flink
from thalweg.udfs.flink.comparison_operator import RECORDS, SERVED_TYPES, ComparisonOperator
from thalweg.udfs.flink.comparison_rows import KINDS, Carried
from thalweg.udfs.logic.arm_guard import ArmGuard, ArmRole
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, OUTCOME, Arm, Plan
from thalweg.udfs.logic.guardrails import parse_guardrails
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.packing import pack_columns

ARMS = (Arm("v1"), Arm("v2", 30), Arm("v3", 20), Arm("v4", 100, True))
PLAN = Plan("delay", ARMS, "v1", every=Every(None, 60_000), min_samples=50, label_timeout_ms=600_000)
LAYOUT = (Carried(0, (), None),) * 4
END = (1 << 63) - 1
MS, EVENTS, ORDER_AT = 1_700_000_000_000, 200, 120


def rows_of(seed: int = 1) -> list[tuple[Any, ...]]:
    """Answers of all models to each event, outcomes a minute later, and one order; in the order of time."""
    dice, rows = random.Random(seed), []
    for n in range(EVENTS):
        ms, event, unit = MS + n * 1000, f"e{n:03}", json.dumps([f"u{dice.randrange(60)}"])
        truth = dice.random() < 0.5
        for arm in range(len(ARMS)):
            ready = not (arm == 2 and n < 20)
            score = round(0.2 + 0.6 * truth + dice.gauss(0, 0.05) * arm, 6) if ready else None
            label = None if score is None else "true" if score > 0.5 else "false"
            status = "ok" if ready else "not_ready"
            rows.append(
                (ANSWER, arm, event, unit, ms, ms, score, label, None, None, status, "", "", n, f"{arm}.{n}", 5.0, 1)
            )
            if n % 10:
                told = "true" if truth else "false"
                rows.append((OUTCOME, arm, event, unit, ms, ms + 60_000, score, label, None, told, *([None] * 7)))
    detail = json.dumps({"argument": "v2:60, v3:20", "issued_by": "ana", "reason": "storm"})
    at = MS + ORDER_AT * 1000
    rows.append((COMMAND, 0, "", None, at, at, None, "weights", detail, *([None] * 8)))
    return sorted(rows, key=lambda row: (row[5], row[0], row[4], row[2], row[1]))


def steps_of(rows: list[tuple[Any, ...]], seed: int, block: int) -> Iterator[bytes | int]:
    """Rows as an operator gets them: blocks in any order, and between them watermarks."""
    pick = random.Random(seed)
    for start in range(0, len(rows), block):
        chunk = rows[start : start + block]
        pick.shuffle(chunk)
        cut = pick.randrange(len(chunk) + 1)
        for part in filter(None, (chunk[:cut], chunk[cut:])):
            yield packed(part)
        following = rows[start + block : start + block + 1]
        yield following[0][5] - 1 if following else END


def packed(rows: list[tuple[Any, ...]]) -> bytes:
    return pack_columns(zip(KINDS, map(list, zip(*rows, strict=True)), strict=True), len(rows))


def operator() -> ComparisonOperator:
    return ComparisonOperator(PLAN, LAYOUT)


def served_of(emitted: list[Any]) -> list[dict[str, Any]]:
    return [
        dict(zip(SERVED_TYPES, values, strict=True))
        for row in emitted
        for values in zip(*list(row)[: len(SERVED_TYPES)], strict=True)
    ]


def records_of(emitted: list[Any], kind: str) -> list[dict[str, Any]]:
    place = len(SERVED_TYPES) + list(RECORDS).index(kind)
    return [dict(zip(RECORDS[kind], row[place], strict=True)) for row in emitted if row[place] is not None]


def run(seed: int = 1, block: int = 40) -> list[Any]:
    flink = Flink(operator())
    return [row for step in steps_of(rows_of(), seed, block) for row in flink.take(step)]


def test_each_event_is_answered_once_by_its_model_as_that_answered() -> None:
    own = {(ARMS[row[1]].name, row[2]): row for row in rows_of() if row[0] == ANSWER}
    emitted = run()
    served = served_of(emitted)
    assert [row["event_id"] for row in served] == [f"e{n:03}" for n in range(EVENTS)]
    for row in served:
        answer = own[row["arm"], row["event_id"]]
        assert (row["score"], row["label"], row["status"], row["learned"]) == (*answer[6:8], answer[10], answer[13])
        assert row["model_version"] == answer[14]
    assert {row["status"] for row in served} == {"ok"}
    assert set(Counter(row["arm"] for row in served)) == {"v1", "v2", "v3"}
    assert not any(row["arm"] == "v3" for row in served[:20]), "it was not ready: the default stands in"


def test_an_order_holds_from_the_next_event_on_and_is_on_record() -> None:
    emitted = run()
    (told,) = (row for row in records_of(emitted, "decision") if row["decision"] == "weights")
    assert (told["decided_by"], told["event_time_ms"]) == ("ana", MS + ORDER_AT * 1000)
    assert told["shares"] == {"v1": 20.0, "v2": 60.0, "v3": 20.0, "v4": 0.0}
    by_time = {row["event_time_ms"]: row for row in served_of(emitted)}
    before, after = (
        [by_time[MS + n * 1000] for n in part] for part in (range(20, ORDER_AT + 1), range(ORDER_AT + 1, 200))
    )
    assert {round(row["propensity"], 2) for row in before} == {0.5, 0.3, 0.2}
    assert {round(row["propensity"], 2) for row in after} == {0.2, 0.6}
    units = {row[4]: row[3] for row in rows_of() if row[0] == ANSWER}
    for part in (before, after):
        arms: dict[Any, set[str]] = {}
        for row in part:
            arms.setdefault(units[row["event_time_ms"]], set()).add(row["arm"])
        assert all(len(names) == 1 for names in arms.values())


def test_figures_are_told_per_model() -> None:
    metrics = records_of(run(), "metric")
    assert {row["arm"] for row in metrics} == {*(arm.name for arm in ARMS), ""}
    assert {"LogLoss", "served", "difference", "share"} <= {row["metric"] for row in metrics}
    assert max(row["value"] for row in metrics if (row["arm"], row["metric"]) == ("", "outcomes")) == EVENTS * 0.9


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), block=st.sampled_from([8, 50, 300, 5000]))
def test_blocks_and_their_order_change_nothing(seed: int, block: int) -> None:
    one, other = run(), run(seed, block)
    assert served_of(one) == served_of(other)
    for kind in RECORDS:
        assert records_of(one, kind) == records_of(other, kind)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), marks=st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=10))
def test_a_crash_in_the_middle_changes_no_assignment_and_loses_no_outcome(
    seed: int, marks: list[tuple[int, bool]]
) -> None:
    steps = list(steps_of(rows_of(), seed, 40))
    calm = Flink(operator())
    expected = [str(row) for step in steps for row in calm.take(step)]
    events = {at % len(steps): crash for at, crash in marks}
    flink, committed, pending, at = Flink(operator()), [], [], 0
    saved = (0, flink.image())
    while at < len(steps):
        crash = events.pop(at, None)
        if crash is False:
            committed += pending
            pending, saved = [], (at, flink.image())
        elif crash:
            at, image = saved
            pending, flink = [], Flink(operator(), image=image)
            continue
        pending += [str(row) for row in flink.take(steps[at])]
        at += 1
    assert committed + pending == expected
    assert flink.image() == calm.image()


def test_a_late_event_is_answered_by_the_default_alone() -> None:
    flink = Flink(operator())
    rows = rows_of()
    flink.element(packed([row for row in rows if row[5] < MS + 5000]))
    flink.advance(MS + 10_000)
    own = [row for row in rows if row[0] == ANSWER][:4]
    late = [(*row[:2], f"late{n}", json.dumps([f"u{n}"]), MS, MS, *row[6:]) for n in range(20) for row in own[::-1]]
    found = [row for answer in late for row in served_of(flink.element(packed([answer])))]
    assert [(row["event_id"], row["arm"]) for row in found] == [(f"late{n}", "v1") for n in range(20)]


def test_a_late_order_holds_from_now_on() -> None:
    flink = Flink(operator())
    rows = rows_of()
    (order,) = (row for row in rows if row[0] == COMMAND)
    flink.element(packed([row for row in rows if row[5] < MS + 5000]))
    flink.advance(MS + 50_000)
    found = flink.element(packed([(*order[:4], MS - 9, MS - 9, *order[6:])]))
    (told,) = (row for row in records_of(found, "decision") if row["decision"] == "weights")
    assert told["event_time_ms"] == MS + 50_000


def test_rewards_slices_and_guardrails_come_with_what_the_answers_carry() -> None:
    """The unit, a slice, a reward and its base stand in one array, in another order for each model."""
    dice, rows, totals = random.Random(5), [], Counter[str]()
    order = ((0, 1, 2, 3), (3, 1, 0, 2))
    for n in range(600):
        ms, truth, wing = MS + n * 1000, dice.random() < 0.5, "UA" if n % 3 else "AA"
        reward, base = dice.randrange(5), dice.randrange(1, 4)
        for arm, places in enumerate(order):
            values = [f"u{n}", wing, str(reward), str(base)]
            carried = json.dumps([values[places.index(at)] for at in range(4)])
            wrong = arm == 1 and wing == "AA"
            score = (0.8 if truth != wrong else 0.2) + dice.gauss(0, 0.02)
            label = "true" if score > 0.5 else "false"
            given = (arm, f"e{n:03}", carried, ms)
            rows.append((ANSWER, *given, ms, score, label, None, None, "ok", "", "", n, "1", None, None))
            told = "true" if truth else "false"
            rows.append((OUTCOME, *given, ms + 60_000, score, label, None, told, *([None] * 7)))
        totals.update(reward=reward, base=base)
    rows.sort(key=lambda row: (row[5], row[0], row[4], row[2], row[1]))
    plan = Plan(
        "delay", (Arm("v1"), Arm("v2", 40)), "v1", every=Every(None, 60_000), min_samples=100, slices=("carrier",),
        label_timeout_ms=600_000, reward=True, guardrails=parse_guardrails("slice(carrier)"),
    )  # fmt: skip
    layout = [Carried(places[0], (places[1],), (places[2], places[3])) for places in order]
    flink = Flink(ComparisonOperator(plan, layout))
    emitted = [row for step in steps_of(rows, 1, 40) for row in flink.take(step)]
    assert len(served_of(emitted)) == 600
    last = {(row["arm"], row["metric"], row["slice"]): row for row in records_of(emitted, "metric")}
    reward = last["v1", "Reward", ""]
    assert reward["value"] == pytest.approx(totals["reward"] / totals["base"], rel=0.2)
    assert last["v1", "Reward.lower", ""]["value"] < totals["reward"] / totals["base"]
    assert last["v1", "Reward.upper", ""]["value"] > totals["reward"] / totals["base"]
    assert sum(last[arm, "served", ""]["value"] for arm in ("v1", "v2")) == 600
    (stop,) = (row for row in records_of(emitted, "decision") if row["decision"] == "stop")
    assert stop["arm"] == "v2"
    assert "carrier=AA" in stop["reason"]
    assert any(row["alert"].startswith("v2: ") for row in records_of(emitted, "alert"))


def test_a_model_that_lets_events_wait_is_stopped_and_the_table_says_how_long() -> None:
    """The times of an injected clock, from the guards of the models through the operator to decision and metric."""
    rows: list[tuple[Any, ...]] = []
    guards = [ArmGuard(ArmRole(), itertools.count(0, ms * 1_000_000).__next__) for ms in (5, 80)]
    for n in range(400):
        ms = MS + n * 1000
        for arm, guard in enumerate(guards):
            guard.run(
                2, lambda: None, lambda reason: None
            )  # two events at a time wait together: the first one tells it
            block = (None, None) if n % 2 else guard.block_time(2)
            given = (arm, f"e{n:03}", None, ms)
            rows.append((ANSWER, *given, ms, 0.6, "true", None, None, "ok", "", "", n, "1", *block))
            rows.append((OUTCOME, *given, ms + 60_000, 0.6, "true", None, "true", *([None] * 7)))
    rows.sort(key=lambda row: (row[5], row[0], row[4], row[2], row[1]))
    rules = parse_guardrails("latency_p99 < 50 ms; cost_p99 < 60 ms")
    plan = Plan("delay", (Arm("v1"), Arm("v2", 40)), "v1", every=Every(None, 60_000), min_samples=100, guardrails=rules)
    flink = Flink(ComparisonOperator(plan, [Carried(None, (), None)] * 2))
    emitted = [row for step in steps_of(rows, 1, 40) for row in flink.take(step)]
    (stop,) = (row for row in records_of(emitted, "decision") if row["decision"] == "stop")
    assert stop["arm"] == "v2"
    assert "latency_p99 < 50 ms" in stop["reason"]
    assert {row["alert"] for row in records_of(emitted, "alert")} == {"v2: latency_p99 < 50 ms"}
    last = {(row["arm"], row["metric"]): row["value"] for row in records_of(emitted, "metric")}
    assert last["v1", "latency_p99"] == pytest.approx(5, rel=0.03)
    assert last["v2", "latency_p50"] == pytest.approx(80, rel=0.03)
    assert last["v2", "cost_p99"] == pytest.approx(40, rel=0.03)
