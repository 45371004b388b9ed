"""Where a new key's model comes from: the prior of its shard, a published model, or nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import MODEL, Store, answers, rows, spec
from river import linear_model, preprocessing
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import NOT_READY, Learner, Score
from thalweg.udfs.logic.learning import LEARN, SCORE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.origins import Kept, blend
from thalweg.udfs.logic.upkeep import Policy

RARELY = Every(1 << 40, None)
WITH_PRIOR = Policy(RARELY, 1 << 26, prior_strength=4)


def labelled(count: int, keys: int, seed: int = 3) -> list[tuple[Any, ...]]:
    pick = random.Random(seed)
    found = []
    for n in range(count):
        a, b = pick.gauss(0, 1), pick.gauss(5, 3)
        found.append((STEP, f"k{pick.randrange(keys)}", f"e{n}", n, n, a * 2 + b > 5, a, b))
    return found


def pipeline() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def test_a_new_key_starts_from_what_the_others_taught_and_ends_on_its_own() -> None:
    """Held against River itself: clone at the first example, blend until there are four."""
    given_rows = labelled(300, 5)
    got = [a[1] for a in answers(LearningLogic(spec(), WITH_PRIOR).on_rows(rows(*given_rows), Store()))]
    prior, seen_by_prior, own, examples, expected = pipeline(), 0, {}, {}, []
    for _, key, _, _, _, y, a, b in given_rows:
        x = {"a": a, "b": b}
        before = prior.predict_proba_one(x)[True] if seen_by_prior else None
        if key not in own:
            own[key], examples[key] = prior.clone(include_attributes=True) if seen_by_prior else pipeline(), 0
        score = own[key].predict_proba_one(x)[True] if seen_by_prior or examples[key] else None
        if score is not None and before is not None and examples[key] < 4:
            weight = examples[key] / 4
            score = weight * score + (1.0 - weight) * before
        expected.append(score)
        own[key].learn_one(x, y)
        examples[key] += 1
        prior.learn_one(x, y)
        seen_by_prior += 1
    assert got == expected


def test_a_key_that_has_learned_nothing_is_answered_by_the_prior() -> None:
    logic, store = LearningLogic(spec(), WITH_PRIOR), Store()
    logic.on_rows(rows(*labelled(50, 3)), store)
    outcome = logic.on_rows(rows((SCORE, "new", "e", 99, 99, None, 1.0, 5.0)), store)
    assert (outcome.answers.columns[6], outcome.answers.columns[8]) == (["ok"], [50])
    assert "new" not in store
    assert store.shared is not None
    assert store.shared.engine(spec()).learned == 50


def test_without_a_prior_a_new_key_knows_nothing() -> None:
    logic, store = LearningLogic(spec(), Policy(RARELY, 1 << 26)), Store()
    logic.on_rows(rows(*labelled(50, 3)), store)
    outcome = logic.on_rows(rows((SCORE, "new", "e", 99, 99, None, 1.0, 5.0)), store)
    assert outcome.answers.columns[6] == ["not_ready"]
    assert store.shared is None


def learned(count: int) -> Learner:
    engine: Any = build(spec())
    for n in range(count):
        engine.learn({"a": float(n % 5), "b": float(n % 3)}, n % 2 == 0)
    return engine  # type: ignore[no-any-return]


class Topic:
    """Published models, and what was asked of them."""

    def __init__(self, found: Mapping[str, Learner]) -> None:
        self.found, self.asked = found, []  # type: ignore[var-annotated]

    def __call__(self, keys: Sequence[str]) -> dict[str, Kept]:
        self.asked.append(list(keys))
        return {key: Kept(spec().to_json(), self.found[key].dump()) for key in keys if key in self.found}


def test_a_published_model_of_the_key_comes_first_and_the_prior_begins_as_the_shared_one() -> None:
    topic = Topic({"mine": learned(30), "": learned(20)})
    logic, store = LearningLogic(spec(), WITH_PRIOR, topic), Store()
    asked = [(SCORE, key, "e", 1, 1, None, 1.0, 2.0) for key in ("mine", "other", "mine")]
    outcome = logic.on_rows(rows(*asked), store)
    assert outcome.answers.columns[8] == [30, 20, 30]
    outcome = logic.on_rows(rows((LEARN, "mine", "e", 2, 2, True, 1.0, 2.0), asked[0], asked[1]), store)
    assert outcome.answers.columns[8] == [31, 21]  # what "mine" learned, the prior learned
    assert store.shared is not None
    begun = learned(20)
    begun.learn({"a": 1.0, "b": 2.0}, True)
    assert store.shared.engine(spec()).dump() == begun.dump()
    assert (store["mine"].inherited, topic.found["mine"].learned) == (30, 30)
    assert topic.asked == [["", "mine", "other"]]


def test_a_key_that_was_forgotten_is_looked_up_again() -> None:
    topic = Topic({"mine": learned(30)})
    logic, store = LearningLogic(spec(), Policy(RARELY, 1 << 26), topic), Store()
    learn = (LEARN, "mine", "e", 1, 1, True, 1.0, 2.0)
    logic.on_rows(rows(learn), store)
    topic.found = {"mine": learned(31)}
    del store["mine"]
    logic.on_rows(rows(learn), store)
    assert store["mine"].engine(spec()).learned == 32


def test_answers_that_are_none_leave_the_other_one() -> None:
    assert blend(NOT_READY, Score(0.3, "false"), 0.5) == Score(0.3, "false")
    assert blend(Score(0.3, "false"), NOT_READY, 0.5) == Score(0.3, "false")
    assert blend(Score(2.0), Score(4.0), 0.25) == Score(3.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.integers(1, 40), min_size=1, max_size=8), st.booleans())
def test_blocks_and_restarts_change_no_bit(seed: int, cuts: list[int], through_bytes: bool) -> None:
    given_rows = labelled(120, 6, seed)
    whole = Store()
    expected = answers(LearningLogic(spec(), WITH_PRIOR).on_rows(rows(*given_rows), whole))
    store, got, at = Store(through_bytes), [], 0
    for cut in [*cuts, len(given_rows)]:
        part = given_rows[at : at + cut]
        if part:
            # A new machine each time: nothing but the store survives a restart.
            got += answers(LearningLogic(spec(), WITH_PRIOR).on_rows(rows(*part), store))
        at += cut
    assert got == expected
    assert {key: cell.dump() for key, cell in store.items()} == {key: cell.dump() for key, cell in whole.items()}
    assert store.shared is not None
    assert whole.shared is not None
    assert store.shared.dump() == whole.shared.dump()


@pytest.mark.parametrize("strength", [1, 1000])
def test_the_prior_is_out_of_the_answers_when_the_key_has_enough(strength: int) -> None:
    policy = Policy(RARELY, 1 << 26, prior_strength=strength)
    store = Store()
    logic = LearningLogic(spec(MODEL), policy)
    logic.on_rows(rows(*labelled(200, 2)), store)
    row = {"a": 1.0, "b": 5.0}
    own = store["k0"].engine(spec()).score([row])[0].score
    outcome = logic.on_rows(rows((SCORE, "k0", "e", 999, 999, None, 1.0, 5.0)), store)
    assert (outcome.answers.columns[3][0] == own) is (strength == 1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), cut=st.integers(20, 180), size=st.integers(1, 90), through_bytes=st.booleans())
def test_a_replay_from_the_start_is_answered_and_learned_once(
    seed: int, cut: int, size: int, through_bytes: bool
) -> None:
    """A job that begins with what another one has published, and reads the whole topic once more."""
    given_rows = labelled(200, 3, seed)
    whole, store = LearningLogic(spec(), Policy(Every(None, cut), 1 << 26)), Store()
    published: dict[str, Kept] = {}
    for row in given_rows:
        outcome = whole.on_rows(rows(row), store)
        for found in outcome.published:
            if found.watermark_ms == cut:  # later ones have not come to be
                published[found.key] = Kept(spec().to_json(), found.blob, found.watermark_ms)

    def lookup(keys: Sequence[str]) -> Mapping[str, Kept]:
        return {key: published[key] for key in keys if key in published}

    policy = Policy(RARELY, 1 << 26, replay_scores=True)
    again, mine = LearningLogic(spec(), policy, lookup), Store(through_bytes)
    given_answers = []
    for at in range(0, 200, size):
        given_answers += answers(again.on_rows(rows(*given_rows[at : at + size]), mine))
    assert {key: cell.engine(spec()).dump() for key, cell in mine.items()} == {
        key: cell.engine(spec()).dump() for key, cell in store.items()
    }
    replayed = [answer for answer, row in zip(given_answers, given_rows, strict=True)
                if row[1] in published and row[4] < cut]  # fmt: skip
    assert replayed
    assert {answer[2] for answer in replayed} <= {"ok"}
    twice = LearningLogic(spec(), Policy(RARELY, 1 << 26), lookup)
    other = Store()
    twice.on_rows(rows(*given_rows), other)
    key = next(iter(published))
    assert other[key].engine(spec()).learned > store[key].engine(spec()).learned


def test_what_was_replayed_says_so_and_a_label_alone_says_nothing() -> None:
    model: Any = build(spec())
    for n in range(10):
        model.learn({"a": float(n), "b": 1.0}, n % 2 == 0)
    kept = Kept(spec().to_json(), model.dump(), 100)
    logic = LearningLogic(spec(), Policy(RARELY, 1 << 26, replay_scores=True), lambda keys: {"k": kept})
    kinds, times = (STEP, LEARN, STEP, SCORE), (99, 99, 100, 101)
    given_rows = [
        (kind, "k", "e", ms, ms, kind != SCORE or None, 1.0, 1.0) for kind, ms in zip(kinds, times, strict=True)
    ]
    outcome = logic.on_rows(rows(*given_rows), Store())
    _, _, _, _, _, _, statuses, reasons, learned, _ = outcome.answers.columns
    assert statuses == ["ok"] * 3
    assert ["replayed" in reason for reason in reasons] == [True, False, False]
    assert learned == [10, 10, 11]
