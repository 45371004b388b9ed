"""Figures of one ranking, by their definitions."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.ranking_measures import ranking_figures


@given(st.lists(st.text(max_size=3), unique=True, max_size=20), st.text(max_size=3))
def test_ranking_figures_are_what_they_are_defined_to_be(ranked: list[str], truth: str) -> None:
    found = ranking_figures(ranked, truth)
    gains = [float(item == truth) for item in ranked]
    assert found["HitRate"] == sum(gains)
    assert found["NDCG"] == sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))
    assert found["MRR"] == sum(gain / (place + 1) for place, gain in enumerate(gains))
