"""Classes of River whose pickles cannot be read, or written, can be kept, and compute what they did."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import feature_extraction, preprocessing, time_series
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.river_mends import Codes
from thalweg.udfs.engines.safe_pickle import dumps, loads

HOLT_WINTERS: list[dict[str, Any]] = [
    {"alpha": 0.3},
    {"alpha": 0.3, "beta": 0.2, "multiplicative": True},
    {"alpha": 0.3, "beta": 0.1, "gamma": 0.5, "seasonality": 4},
]


@pytest.mark.parametrize("settings", HOLT_WINTERS)
def test_holt_winters_goes_on_as_if_it_had_never_stopped(settings: dict[str, Any]) -> None:
    whole, resumed = (time_series.HoltWinters(**settings) for _ in range(2))
    for n in range(30):
        resumed = loads(dumps(resumed)) if n % 2 else copy.deepcopy(resumed)
        whole.learn_one(5.0 + n % 4)
        resumed.learn_one(5.0 + n % 4)
        assert dumps(whole) == dumps(resumed)
        if n > 4:
            assert whole.forecast(6) == resumed.forecast(6)
    assert resumed.level.maxlen == 2


@given(st.sets(st.integers(-2, 9)), st.integers(0, 20))
def test_codes_are_those_of_rivers_counter(skipped: set[int], count: int) -> None:
    codes = Codes(skipped)
    expected = itertools.islice((n for n in itertools.count() if n not in skipped), count)
    assert [next(codes) for _ in range(count)] == list(expected)


def test_an_ordinal_encoder_keeps_its_place() -> None:
    encoder = preprocessing.OrdinalEncoder()
    for city in ("ulm", "bonn", "ulm"):
        encoder = loads(dumps(encoder))
        encoder.learn_one({"city": city})
    assert [encoder.transform_one({"city": city})["city"] for city in ("ulm", "bonn", "jena")] == [1, 2, 0]


def test_a_range_of_words_is_short() -> None:
    for longest in (1, 3, 99):
        bag = feature_extraction.BagOfWords(on="t", ngram_range=(1, longest))
        assert loads(dumps(bag)).transform_one({"t": "a river bed"}) == bag.transform_one({"t": "a river bed"})
    with pytest.raises(SnapshotError, match="longer than a phrase"):
        loads(dumps(feature_extraction.BagOfWords(ngram_range=(1, 10**9))))
