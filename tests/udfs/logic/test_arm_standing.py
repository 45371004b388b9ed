"""When a promotion is taken back: shown in spite of regimes, by more than the margin, and more than was won."""

from __future__ import annotations

import pytest
from thalweg.udfs.logic.arm_standing import Standing, evidence_of, regression
from thalweg.udfs.logic.sequential_tests import Interval

NOTHING = Interval(0.0, float("-inf"), float("inf"), 0.0, 0)
WORSE = Interval(0.05, 0.02, 0.08, 9.0, 2000)


def standing(steady: Interval = NOTHING, recent: Interval = NOTHING) -> Standing:
    return Standing(2000, WORSE, steady, recent, 0.0, 0.0, NOTHING, ())


@pytest.mark.parametrize(
    ("credit", "margin", "least", "taken_back"),
    [(0.0, 0.0, 1000, True), (99.0, 0.0, 1000, True), (101.0, 0.0, 1000, False), (0.0, 0.03, 1000, False),
     (0.0, 0.0, 3000, False)],
)  # fmt: skip
def test_a_regression_needs_evidence_margin_and_loss(
    credit: float, margin: float, least: int, taken_back: bool
) -> None:
    for before in (standing(WORSE), standing(recent=WORSE)):
        assert (regression(before, credit, margin, least) is not None) == taken_back
    assert regression(standing(), 0.0, 0.0, 1) is None  # that it is better without regard to regimes is not enough


def test_evidence_has_finite_figures_alone() -> None:
    assert evidence_of(standing()._replace(better=NOTHING)) == {"samples": 2000, "difference": 0.0, "e_value": 1.0}
