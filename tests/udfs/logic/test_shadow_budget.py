"""A slow shadow answers a share of the events, learns every label, and answers all again once it is fast."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP
from thalweg.udfs.logic.shadow_budget import ShadowBudget

MS = 1_000_000


@given(st.lists(st.sampled_from([SCORE, STEP, SCORE_LATE, LEARN]), max_size=60), st.integers(1, 400))
def test_every_label_is_learned_and_the_share_is_that_of_the_budget(kinds: list[int], cost_ms: int) -> None:
    budget = ShadowBudget(2.0)
    budget.spent(10, 10 * cost_ms * MS)
    kept = budget.kept([kinds, list(range(len(kinds)))])
    asked = [kind for kind in kinds if kind != LEARN]
    answered = [kind for kind in kept[0] if kind != LEARN]
    share = min(1.0, max(0.01, 2.0 / cost_ms))
    assert abs(len(answered) - share * len(asked)) < 1 + 1e-9
    labels = [at for at, kind in enumerate(kinds) if kind in (STEP, LEARN)]
    assert [at for kind, at in zip(*kept, strict=True) if kind in (STEP, LEARN)] == labels
    assert kept[1] == sorted(kept[1])


def test_a_shadow_that_has_become_fast_answers_all_again() -> None:
    budget = ShadowBudget(2.0)
    block = [[SCORE] * 100, list(range(100))]
    assert budget.kept(block) is block
    budget.spent(100, 100 * 100 * MS)
    assert len(budget.kept(block)[0]) == 2
    for _ in range(40):
        budget.spent(100, 100 * MS)
    assert budget.kept(block) is block
    budget.spent(0, 5 * MS)
    assert budget.kept([[], []]) == [[], []]
