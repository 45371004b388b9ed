"""No storm of alerts: what is told, what is withheld, and that nothing told stays without its end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from thalweg.jobs.alert_gate import AlertGate

INTERVAL_MS = 1000


def alert(
    model: str = "fraud", name: str = "drift", state: str = "raised", severity: str = "warning"
) -> dict[str, Any]:
    return {"model": model, "alert": name, "severity": severity, "state": state}


COMING = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(["raised", "cleared"]), st.integers(0, 400)
    ),
    max_size=60,
)


@given(COMING, st.integers(1, 4), st.integers(1, 50))
def test_alerts_are_told_once_per_interval_and_in_the_end_everybody_knows_how_things_are(
    coming: list[tuple[str, str, str, int]], looks: int, most: int
) -> None:
    gate, now = AlertGate(INTERVAL_MS, most), 0
    told: dict[tuple[str, str], list[tuple[str, int]]] = {}
    newest: dict[tuple[str, str], str] = {}

    def due() -> None:
        for found, _ in gate.due(now):
            told.setdefault((found["model"], found["alert"]), []).append((found["state"], now))

    for at, (model, name, state, step) in enumerate(coming):
        now += step
        newest[model, name] = state
        verdict = gate.judge(alert(model, name, state), now)
        assert verdict is not None
        if verdict.told:
            told.setdefault((model, name), []).append((state, now))
        if at % looks == 0:
            due()
    for _ in range(5):
        now += 60_000
        due()
    assert {place: history[-1][0] for place, history in told.items()} == newest
    assert gate.withheld == len(coming) - sum(map(len, told.values()))
    for history in told.values():
        raised = [at for state, at in history if state == "raised"]
        assert all(later - sooner >= INTERVAL_MS for sooner, later in pairwise(raised))
        assert all("cleared" not in (one[0], other[0]) or one[0] != other[0] for one, other in pairwise(history))


@given(COMING, st.integers(1, 5))
def test_no_minute_has_more_than_allowed(coming: list[tuple[str, str, str, int]], most: int) -> None:
    gate, now, told = AlertGate(1, most), 0, []
    for at, (model, _, state, step) in enumerate(coming):
        now += step * 100
        verdict = gate.judge(alert(model, str(at), state), now)
        if verdict is not None and verdict.told:
            told.append(now)
    assert all(sum(at - 60_000 < other <= at for other in told) <= most for at in told)


def test_the_next_one_says_how_many_were_withheld() -> None:
    gate = AlertGate(INTERVAL_MS, 100)
    found = [gate.judge(alert(), at) for at in (0, 10, 20, 1000)]
    assert [verdict and (verdict.told, verdict.withheld) for verdict in found] == [
        (True, 0), (False, 1), (False, 2), (True, 2),
    ]  # fmt: skip


def test_only_what_is_asked_for_is_judged() -> None:
    gate = AlertGate(INTERVAL_MS, 100, "warning", frozenset({"fraud"}))
    assert gate.judge(alert("other"), 0) is None
    assert gate.judge(alert(severity="info"), 0) is None
    assert gate.judge(alert(severity="grave"), 0) is not None


def test_its_memory_has_an_end() -> None:
    gate = AlertGate(INTERVAL_MS, 10**9)
    for number in range(10_200):
        gate.judge(alert(name=str(number)), number)
    assert len(gate._entries) == 10_000
