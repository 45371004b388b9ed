"""Guardrails are read with all that is wrong at once, and judged by their whole interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.guardrails import Guardrail, judge_interval, parse_guardrails, unknown_in_guardrails
from thalweg.udfs.logic.sequential_tests import Interval


def test_guardrails_are_read_with_their_units() -> None:
    text = "LogLoss not worse than 0.01; latency_p99.9 < 1.5 s; slice( carrier ); failures < 2 %; Reward > -1e-2;"
    assert parse_guardrails(text) == (
        Guardrail("LogLoss", "not worse", 0.01),
        Guardrail("latency_p99.9", "<", 1500.0),
        Guardrail("carrier", "slice", 0.0),
        Guardrail("failures", "<", 0.02),
        Guardrail("Reward", ">", -0.01),
    )
    assert parse_guardrails(" none ") == ()


@pytest.mark.parametrize(
    "text",
    [
        "LogLoss", "LogLoss worse than 1", "latency < 5 ms", "latency_p99 < 5", "latency_p99 > 5 ms",
        "latency_p0 < 1 ms", "failures < 2", "failures > 1 %", "LogLoss < 5 ms", "LogLoss < 5 %", 
        "LogLoss not worse than -1", "LogLoss < 1e999", "slice()", "",  ";", "LogLoss < 1; LogLoss < 1",
    ],
)  # fmt: skip
def test_what_is_no_guardrail_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_guardrails(text)


def test_all_wrong_guardrails_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"'a b'.*'latency_p99 < 5'"):
        parse_guardrails("a b; MAE < 1; latency_p99 < 5")
    rules = parse_guardrails("MAE < 2; Reward > 1; slice(city); failures < 1 %; latency_p50 < 1 ms")
    assert unknown_in_guardrails(rules, ["MAE"], ["city"]) == ["Reward > 1"]
    assert unknown_in_guardrails(rules, ["Reward"], []) == ["MAE < 2", "slice(city)"]


@given(st.sampled_from(["LogLoss", "MAE", "Reward"]), st.sampled_from(["<", ">", "not worse"]), st.integers(0, 10**5))
def test_a_guardrail_is_read_as_it_is_told(metric: str, sign: str, bound: int) -> None:
    rule = Guardrail(metric, sign, bound / 8)
    assert parse_guardrails(rule.told()) == (rule._replace(bound=float(f"{rule.bound:g}")),)


def test_a_verdict_needs_the_whole_interval() -> None:
    states = [
        judge_interval(Interval(value, value - 0.1, value + 0.1, 0.0, 9), 0.0, "").state for value in (0.2, 0.05, -0.2)
    ]
    assert states == ["kept", "open", "broken"]
