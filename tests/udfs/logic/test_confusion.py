"""Counted pairs give what River gives row by row."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics
from thalweg.udfs.logic.confusion import OF_CLASSES, OF_EVENTS, by_decisions, decided

BOOLEANS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
TEXTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=2, max_size=60)


@pytest.mark.parametrize("name", [*OF_EVENTS, *OF_CLASSES])
@settings(max_examples=15, deadline=None)
@given(booleans=BOOLEANS, texts=TEXTS)
def test_counts_are_as_good_as_rows(name: str, booleans: list[tuple[bool, bool]], texts: list[tuple[str, str]]) -> None:
    options = {"beta": 2.0} if "FBeta" in name else {}
    text = name + ("(beta=2.0)" if options else "")
    assert by_decisions(text)
    for pairs in [booleans, texts] if name in OF_CLASSES else [booleans]:
        one = getattr(metrics, name)(**options)
        for truth, predicted in pairs:
            one.update(truth, predicted)
        try:
            expected = one.get()
        except ArithmeticError:
            expected = None
        found = decided(text, Counter(pairs))
        if expected is not None and found is not None:
            assert found == pytest.approx(expected, abs=1e-9)
        else:
            assert found is None


def test_what_cannot_be_made_is_no_metric() -> None:
    assert not any(map(by_decisions, ("FBeta", "F1(nonsense=1)", "ROCAUC", "", "__import__('os')")))
    assert decided("F1", {}) is None
