"""Baselines against plain loops, however the rows are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.udfs.logic.baselines import Baselines


@settings(deadline=None)
@given(st.sampled_from(["boolean", "string", "number"]), st.integers(0, 99), st.lists(st.integers(0, 80)))
def test_cuts_and_restarts_change_no_bit(kind: str, seed: int, cuts: list[int]) -> None:
    dice = np.random.default_rng(seed)
    truth = dice.normal(0, 9, 80) if kind == "number" else dice.integers(0, 2 if kind == "boolean" else 5, 80) * 1.0
    weight = np.where(dice.random(80) < 0.1, -1, 1)
    whole, parts, kept = Baselines(kind).on_rows(truth, weight), [], Baselines(kind)
    edges = [0, *sorted(cuts), 80]
    for start, stop in pairwise(edges):
        if stop > start:
            parts.append(kept.on_rows(truth[start:stop], weight[start:stop]))
            state = json.loads(json.dumps(kept.state()))
            kept = Baselines(kind)
            kept.load(state)
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


def test_numbers_are_given_the_mean_and_the_last() -> None:
    truth = np.array([3.0, 5.0, -2.0, 4.0])
    prior, _, last, _ = Baselines("number").on_rows(truth, np.ones(4, dtype=int))
    assert prior.tolist() == [0.0, 3.0, 4.0, 2.0]
    assert last.tolist() == [0.0, 3.0, 5.0, -2.0]


def test_booleans_are_given_their_shares_by_the_rule_of_succession() -> None:
    truth = np.array([1.0, 1.0, 0.0, 0.0])
    prior, prior_right, last, last_right = Baselines("boolean").on_rows(truth, np.ones(4, dtype=int))
    assert prior == pytest.approx([1 / 2, 2 / 3, 1 - 3 / 4, 1 - 3 / 5])
    assert last == pytest.approx([1 / 2, 1 / 2, 1 - 2 / 3, 2 / 4])
    assert prior_right.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert last_right.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_two_classes_are_told_apart_as_texts_too() -> None:
    prior, right, last, again = Baselines("string").on_rows(np.array([1.0, 2.0, 2.0, 2.0]), np.ones(4, dtype=int))
    assert prior == pytest.approx([1.0, 1 / 3, 2 / 5, 3 / 6])
    assert (right.tolist(), again.tolist()) == ([0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    assert last[3] == pytest.approx(2 / 4)
