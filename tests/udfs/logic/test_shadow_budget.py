"""A slow shadow answers a share of the events, and all again once it is fast; it never takes more than its budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP
from thalweg.udfs.logic.shadow_budget import ShadowBudget

MS = 1_000_000


@given(st.lists(st.sampled_from([SCORE, STEP, SCORE_LATE, LEARN]), max_size=60), st.integers(1, 400))
def test_every_label_is_learned_and_the_share_is_that_of_the_budget(kinds: list[int], cost_ms: int) -> None:
    budget = ShadowBudget(2.0)
    budget.spent(4, 4 * cost_ms * MS)
    kept = budget.kept([kinds, list(range(len(kinds)))])
    asked = [kind for kind in kinds if kind != LEARN]
    answered = [kind for kind in kept[0] if kind != LEARN]
    share = min(1.0, 2.0 / cost_ms)
    assert abs(len(answered) - share * len(asked)) < 1 + 1e-9
    labels = [at for at, kind in enumerate(kinds) if kind in (STEP, LEARN)]
    assert [at for kind, at in zip(*kept, strict=True) if kind in (STEP, LEARN)] == labels
    assert kept[1] == sorted(kept[1])
    assert (budget.skipped, budget.unlearned) == (len(asked) - len(answered), 0)


def test_a_shadow_that_has_become_fast_answers_all_again() -> None:
    budget = ShadowBudget(2.0)
    block = [[SCORE] * 100, list(range(100))]
    assert budget.kept(block) is block
    budget.spent(10, 10 * 100 * MS)
    assert len(budget.kept(block)[0]) == 2
    for _ in range(40):
        budget.kept(block)
        budget.spent(100, 100 * MS)
    assert budget.kept(block) is block
    budget.spent(0, 5 * MS)
    assert budget.kept([[], []]) == [[], []]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3000)), max_size=60),
    st.sampled_from([0.5, 2.0]),
    st.booleans(),
)
def test_however_slow_it_is_it_takes_no_more_than_its_budget(
    blocks: list[tuple[int, int, int]], budget_ms: float, learns: bool
) -> None:
    """All that it ever takes: the budget of the events, that of 1,000 more, and the block that was too slow."""
    budget, events, taken_ms, longest_ms, done = ShadowBudget(budget_ms), 0, 0.0, 0.0, 0
    for asked, labels, cost_ms in blocks:
        if learns:
            rows = len(budget.kept([[SCORE] * asked + [LEARN] * labels, list(range(asked + labels))])[0])
        else:
            rows = len(budget.picked(asked))
        block_ms = float(rows * cost_ms)
        events, taken_ms, longest_ms, done = events + asked, taken_ms + block_ms, max(longest_ms, block_ms), done + rows
        budget.spent(rows, round(block_ms * MS))
    assert taken_ms <= budget_ms * (events + 1000) + longest_ms + 1e-6
    asked_for = events + (sum(labels for _, labels, _ in blocks) if learns else 0)
    assert done + budget.skipped + budget.unlearned == asked_for


def test_what_it_owes_is_paid_back_by_the_events_that_pass() -> None:
    budget = ShadowBudget(1.0)
    budget.spent(1, 5000 * MS)
    step = [[STEP] * 1000, list(range(1000))]
    assert [len(budget.kept(step)[0]) for _ in range(3)] == [0, 0, 0]
    assert (budget.skipped, budget.unlearned) == (3000, 3000)
    assert len(budget.kept(step)[0]) == 1000, "labels are learned again"
