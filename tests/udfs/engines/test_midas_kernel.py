"""The scores of MIDAS: those of the authors' program, and those of the papers' formulas written down plainly."""

from __future__ import annotations

import csv
import lzma
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

# The first 2,000 DARPA edges with the scores of the authors' C++ program (github.com/Stream-AD/MIDAS, 2 rows, 2^19
# columns, factor 0.5, threshold 1000). The whole file, of 60,000, is read where THALWEG_DATA names its folder.
EXCERPT = Path(__file__).parents[2] / "golden" / "midas-darpa-2000.csv.xz"
WHOLE = "midas-reference.csv.xz"
VARIANTS = ("normal", "relational", "filtering")
DECAYS = ("elapsed", "per-tick")
EDGE = (Field("s", "integer"), Field("d", "integer"), Field("t", "integer"))
variants = pytest.mark.parametrize("variant", VARIANTS)
decays = pytest.mark.parametrize("decay", DECAYS)


def engine_of(variant: str, decay: str, tick: str = "1 ms", **options: str) -> Any:
    named = {"variant": variant, "decay": decay, "tick": tick, "num-columns": "524288"}
    named |= {name.replace("_", "-"): value for name, value in options.items()}
    return build(EngineSpec("midas", "anomaly", "midas", EDGE, Field("y", "number"), tuple(sorted(named.items()))))


def reference(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with lzma.open(path, "rt", encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: np.array([row[name] for row in rows]).astype(np.float64 if name in VARIANTS else np.int64)
        for name in rows[0]
    }


def shared(edges: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
    """Which edges share a cell of the reference, whose hash sees no more than source + 104729 * destination."""
    names = edges[0] + 104729 * edges[1]
    users = defaultdict(set)
    for cell, name in zip((names % columns).tolist(), names.tolist(), strict=True):
        users[cell].add(name)
    return np.array([len(users[cell]) > 1 for cell in (names % columns).tolist()])


@variants
@decays
def test_scores_are_those_of_the_reference(variant: str, decay: str) -> None:
    # Each tick has an edge, so both ways to decay are the reference's.
    given = reference(EXCERPT)
    found = engine_of(variant, decay).step_many([given["source"], given["destination"], given["timestamp"]]).scores
    # The reference counts in floats of 32 bits: what is next to zero is there the difference of two such numbers.
    np.testing.assert_allclose(found, given[variant], rtol=1e-4, atol=1e-6)
    assert given[variant].max() > 1_000


@variants
@decays
def test_scores_are_those_of_the_whole_reference(variant: str, decay: str) -> None:
    folder = os.environ.get("THALWEG_DATA")
    if not folder or not (path := Path(folder) / WHOLE).exists():
        pytest.skip(f"THALWEG_DATA names no folder with {WHOLE}")
    given = reference(path)
    edges = np.array([given["source"], given["destination"]])
    # So many columns that in filtering, too, no two edges share a cell of ours in one row.
    engine = engine_of(variant, decay, num_columns=str(1 << 22))
    found = engine.step_many([*edges, given["timestamp"]]).scores
    # The multipliers of its hash, the first two of rand() + 1, are multiples of 8 in one row and of 2 in the other: of
    # 2^19 columns, 2^16 and 2^18 are used. The least of two counts is right where the second row is; in filtering
    # either row can lead to a wrong total.
    apart = ~shared(edges, 1 << 16 if variant == "filtering" else 1 << 18)
    assert apart.mean() > 0.98
    np.testing.assert_allclose(found[apart], given[variant][apart], rtol=1e-4, atol=1e-6)
    if variant == "normal":
        # With its collisions put into the names, all 60,000 are the same.
        names = (edges[0] + 104729 * edges[1]) % (1 << 18)
        found = engine_of(variant, decay).step_many([names, np.zeros_like(names), given["timestamp"]]).scores
        np.testing.assert_allclose(found, given[variant], rtol=1e-4, atol=1e-6)


class Plain:
    """MIDAS as in the papers: exact counts, every count visited at the end of every tick."""

    def __init__(self, variant: str, elapsed: bool, factor: float, threshold: float) -> None:
        self.variant, self.elapsed, self.factor, self.threshold = variant, elapsed, factor, threshold
        self.current: dict[Any, float] = defaultdict(float)
        self.total: dict[Any, float] = defaultdict(float)
        self.last: dict[Any, float] = defaultdict(float)
        self.tick = 0

    def step(self, source: int, destination: int, tick: int) -> float:
        while self.tick < tick:
            if self.tick:
                self._end()
            # The last of the ticks without edges counts as seen only if all that elapse do.
            self.tick = self.tick + 1 if self.elapsed else tick
        names = [("edge", source, destination)]
        if self.variant != "normal":
            names += [("source", source), ("destination", destination)]
        return max(self._count(name) for name in names)

    def _end(self) -> None:
        for name in self.current:
            if self.variant == "normal":
                self.current[name] = 0.0
                continue
            if self.variant == "filtering":
                if self.last[name] < self.threshold:
                    self.total[name] += self.current[name]
                elif self.tick > 1:
                    self.total[name] += self.total[name] / (self.tick - 1)
            self.current[name] *= self.factor

    def _count(self, name: Any) -> float:
        self.current[name] += 1
        if self.variant != "filtering":
            self.total[name] += 1
        a, s, t = self.current[name], self.total[name], self.tick
        score = 0.0
        if s and t > 1:
            difference = a + s - a * t if self.variant == "filtering" else (a - s / t) * t
            score = difference**2 / (s * (t - 1))
        self.last[name] = score
        return score


gaps = st.sampled_from([0, 0, 0, 1, 1, 2, 7])
stream = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), gaps), min_size=1, max_size=80)


