"""Orders between Kafka and the machine: their signatures are checked and taken off, and all else stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_comparison_operator import ARMS, LAYOUT, MS, PLAN, packed
from test_operators import Flink
from thalweg.connector.errors import ConfigError
from thalweg.connector.keys import generate_key
from thalweg.connector.orders import sign_order
from thalweg.connector.signing import Trust
from thalweg.udfs.flink.comparison_operator import RECORDS, SERVED_TYPES, ComparisonOperator
from thalweg.udfs.flink.vouched_orders import vouched
from thalweg.udfs.logic.comparison import ANSWER, COMMAND

KEY = generate_key("ed25519", "maria")
TRUST = Trust([KEY.public()], required=True)
ORDER = {
    "model": "delay", "command": "freeze", "argument": "", "issued_by": "me", "reason": "storm", "issued_ms": MS,
}  # fmt: skip


def detail_of(record: dict[str, Any]) -> str:
    return json.dumps({name: record[name] for name in ("argument", "issued_by", "reason", "issued_ms")})


def block(*details: str | None, command: str | None = "freeze") -> list[list[Any]]:
    rows = [(ANSWER, 0, "e", None, MS, MS, 0.5, "true", '{"a": 1}', None)]
    rows += [(COMMAND, 0, "", None, MS, MS, None, command, detail, None) for detail in details]
    return [list(column) for column in zip(*rows, strict=True)]


def told(detail: str | None, trust: Trust | None = TRUST, name: str = "delay", **changes: Any) -> dict[str, Any]:
    seen = vouched(block(detail, **changes), name, trust)
    assert seen[8][0] == '{"a": 1}'
    found: dict[str, Any] = json.loads(seen[8][1])
    return found


def test_an_order_has_the_name_of_who_signed_it() -> None:
    found = told(detail_of(sign_order(ORDER, KEY)))
    assert (found["key_id"], found["issued_by"], found["reason"]) == ("maria", "me", "storm")
    assert "refused" not in found


def test_without_keys_the_signature_is_taken_off_and_nothing_is_checked() -> None:
    assert told(detail_of(sign_order(ORDER, KEY)), None) == json.loads(detail_of(ORDER))
    assert told(detail_of(ORDER), None)["issued_by"] == "me"


@pytest.mark.parametrize(
    ("detail", "changes", "says"),
    [
        (detail_of(ORDER), {}, "not signed"),
        (detail_of(sign_order(ORDER, KEY)), {"name": "fraud"}, "not what 'maria' has signed"),
        (detail_of(sign_order(ORDER, KEY)), {"command": "resume"}, "not what 'maria' has signed"),
        (detail_of(sign_order(ORDER, KEY)).replace("storm", "sun"), {}, "not what 'maria' has signed"),
        (detail_of(sign_order(ORDER, generate_key("ed25519", "eve"))), {}, "'eve', who is not trusted"),
        (detail_of({**ORDER, "issued_by": None}), {}, "not a whole order"),
        (None, {}, "not a whole order"),
        (detail_of(sign_order(ORDER, KEY)), {"command": None}, "not a whole order"),
    ],
    ids=["unsigned", "redirected", "of-another-command", "altered", "foreign", "of-nobody", "none", "of-no-command"],
)
def test_an_order_that_nobody_vouches_for_has_the_reason(detail: str | None, changes: Any, says: str) -> None:
    found = told(detail, **changes)
    assert says in found["refused"]
    assert "key_id" not in found
    assert "order_id" not in found


@given(st.one_of(st.none(), st.text(max_size=60), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["argument", "issued_by", "reason", "issued_ms", "key_id", "order_id", "refused"]), inner, max_size=7)),
).map(json.dumps)))  # fmt: skip
def test_no_order_breaks_the_job_and_none_gives_itself_a_name(detail: str | None) -> None:
    found = told(detail)
    assert "refused" in found
    assert not {"key_id", "order_id"} & found.keys()
    assert not {"key_id", "order_id", "refused"} & told(detail, None).keys()


def decisions(emitted: list[Any]) -> list[tuple[str, str]]:
    at = len(SERVED_TYPES) + list(RECORDS).index("decision")
    rows = [list(list(row)[at]) for row in emitted if list(row)[at] is not None]
    place = {name: number for number, name in enumerate(RECORDS["decision"])}
    return [(row[place["decision"]], row[place["decided_by"]]) for row in rows]


def test_an_operator_obeys_who_is_trusted_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_TEST_CONTROL", KEY.public().text())
    plan = PLAN._replace(order_max_age_ms=3_600_000)
    flink = Flink(ComparisonOperator(plan, LAYOUT, ("env:THALWEG_TEST_CONTROL",)))
    answers = [
        (ANSWER, arm, "e", '["u"]', MS, MS, 0.5, "true", *([None] * 2), "ok", "", "", 1, "1", 1.0, 1)
        for arm in range(len(ARMS))
    ]
    signed = detail_of(sign_order(ORDER, KEY))
    orders = [
        (COMMAND, 0, "", None, MS + n, MS + n, None, "freeze", detail, *([None] * 8))
        for n, detail in enumerate((detail_of(ORDER), signed, signed), 1)
    ]
    out = flink.take(packed(answers + orders))
    out += flink.take(MS + 10)
    assert decisions(out) == [
        ("start", "thalweg"),
        ("refuse", "(unproven) me"),
        ("freeze", "maria"),
        ("refuse", "maria"),
    ]


def test_a_key_that_is_not_there_ends_the_job_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THALWEG_TEST_CONTROL", raising=False)
    with pytest.raises(ConfigError, match="model delay, option 'control-keys': the environment variable THALWEG_TEST"):
        Flink(ComparisonOperator(PLAN, LAYOUT, ("env:THALWEG_TEST_CONTROL",)))
