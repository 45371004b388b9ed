"""Slices: bounded values, the worst one named, figures as of their own rows alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from thalweg.udfs.logic.measures import Answers
from thalweg.udfs.logic.slices import OTHER, SliceBook


def answers(count: int, seed: int = 0) -> Answers:
    dice = np.random.default_rng(seed)
    score, truth = dice.random(count), (dice.random(count) < 0.4).astype(float)
    right = ((score > 0.5) == (truth > 0.5)).astype(float)
    return Answers(score, truth, right, np.where(truth > 0.5, score, 1 - score), (score > 0.5).astype(float))


def test_values_after_the_first_ones_are_other_and_null_is_one() -> None:
    book = SliceBook(("carrier",), ("LogLoss",), "boolean", "LogLoss", most=2)
    rows = answers(5)
    codes = book.codes(['["UA"]', "[null]", '["DL"]', '["UA"]', None])
    book.add(codes, rows, np.ones(5, dtype=int))
    count = {f.slice: f.count for f in book.measures(codes, rows) if f.window == "cumulative"}
    assert count == {f"carrier={OTHER}": 1, "carrier=UA": 2, "carrier=(null)": 2}


def test_a_slice_is_measured_as_if_it_were_alone_and_the_worst_is_named() -> None:
    rows, texts = answers(300), [json.dumps(["ab"[n % 2], f"{n % 3}"]) for n in range(300)]
    book = SliceBook(("x", "y"), ("LogLoss", "ROCAUC"), "boolean", "LogLoss")
    codes = np.concatenate([book.codes(texts[:100]), book.codes(texts[100:])])
    for part in (slice(0, 100), slice(100, 300)):
        book.add(codes[part], Answers(*(values[part] for values in rows)), np.ones(part.stop - part.start, dtype=int))
        again = SliceBook(("x", "y"), ("LogLoss", "ROCAUC"), "boolean", "LogLoss")
        again.load(json.loads(json.dumps(book.state())))
        book = again
    figures = {(f.slice, f.metric, f.window): f.value for f in book.measures(codes, rows)}
    losses = -np.log(rows.p_true)
    means = {f"x={'ab'[at]}": losses[at::2].mean() for at in (0, 1)}
    means |= {f"y={at}": losses[at::3].mean() for at in (0, 1, 2)}
    for name, mean in means.items():
        assert figures[name, "LogLoss", "cumulative"] == pytest.approx(mean)
        assert figures[name, "LogLoss", "rolling"] == pytest.approx(mean)
    worst = max(means, key=lambda name: means[name])
    assert figures[worst, "worst.LogLoss", "rolling"] == pytest.approx(means[worst])