@given(
    stream,
    st.sampled_from(VARIANTS),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    st.sampled_from([0.5, 5.0, 1000.0]),
)
@settings(deadline=None, max_examples=150)
def test_scores_are_those_of_the_papers(
    edges: Sequence[tuple[int, int, int]], variant: str, elapsed: bool, factor: float, threshold: float
) -> None:
    options = {} if variant == "normal" else {"factor": str(factor)}
    if variant == "filtering":
        options["threshold"] = str(threshold)
    engine = engine_of(variant, "elapsed" if elapsed else "per-tick", num_columns="4096", **options)
    plain, tick, wanted, times = Plain(variant, elapsed, factor, threshold), 1, [], []
    for at, (source, destination, gap) in enumerate(edges):
        tick += gap if at else 0
        times.append(1_700_000_000_000 + tick)
        wanted.append(plain.step(source, destination, tick))
    found = engine.step_many([[s for s, _, _ in edges], [d for _, d, _ in edges], times]).scores
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@variants
@decays
@pytest.mark.parametrize("origin", [0, 1_700_000_000_000, -5_000])
def test_a_steady_edge_is_no_anomaly_whatever_the_clock(variant: str, decay: str, origin: int) -> None:
    # Case C89: with Unix time for ticks the reference gives 1.7e7 and more; it should be what ticks 1, 2, 3 give.
    engine = engine_of(variant, decay, tick="1 s", **({} if variant == "normal" else {"factor": "0"}))
    times = origin + 1000 * np.arange(100) + np.arange(100) % 7
    scores = engine.step_many([np.ones(100, int), np.ones(100, int), times]).scores
    assert scores.max() == 0 if variant != "filtering" else scores.max() < 1e-9


def test_a_tick_is_cut_from_the_first_edge() -> None:
    engine = engine_of("normal", "elapsed", tick="1 s")
    # Two ticks: from 700 to 1699, from 1700 on. The third edge is the first of the second.
    scores = engine.step_many([[1] * 4, [1] * 4, [700, 1699, 1700, 1701]]).scores
    assert scores.tolist()[:2] == [0, 0]
    assert scores[2:].tolist() == [((1 - 3 / 2) * 2) ** 2 / 3, ((2 - 4 / 2) * 2) ** 2 / 4]


