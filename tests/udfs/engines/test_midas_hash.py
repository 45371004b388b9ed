"""Hashes of nodes, held against the vector of SipHash's authors and against another implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.caching import CacheImpl, UserProvidedCacheLocator
from pandas.util import hash_array
from thalweg.udfs.engines import midas_compile
from thalweg.udfs.engines.midas_hash import mix, salts_of, text_key, text_keys

KEY = "a key of 16 byte"
SALTS = np.frombuffer(KEY.encode(), "<u8").astype(np.uint64)
FIRST, SECOND = SALTS.tolist()


def test_the_vector_of_the_paper() -> None:
    # Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A.
    salts = np.frombuffer(bytes(range(16)), "<u8").astype(np.uint64)
    assert text_keys(["".join(map(chr, range(15)))], salts).tolist() == [0xA129CA6149BE45E5]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1))
def test_keys_are_those_of_pandas(texts: list[str]) -> None:
    wanted = hash_array(np.array(texts, object), hash_key=KEY, categorize=False).tolist()
    # Pandas, too, mixes what SipHash-2-4 gives as SplitMix64 does.
    assert [int(mix(key)) for key in text_keys(texts, SALTS)] == wanted
    assert [int(mix(np.uint64(text_key(text, (FIRST, SECOND))))) for text in texts] == wanted


def test_any_text_has_a_key() -> None:
    texts = ["", "\ud800", "\0", "a" * 1000, "ü" * 65, "\0\0"]
    keys = text_keys(texts, SALTS).tolist()
    assert len(set(keys)) == len(texts)
    assert [text_key(text, (FIRST, SECOND)) for text in texts] == keys
    assert text_keys([], SALTS).tolist() == []


def test_mixing_is_that_of_splitmix64() -> None:
    # The first number of SplitMix64 from seed 1234567, as Rosetta Code lists it.
    assert int(mix(np.uint64(1234567 + 0x9E3779B97F4A7C15))) == 6457827717110365317


def test_salts_follow_from_the_seed() -> None:
    assert salts_of(7, 5).tolist() == salts_of(7, 9).tolist()[:5]
    assert not set(salts_of(7, 5).tolist()) & set(salts_of(8, 5).tolist())


@pytest.mark.parametrize("folder", ["none", "a file"])
def test_where_nothing_can_be_written_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "a file").touch()

    class Place(UserProvidedCacheLocator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            return cls(py_func, py_file)

        def get_cache_path(self) -> str:
            return str(tmp_path / folder / "below")

    monkeypatch.setattr(CacheImpl, "_locator_classes", [] if folder == "none" else [Place])
    assert midas_compile.compiled(_doubled)(21) == 42
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def _doubled(x: int) -> int:
    return 2 * x
