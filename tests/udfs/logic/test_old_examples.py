"""Old examples: which are kept, and what is told of the answers to them."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Field, Score
from thalweg.udfs.logic.learning import LEARN, LEARNS, SCORE
from thalweg.udfs.logic.old_examples import OldExamples
from thalweg.udfs.logic.old_performance import OldPerformance

SPEC = EngineSpec("river", "classification", "m", (Field("a", "number"),), Field("y", "boolean"))


def columns(first: int, last: int) -> list[list[Any]]:
    """Each event is answered, and learned a second later."""
    rows = [
        (
            kind,
            f"k{n % 3}",
            f"e{n}",
            n * 1000,
            n * 1000 + 500 * (kind == LEARN),
            n % 2 == 0 if kind == LEARN else None,
            float(n),
        )
        for n in range(first, last)
        for kind in (SCORE, LEARN)
    ]
    return list(map(list, zip(*rows, strict=True)))


def told(old: OldExamples, tilt: float = 0.0) -> dict[str, list[list[float]]]:
    found = old.answered(lambda key, row: Score(min(0.99, row["a"] / 1000 + tilt), "false"))
    return dict(json.loads(found))


def test_the_first_ones_are_kept_and_a_sample_that_no_order_changes() -> None:
    forward, backward = OldExamples(SPEC, 20, 60_000), OldExamples(SPEC, 20, 60_000)
    for n in range(0, 500, 50):
        forward.add(columns(n, n + 50), LEARNS)
        backward.add(columns(450 - n, 500 - n), LEARNS)
    expected = sorted(range(500), key=lambda n: zlib.crc32(f"e{n}".encode()))[:20]
    assert sorted(row[0] for row in told(forward)["reservoir"]) == pytest.approx(sorted(n / 1000 for n in expected))
    assert sorted(told(forward)["reservoir"]) == sorted(told(backward)["reservoir"])
    assert [row[0] for row in told(forward)["reference"]] == pytest.approx([n / 1000 for n in range(20)])


def test_rows_are_cut_where_the_examples_are_due() -> None:
    old = OldExamples(SPEC, 20, 60_000)
    parts = list(old.parts(columns(0, 150)))
    assert [at_ms for _, at_ms in parts] == [60_000, 120_000, None]
    assert [len(part[0]) for part, _ in parts] == [120, 120, 60]
    assert [value for part, _ in parts for value in part[6]] == columns(0, 150)[6]
    assert (old.pass_time(179_999), old.pass_time(180_000), old.pass_time(180_000)) == (None, 180_000, None)


@settings(deadline=None, max_examples=20)
@given(cuts=st.sets(st.integers(1, 199), max_size=5))
def test_old_examples_come_back_as_they_were(cuts: set[int]) -> None:
    whole, parts = OldExamples(SPEC, 15, 60_000), OldExamples(SPEC, 15, 60_000)
    places = [0, *sorted(cuts), 200]
    for a, b in pairwise(places):
        for part, _ in list(parts.parts(columns(a, b))):
            parts.add(part, LEARNS)
        told(parts)
        again = OldExamples(SPEC, 15, 60_000)
        again.load(parts.dump())
        parts = again
        for part, _ in list(whole.parts(columns(a, b))):
            whole.add(part, LEARNS)
        told(whole)
    assert parts.dump() == whole.dump()
    with pytest.raises(SnapshotError):
        parts.load(b"\x07" + whole.dump()[1:])


def test_shards_together_are_scikit_learns_and_forgetting_is_told() -> None:
    dice = np.random.default_rng(2)
    truth = dice.random(200) < 0.5
    old = OldPerformance(("LogLoss", "ROCAUC", "Accuracy"), "boolean")

    def round_of(sharp: float) -> tuple[np.ndarray, dict[tuple[str, str], float]]:
        score = np.clip(0.5 + np.where(truth, sharp, -sharp) + dice.normal(0, 0.1, 200), 0.01, 0.99)
        rows = [
            [s, float(y), float((s > 0.5) == y), s if y else 1 - s, 0.5, float(y), 0.0, 0.5]
            for s, y in zip(score.tolist(), truth.tolist(), strict=True)
        ]
        for part in (rows[:70], rows[70:]):
            old.take(json.dumps({"reference": part, "reservoir": part}))
        return score, {(name, window): value for name, window, value, _ in old.measures()}

    score, first = round_of(0.3)
    assert first["LogLoss", "reference"] == pytest.approx(log_loss(truth, score))
    assert first["ROCAUC", "reservoir"] == pytest.approx(roc_auc_score(truth, score))
    assert first["forgetting.LogLoss", "reference"] == 0.0
    assert first["backward-transfer.LogLoss", "reservoir"] == pytest.approx(np.log(2) - log_loss(truth, score))
    assert old.measures() == []
    again = OldPerformance(("LogLoss", "ROCAUC", "Accuracy"), "boolean")
    again.load(json.loads(json.dumps(old.state())))
    old = again
    worse, second = round_of(0.05)
    assert second["forgetting.LogLoss", "reference"] == pytest.approx(log_loss(truth, worse) - log_loss(truth, score))
    assert second["forgetting.ROCAUC", "reference"] > 0
    assert ("forgetting.ROCAUC", "reservoir") not in second
