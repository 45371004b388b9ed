"""The state behind ``thalweg watch`` and what is drawn of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from thalweg.jobs.watch_state import WatchState
from thalweg.jobs.watch_view import facts, sparkline, view

NOW_MS = 1_700_000_100_000


def prediction(model: str = "fraud", status: str = "ok", event_ms: int = NOW_MS - 500, **more: Any) -> dict[str, Any]:
    return {
        "model": model, "model_version": "12", "event_id": "e", "key": "", "event_time_ms": event_ms, "score": 0.5,
        "label": "true", "probabilities": None, "status": status, "reason": "", "learned": 12, **more,
    }  # fmt: skip


def metric(name: str, window: str, value: float, slice_: str = "", model: str = "fraud") -> dict[str, Any]:
    return {
        "model": model, "model_version": "", "metric": name, "window": window, "value": value, "count": 100,
        "window_start_ms": 0, "event_time_ms": NOW_MS, "slice": slice_,
    }  # fmt: skip


def alert(state: str, name: str = "ROCAUC < 0.7", model: str = "fraud") -> dict[str, Any]:
    return {
        "model": model, "alert": name, "severity": "critical", "state": state, "value": 0.6, "threshold": 0.7,
        "count": 100, "event_time_ms": NOW_MS, "reason": "It is 0.6.",
    }  # fmt: skip


def drawn(state: WatchState) -> str:
    console = Console(width=200, markup=False, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(view(state, NOW_MS))
    return captured.get()


def test_everything_that_was_told_is_on_the_screen() -> None:
    state = WatchState()
    for at in range(300):
        state.add("prediction", prediction(status="ok" if at else "not_ready"), NOW_MS - 30_000 + at * 100)
    for value in (0.6, 0.7, 0.8):
        state.add("metric", metric("ROCAUC", "rolling", value), NOW_MS)
    state.add("metric", metric("ROCAUC", "cumulative", 0.75), NOW_MS)
    state.add("metric", metric("worst.ROCAUC", "rolling", 0.41, "carrier=UA"), NOW_MS)
    state.add("metric", metric("labels_matched", "cumulative", 1234.0), NOW_MS)
    snapshot = {"model": "fraud", "chunk": 1, "chunks": 2, "size": 900, "event_time_ms": NOW_MS}
    state.add("snapshot", {**snapshot, "chunk": 0}, NOW_MS)
    state.add("snapshot", snapshot, NOW_MS)
    state.add("alert", alert("raised"), NOW_MS)
    text = drawn(state)
    for told in (
        "fraud",
        "12",
        "10.0",
        "300",
        "0.8",
        "0.75",
        "▁",
        "carrier=UA: 0.41",
        "1,234",
        "ROCAUC < 0.7",
        "It is",
    ):
        assert told in text, told
    (found,) = facts(state, NOW_MS)
    assert found["predictions"] == {"not_ready": 1, "ok": 299}
    assert found["snapshots"] == 1
    assert found["predictions_per_s"] == 10.0
    assert found["behind_ms"] == 400
    assert found["silent_ms"] == 100
    assert found["open_alerts"] == ["ROCAUC < 0.7"]
    state.add("alert", alert("cleared"), NOW_MS)
    assert facts(state, NOW_MS)[0]["open_alerts"] == []
    assert "cleared" in drawn(state)


def test_a_replay_of_an_old_year_is_not_called_behind() -> None:
    state = WatchState()
    state.add("prediction", prediction(event_ms=NOW_MS - 400 * 86_400_000), NOW_MS)
    state.add("prediction", prediction("live", event_ms=NOW_MS - 90_000), NOW_MS)
    assert [model["behind_ms"] for model in facts(state, NOW_MS)] == [None, 90_000]


def test_names_from_topics_can_do_nothing_to_the_terminal() -> None:
    state = WatchState()
    state.add("prediction", prediction("\x1b[2J[bold]evil[/]\x07"), NOW_MS)
    state.add("alert", alert("raised", "[link=x]\x1b]0;title\x07", "\x1b[2J[bold]evil[/]\x07"), NOW_MS)
    text = drawn(state)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]evil[/]" in text


def test_its_memory_has_an_end() -> None:
    state = WatchState()
    for at in range(1000):
        state.add("metric", metric(f"m{at}", "rolling", 1.0), NOW_MS)
        state.add("metric", metric(f"m{at}", "cumulative", 1.0), NOW_MS)
        state.add("metric", metric("MAE", "rolling", 1.0, model=f"model{at}"), NOW_MS)
        state.add("alert", alert("raised", f"a{at}"), NOW_MS)
        state.add("prediction", prediction(), NOW_MS + at * 1000)
    assert len(state.models) == 200
    model = state.models["fraud"]
    assert len(model.rolling) == 40
    assert len(model.cumulative) == 80
    assert len(model.open_alerts) == 40
    assert len(model._seconds) < 100
    assert state.passed_over > 0


def test_nothing_has_come_yet() -> None:
    assert "Nothing has come yet." in drawn(WatchState())


@given(st.lists(st.floats(-1e12, 1e12), max_size=80), st.integers(1, 40))
def test_a_sparkline_keeps_order(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    newest = values[-width:]
    assert len(line) == len(newest)
    for a, x in zip(newest, line, strict=True):
        for b, y in zip(newest, line, strict=True):
            assert a > b or x <= y
