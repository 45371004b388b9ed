"""Signed orders: each field is vouched for, and a copy of one is known as a copy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import SignatureError
from thalweg.connector.keys import generate_key
from thalweg.connector.orders import check_order, sign_order
from thalweg.connector.signing import Trust
from thalweg.connector.wire import decode, encode

KEY = generate_key("ed25519", "maria")
TRUST = Trust([KEY.public()], required=True)
ORDER = {
    "model": "delay", "command": "promote", "argument": "v2", "issued_by": "me", "reason": "better", "issued_ms": 7,
}  # fmt: skip
CHANGES: dict[str, Any] = {
    "model": "fraud", "command": "freeze", "argument": "v3", "reason": "", "issued_ms": 8, "issued_by": "you",
}  # fmt: skip


def through_kafka(record: dict[str, Any]) -> dict[str, Any]:
    return decode("control", encode("control", record))


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_who_signed_an_order_is_told(reason: str, issued_ms: int) -> None:
    order = {**ORDER, "reason": reason, "issued_ms": issued_ms}
    found = check_order(through_kafka(sign_order(order, KEY)), TRUST)
    assert found.key_id == "maria"
    assert len(found.order_id) == 32


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_an_order_that_was_changed_is_refused_also_one_to_another_model(field: str) -> None:
    signed = sign_order(ORDER, KEY)
    changed = CHANGES[field]
    if field == "issued_by":
        changed = signed["issued_by"].replace("me", "you", 1)
    with pytest.raises(SignatureError, match="not what 'maria' has signed"):
        check_order({**signed, field: changed}, TRUST)
    assert set(CHANGES) == set(ORDER)


def test_an_order_that_nobody_vouches_for_is_refused() -> None:
    with pytest.raises(SignatureError, match="not signed"):
        check_order(ORDER, TRUST)
    with pytest.raises(SignatureError, match="'eve', who is not trusted"):
        check_order(sign_order(ORDER, generate_key("ed25519", "eve")), TRUST)
    with pytest.raises(SignatureError, match="not what"):
        check_order(sign_order(ORDER, generate_key("ed25519", "maria")), TRUST)


def test_copies_have_one_id_and_other_orders_another() -> None:
    first = check_order(sign_order(ORDER, KEY), TRUST)
    assert check_order(sign_order(ORDER, KEY), TRUST) == first
    signed_twice = sign_order(sign_order(ORDER, KEY), KEY)
    assert check_order(signed_twice, TRUST) == first
    later = check_order(sign_order({**ORDER, "issued_ms": 8}, KEY), TRUST)
    assert later.order_id != first.order_id