def test_counts_decay_by_elapsed_ticks() -> None:
    # Case C91: 64 edges in tick 1, the next in tick 2 or in tick 1000. The reference counts 33 in both.
    def count(decay: str, tick: int) -> float:
        engine = engine_of("relational", decay)
        engine.step_many([[1] * 64, [2] * 64, [1] * 64])
        score = engine.step_many([[1], [2], [tick]]).scores.item()
        # Of (a - s/t)² t² / (s (t - 1)) with s = 65.
        return float((score * 65 * (tick - 1)) ** 0.5 / tick + 65 / tick)

    assert count("per-tick", 2) == count("elapsed", 2) == pytest.approx(33)
    assert count("per-tick", 1000) == pytest.approx(33)
    assert count("elapsed", 1000) == pytest.approx(1)


@given(stream, st.sampled_from(VARIANTS), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_late_edges_leave_what_they_would_have_left_in_time(edges: Any, variant: str, dice: Any) -> None:
    times = np.cumsum([gap for *_, gap in edges])
    rows = [(s, d, int(t)) for (s, d, _), t in zip(edges, times, strict=True)]
    last = (0, 0, int(times[-1]) + 1)
    late = rows[1:]
    dice.shuffle(late)
    # In filtering as long as nothing is kept out: what is depends on the scores, and they on the order.
    options = {"threshold": "1e300"} if variant == "filtering" else {}
    in_time, out_of_order = (engine_of(variant, "elapsed", **options) for _ in range(2))
    in_time.step_many(list(zip(*rows, last, strict=True)))
    out_of_order.step_many(list(zip(rows[0], *late, last, strict=True)))
    asked = [list(range(4)) * 4, [at // 4 for at in range(16)], [last[2]] * 16]
    np.testing.assert_allclose(
        out_of_order.score_many(asked).scores, in_time.score_many(asked).scores, rtol=1e-9, atol=1e-9
    )


@variants
def test_a_replay_of_old_edges_is_no_burst(variant: str) -> None:
    engine = engine_of(variant, "elapsed")
    times = np.repeat(np.arange(100), 5)
    edges = np.ones(500, int)
    engine.step_many([edges, edges, times])
    now = [[1], [1], [99]]
    before = engine.score_many(now).scores.item()
    old = times[times < 60]
    replayed = engine.step_many([np.full(len(old), 2), np.full(len(old), 2), old]).scores
    assert replayed.max() <= 100, "an edge that was never seen scores the number of ticks, and no more when it is late"
    assert engine.score_many(now).scores.item() == before
    assert engine_of(variant, "elapsed").step_many([[1], [1], [0]]).scores.item() == 0
    # Before the first edge is late, too; the clock does not go back.
    assert np.isfinite(engine.step_many([[1] * 3, [1] * 3, [-1, -(1 << 52), 99]]).scores).all()


def test_with_per_tick_a_late_edge_counts_into_the_current_tick() -> None:
    late, now = engine_of("relational", "per-tick"), engine_of("relational", "per-tick")
    late.step_many([[1, 1, 2], [1, 1, 2], [1, 9, 3]])
    now.step_many([[1, 1, 2], [1, 1, 2], [1, 9, 9]])
    asked = [[1, 2], [1, 2], [9, 9]]
    assert late.score_many(asked).scores.tolist() == now.score_many(asked).scores.tolist()


def test_counts_do_not_saturate() -> None:
    # A float of 32 bits stops at 2^24, and with it the reference.
    engine, block = engine_of("normal", "elapsed", num_columns="8"), 1 << 20
    edges, times = np.ones(block, np.int64), np.zeros(block, np.int64)
    for _ in range(17):
        engine.step_many([edges, edges, times])
    total = 17 * block + 1
    found = engine.score_many([[1], [1], [1]]).scores.item()
    wanted = ((1 - total / 2) * 2) ** 2 / total  # the first edge of tick 2
    assert found == pytest.approx(wanted, rel=1e-12)
    assert total > 1 << 24
