"""The books balance, and neither blocks nor clocks nor restarts change what is emitted."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.alert_rules import parse_rules
from thalweg.udfs.logic.evaluation import (
    DUPLICATE,
    LATE,
    MATCHED,
    OVERTAKEN,
    PREDICTED,
    TOGETHER,
    UNKNOWN,
    Evaluator,
    Metric,
    Watch,
)
from thalweg.udfs.logic.options import Every

TIMEOUT_MS = 640
Row = tuple[int, int, int, float, float, float, float]


def stream(seed: int, count: int) -> list[Row]:
    """Rows in the order of time: kind, event ms, row ms, score, truth, right, p_true."""
    pick = np.random.default_rng(seed)
    rows: list[Row] = []
    for n in range(count):
        event = n * 37
        score = float("nan") if pick.random() < 0.1 else float(pick.random())
        truth = float(pick.random() < 0.4)
        values = (score, truth, float((score > 0.5) == truth), score if truth else 1 - score)
        nothing = (float("nan"), 0.0, 0.0, 0.0)
        fate = pick.random()
        if fate < 0.1:
            rows.append((TOGETHER, event, event, *values))
            continue
        if fate < 0.2:
            rows.append((UNKNOWN, event, event - 5, *nothing))
            rows.append((OVERTAKEN, event, event, *values))
            continue
        rows.append((PREDICTED, event, event, *nothing))
        if fate < 0.8:
            rows.append((MATCHED, event, event + int(pick.integers(1, TIMEOUT_MS)), *values))
        elif fate < 0.85:
            rows.append((LATE, event, event + TIMEOUT_MS + 50, *nothing))
        if 0.5 < fate < 0.6:
            rows.append((DUPLICATE, event, event + TIMEOUT_MS, *nothing))
    return sorted(rows, key=lambda row: row[2])


def feed(
    evaluator: Evaluator, rows: list[Row], cuts: list[int], clock: bool, restart: bool
) -> tuple[Evaluator, list[Metric]]:
    edges = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    emitted: list[Metric] = []
    for start, stop in pairwise(edges):
        emitted += evaluator.on_rows([list(column) for column in zip(*rows[start:stop], strict=True)])
        if clock and stop < len(rows):
            emitted += evaluator.on_time(rows[stop][2] - 1)
        if restart:
            evaluator = pickle.loads(pickle.dumps(evaluator))
    while (wake := evaluator.wake_at()) is not None:
        emitted += evaluator.on_time(wake)
    return evaluator, emitted


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.lists(st.integers(0, 500), max_size=8), st.booleans(), st.booleans(), st.booleans())
def test_blocks_clocks_and_restarts_change_nothing(
    seed: int, cuts: list[int], clock: bool, restart: bool, by_time: bool
) -> None:
    rows = stream(seed, 150)
    every = Every(None, 500) if by_time else Every(20, None)

    def new() -> Evaluator:
        return Evaluator("classification", ("ROCAUC", "LogLoss"), every, 30, TIMEOUT_MS)

    calm, expected = feed(new(), rows, [], False, False)
    wild, found = feed(new(), rows, cuts, clock, restart)

    assert found == expected  # to the last bit
    assert wild.counts == calm.counts


WATCH = Watch("boolean", 6, ("part",), parse_rules("LogLoss > 0.7 min-samples 5; label-coverage < 0.8"), True)
GOLDEN = Path(__file__).parents[2] / "golden"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.lists(st.integers(0, 500), max_size=8), st.booleans(), st.booleans(), st.booleans())
def test_nothing_changes_what_is_watched(seed: int, cuts: list[int], clock: bool, restart: bool, by_time: bool) -> None:
    rows = [(*row, None, None, f'["{row[1] % 3}"]') for row in stream(seed, 150)]
    names = ("ROCAUC", "LogLoss", "ECE", "F1", "Brier")

    def new() -> Evaluator:
        every = Every(None, 500) if by_time else Every(20, None)
        return Evaluator("classification", names, every, 30, TIMEOUT_MS, WATCH)

    calm, expected = feed(new(), rows, [], False, False)  # type: ignore[arg-type]
    wild, found = feed(new(), rows, cuts, clock, restart)  # type: ignore[arg-type]

    assert found == expected  # to the last bit
    assert wild.dump() == calm.dump()
    if not restart:
        assert wild.take_alerts() == calm.take_alerts()
    assert {figure.window for figure in found} == {"cumulative", "rolling", "fading"}
    assert any(figure.metric == "vs-baseline" for figure in found)
    assert any(figure.slice for figure in found)


@pytest.mark.parametrize("watched", [False, True])
def test_a_state_of_the_first_protocol_goes_on(watched: bool) -> None:
    """The bytes were written by the code before protocol 2, after the first 100 of these rows."""
    rows = stream(3, 120)
    arguments = ("classification", ("ROCAUC", "LogLoss"), Every(None, 500), 30, TIMEOUT_MS)
    _, expected = feed(Evaluator(*arguments), rows, [100], False, False)
    old: Evaluator = pickle.loads(bytes.fromhex((GOLDEN / "evaluation-v1-pickle.hex").read_text()))
    again = Evaluator(*arguments, *([WATCH] if watched else []))
    again.load(bytes.fromhex((GOLDEN / "evaluation-v1.hex").read_text()))
    for evaluator in (old, again):
        _, found = feed(evaluator, rows[100:], [], False, False)
        kept = ("cumulative",) if watched else ("cumulative", "rolling")
        wanted = [m for m in expected if m.window in kept and not m.metric.startswith("label-")]
        mine = [m for m in found if m in wanted]
        assert mine == wanted[-len(mine) :]
        assert len(mine) > 20


@settings(deadline=None)
@given(st.integers(0, 99))
def test_the_books_balance_at_every_emission(seed: int) -> None:
    rows = stream(seed, 100)
    _, emitted = feed(
        Evaluator("classification", ("LogLoss",), Every(None, 300), 50, TIMEOUT_MS), rows, [], False, False
    )
    times = sorted({m.event_time_ms for m in emitted})
    for at in times:
        book = {m.metric: m.value for m in emitted if m.event_time_ms == at and m.window == "cumulative"}
        assert book["events"] == book["labels_matched"] + book["labels_expired"] + book["labels_pending"]
    labels = sum(kind in (MATCHED, DUPLICATE, UNKNOWN, LATE, TOGETHER) for kind, *_ in rows)
    assert labels == sum(book[f"labels_{fate}"] for fate in ("matched", "duplicate", "unknown", "late"))
    assert book["labels_pending"] == 0


def test_figures_are_scikit_learns_over_all_and_over_the_window() -> None:
    rows = stream(5, 400)
    _, emitted = feed(
        Evaluator("classification", ("ROCAUC", "LogLoss"), Every(None, 1000), 60, TIMEOUT_MS), rows, [], False, False
    )
    known = [(row[4], row[3]) for row in rows if row[0] in (MATCHED, OVERTAKEN, TOGETHER) and row[3] == row[3]]
    newest = {(m.metric, m.window): m for m in emitted}
    for window, part in (("cumulative", known), ("rolling", known[-60:])):
        truth, score = zip(*part, strict=True)
        assert newest["LogLoss", window].value == pytest.approx(log_loss(truth, score, labels=[0, 1]))
        assert newest["ROCAUC", window].value == pytest.approx(roc_auc_score(truth, score), abs=2e-3)
        assert newest["ROCAUC", window].count == len(part)


def test_after_the_last_change_nothing_is_emitted() -> None:
    evaluator, _ = feed(
        Evaluator("classification", (), Every(None, 300), 50, TIMEOUT_MS), stream(1, 20), [], False, False
    )
    assert evaluator.wake_at() is None
    assert evaluator.on_time(1 << 62) == []


def test_foreign_state_is_refused() -> None:
    evaluator = Evaluator("classification", (), Every(None, 300), 50, TIMEOUT_MS)
    for blob in (b"", b"\x02abc", evaluator.dump()[:-1]):
        with pytest.raises(SnapshotError):
            evaluator.load(blob)
