"""The gate: what passes, what does not, and that the fast way and the careful way agree."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.gate import Gate, coerce, usable

FIELDS = (Field("a", "number"), Field("n", "integer"), Field("b", "boolean"), Field("s", "string"))
GOOD = {"a": 1.5, "n": 2, "b": True, "s": "x"}
STRICT = Gate(FIELDS, skip_null=False)
LENIENT = Gate(FIELDS, skip_null=True)


@pytest.mark.parametrize(
    ("kind", "value", "plain"),
    [
        ("number", 1, 1.0),
        ("number", Decimal("0.1"), 0.1),
        ("number", np.float32(0.5), 0.5),
        ("number", np.int8(3), 3.0),
        ("number", 2**70, float(2**70)),
        ("integer", 3.0, 3),
        ("integer", Decimal("4"), 4),
        ("integer", np.int64(5), 5),
        ("integer", -(2**63), -(2**63)),
        ("boolean", np.True_, True),
        ("string", np.str_("ü"), "ü"),
        ("string", "", ""),
    ],
)
def test_what_means_the_same_becomes_the_declared_type(kind: str, value: Any, plain: Any) -> None:
    found = coerce("x", kind, value)
    assert (type(found), found) == (type(plain), plain)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(
            (kind, value)
            for kind in ("number", "integer")
            for value in (
                math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1e999"),
                np.float64("nan"), 10**400, "1", b"1", True, np.False_, [1.0], 1j, object(),
            )
        ),
        ("integer", 0.5),
        ("integer", 2**63),
        ("integer", -(2**63) - 1),
        ("boolean", 1),
        ("boolean", "true"),
        ("boolean", 0.0),
        ("boolean", 10**400),
        ("string", 1),
        ("string", b"a"),
        ("string", True),
        ("string", 10**400),
    ],
)  # fmt: skip
def test_what_does_not_is_refused_by_name(kind: str, value: Any) -> None:
    with pytest.raises(RecordError, match=r"^'x' (is not finite|should be an? )"):
        coerce("x", kind, value)


@pytest.mark.parametrize("value", [1e150, -1e150, 1.7e308, Decimal("1e200")])
def test_a_number_whose_square_is_infinite_cannot_be_learned(value: Any) -> None:
    assert coerce("a", "number", value) == float(value)
    with pytest.raises(RecordError, match="'a' is too large to be computed with"):
        usable("a", "number", value)
    with pytest.raises(RecordError, match="'a' is too large to be computed with"):
        STRICT.row({**GOOD, "a": value})


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "string"])
def test_a_number_too_long_to_be_written_out_is_refused(kind: str) -> None:
    with pytest.raises(RecordError, match=r"^'x'"):
        coerce("x", kind, 10**5000)


def test_all_faults_of_a_row_are_told() -> None:
    with pytest.raises(RecordError) as caught:
        STRICT.row({"a": math.nan, "n": "1", "b": None})
    assert str(caught.value) == (
        "'a' is not finite (nan); 'n' should be an integer and is '1' (str); 'b' is NULL; 's' is missing"
    )


def test_a_lenient_gate_leaves_out_what_is_missing_and_nothing_else() -> None:
    assert LENIENT.row({"a": None, "s": "x", "n": 1}) == {"n": 1, "s": "x"}
    assert LENIENT.row({}) == {}
    with pytest.raises(RecordError, match="'a' is not finite"):
        LENIENT.row({"a": math.nan})


def test_the_order_is_the_declared_one_and_the_row_is_not_kept() -> None:
    row = {"zzz": 1, "s": "x", "b": True, "n": 2, "a": 1.5}
    for gate in (STRICT, LENIENT):
        taken = gate.row(row)
        assert list(taken) == ["a", "n", "b", "s"]
        taken.clear()
    assert len(row) == 5
    assert Gate((), skip_null=False).values({"a": 1}) == ()
    assert Gate(FIELDS[:1], skip_null=False).values(GOOD) == (1.5,)


def test_named_features_alone_may_be_missing() -> None:
    gate = Gate(FIELDS, skip_null={"n", "s"})
    assert gate.row({"a": 1, "b": True, "n": None}) == {"a": 1.0, "b": True}
    assert gate.row(GOOD) == STRICT.row(GOOD)
    with pytest.raises(RecordError, match="'a' is missing; 'b' is NULL"):
        gate.row({"b": None})
    with pytest.raises(RecordError, match="'n' should be an integer"):
        gate.row({**GOOD, "n": "1", "s": None})


anything = st.one_of(
    st.floats(),
    st.integers(),
    st.booleans(),
    st.text(max_size=3),
    st.none(),
    st.decimals(),
    st.sampled_from(
        [1e150, -1e149, 2**63, 2**63 - 1, 10**400, np.float32(1), np.int16(1), np.bool_(True), np.str_("x")]
    ),
)


@settings(max_examples=300)
@given(st.fixed_dictionaries({name: anything for name in GOOD}))
@example({"a": 9.3e18, "n": 2**62, "b": False, "s": "x"})
@example({"a": 1e149, "n": 1, "b": False, "s": "x"})
def test_the_fast_way_is_the_careful_way(row: dict[str, Any]) -> None:
    expected: dict[str, Any] = {}
    faulty = False
    for name, kind in FIELDS:
        try:
            if row[name] is None:
                raise RecordError("NULL")
            expected[name] = usable(name, kind, row[name])
        except RecordError:
            faulty = True
    try:
        found = STRICT.row(row)
    except RecordError:
        assert faulty
        return
    assert not faulty
    assert found == expected
    assert list(map(type, found.values())) == [float, int, bool, str]
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))
    assert tuple(found.values()) == STRICT.values(row)
    assert LENIENT.row(row) == found
