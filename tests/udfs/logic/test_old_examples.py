"""Old examples: which are kept, and what is told of the answers to them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
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
from thalweg.udfs.logic.old_examples import REFERENCE, OldExamples
from thalweg.udfs.logic.old_performance import OldPerformance
from thalweg.udfs.logic.packing import pack_columns

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


def told(old: OldExamples, tilt: float = 0.0) -> dict[str, Any]:
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


def answers(old: OldExamples, rows: list[list[Any]], versions: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Let rows pass with new versions at some times; each time of an answer with the rows that were before it."""
    seen, found = 0, []
    for part, next_ms in old.parts(rows):
        for at_ms in versions:
            if at_ms in part[4]:
                old.renew(at_ms)
        seen += len(part[0])
        at_ms = None if next_ms is None else old.pass_time(next_ms)
        if at_ms is not None:
            found.append((at_ms, seen))
    return found


def test_rows_are_cut_where_the_examples_are_due() -> None:
    old = OldExamples(SPEC, 20, 60_000)
    parts = [part for part, _ in old.parts(columns(0, 150))]
    assert [value for part in parts for value in part[6]] == columns(0, 150)[6]
    old = OldExamples(SPEC, 20, 60_000)
    assert answers(old, columns(0, 150)) == [(60_000, 120), (120_000, 240)]
    assert (old.pass_time(179_999), old.pass_time(180_000), old.pass_time(180_000)) == (None, 180_000, None)


def test_a_new_version_answers_soon_and_a_storm_of_them_ten_times_as_often_at_most() -> None:
    old = OldExamples(SPEC, 20, 60_000)
    assert answers(old, columns(0, 100), [7_000]) == [(12_000, 24), (60_000, 120)]
    storm = answers(OldExamples(SPEC, 20, 60_000), columns(0, 100), [n * 1000 for n in range(100)])
    assert storm == [(at_ms, at_ms // 500) for at_ms in range(6_000, 100_000, 6_000)]
    # Between two rows, by a timer: a version of a snapshot, as of its own time.
    old = OldExamples(SPEC, 20, 60_000)
    assert answers(old, columns(0, 3)) == []
    old.renew(31_000)
    again = OldExamples(SPEC, 20, 60_000)
    again.load(old.dump())
    assert (again.pass_time(35_999), again.pass_time(36_000), again.pass_time(60_000)) == (None, 36_000, None)


def test_what_the_first_version_kept_is_read() -> None:
    old = OldExamples(SPEC, 20, 60_000)
    old.add(columns(0, 5), LEARNS)
    blob = old.dump()
    length = int.from_bytes(blob[1:5], "little")
    head = pack_columns([("integer", [120_000])], 1)
    first = blob[:1] + len(head).to_bytes(4, "little") + head + blob[5 + length :]
    again = OldExamples(SPEC, 20, 60_000)
    again.load(first)
    assert again.due_ms == 120_000
    assert told(again) == told(old)


@settings(deadline=None, max_examples=40)
@given(cuts=st.sets(st.integers(1, 99), max_size=6), versions=st.sets(st.integers(0, 99), max_size=6))
def test_answers_come_at_the_same_times_however_rows_are_cut(cuts: set[int], versions: set[int]) -> None:
    times = [n * 1000 for n in versions]
    expected = answers(OldExamples(SPEC, 20, 60_000), columns(0, 100), times)
    old, found, before = OldExamples(SPEC, 20, 60_000), [], 0
    for a, b in pairwise([0, *sorted(cuts), 100]):
        found += [(at_ms, before + seen) for at_ms, seen in answers(old, columns(a, b), times)]
        before = 2 * b
    assert found == expected


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
        for shard, part in enumerate((rows[:70], rows[70:])):
            old.take(json.dumps({"shard": f"{shard}/2", "reference": part, "reservoir": part}))
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


def test_a_shard_that_answers_alone_stands_beside_what_the_others_said_last() -> None:
    def rows(score: float, count: int) -> list[list[float]]:
        return [[score, 1.0, 1.0, score, score, 1.0, 1.0, score]] * count

    old = OldPerformance(("LogLoss",), "boolean")
    for shard, score in (("0/2", 0.5), ("1/2", 0.5), ("1/2", 0.25)):
        old.take(json.dumps({"shard": shard, "reference": rows(score, 10), "reservoir": []}))
    (loss, forgetting, _) = old.measures()
    assert loss == ("LogLoss", "reference", pytest.approx((np.log(2) + np.log(4)) / 2), 20)
    assert forgetting[2] == 0.0
    again = OldPerformance(("LogLoss",), "boolean")
    again.load(json.loads(json.dumps(old.state())))
    assert again.measures() == []
    again.take(json.dumps({"shard": "0/1", "reference": rows(0.5, 10), "reservoir": []}))
    assert again.measures()[0] == ("LogLoss", "reference", pytest.approx(np.log(2)), 10)
    first = OldPerformance(("LogLoss",), "boolean")
    first.load([{"reference": rows(0.5, 10)}, {}])
    assert first.measures()[0][3] == 10


def of_table(order: Sequence[int], keys: str = "k") -> list[list[Any]]:
    rows = [(REFERENCE, f"{keys}{n % 3}", None, 0, 0, n % 2 == 0, float(n)) for n in order]
    return list(map(list, zip(*rows, strict=True)))


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(60)), cut=st.integers(1, 59))
def test_a_tables_rows_are_the_reference_whatever_their_order_and_however_often(order: list[int], cut: int) -> None:
    expected = OldExamples(SPEC, 20, 60_000, True)
    assert expected.add_reference(of_table(range(60))) == ([[] for _ in range(7)], [])
    old = OldExamples(SPEC, 20, 60_000, True)
    for part in (order[:cut], order[cut:], order):
        old.add_reference(of_table(part))
    old.add(columns(0, 40), LEARNS)
    assert told(old)["reference"] == told(expected)["reference"]
    assert len(told(old)["reference"]) == len(told(old)["reservoir"]) == 20
    again = OldExamples(SPEC, 20, 60_000, True)
    again.load(old.dump())
    assert again.dump() == old.dump()
    # Another declaration: the window begins anew.
    without = OldExamples(SPEC, 20, 60_000)
    without.load(old.dump())
    assert (len(told(without)["reference"]), len(told(without)["reservoir"])) == (0, 20)


def test_rows_of_a_table_without_label_or_key_are_refused_and_the_others_go_on() -> None:
    old = OldExamples(SPEC, 20, 60_000, True)
    rows = [[*a, *b] for a, b in zip(of_table([1, 2, 3]), columns(0, 2), strict=True)]
    rows[5][0] = None
    rows[1][1] = None
    others, refused = old.add_reference(rows)
    assert others == columns(0, 2)
    assert [reason for reason, _, _ in refused] == [
        "a row of the reference table has no label.",
        "a row of the reference table has no model key.",
    ]
    assert refused[0][1] == {"a": 1.0}
    assert [row[0] for row in told(old)["reference"]] == [0.003]
