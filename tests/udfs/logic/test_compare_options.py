"""Options of a comparison: how each is read, and what is said about one that cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.compare_options import COMPARE_OPTIONS, read_shares

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(st.dictionaries(NAMES, st.integers(0, 100), min_size=1), st.sampled_from([",", " , ", ",\n"]))
def test_shares_are_read_as_they_are_written(shares: dict[str, int], comma: str) -> None:
    text = comma.join(f"{name}: {share}" for name, share in shares.items())
    assert read_shares(text) == tuple((name, float(share)) for name, share in shares.items())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not of the form 'delay_v2:20'"),
        ("a:10,", "'' is not of the form"),
        ("a", "'a' is not of the form"),
        ("a:", "'a:' is not of the form"),
        (":5", "':5' is not of the form"),
        ("a:101", "'a:101' is not of the form"),
        ("a:-1", "'a:-1' is not of the form"),
        ("a:nan", "'a:nan' is not of the form"),
        ("a:1:2", "'a:1:2' is not of the form"),
        ("a:1, b:2, a:3", "'a' is named twice"),
    ],
)
def test_shares_that_are_none_are_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_shares(text)


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("alpha", "0.6", "'0.6' is not a number above 0 and at most 0.5"),
        ("alpha", "0", "is not a number above 0"),
        ("alpha", "often", "'often' is not a number"),
        ("min-samples", "0", "is not a whole number from 1"),
        ("promote", "yes", "'yes' is not one of auto, manual"),
        ("allocation", "softmax", "is not one of fixed, thompson, epsilon, ucb"),
        ("exploration", "2", "at most 1"),
        ("reward-cap", "-5", "above 0"),
        ("min-duration", "soon", "is not a duration"),
    ],
)
def test_values_out_of_bounds_are_told(option: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        COMPARE_OPTIONS[option].read(text)


def test_every_default_can_be_read_and_every_option_has_a_meaning() -> None:
    for name, option in COMPARE_OPTIONS.items():
        assert option.default is None or option.read(option.default) is not None, name
        assert option.meaning
        assert "|" not in option.meaning, "it stands in a table"
