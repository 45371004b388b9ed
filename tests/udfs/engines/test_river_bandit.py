"""Bandits: they explore, and asking costs nothing."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError, RecordError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field

ARM = (Field("ad", "string"),)
CONTEXT = (*ARM, Field("age", "number"), Field("hour", "integer"))
GREEDY = "bandit.EpsilonGreedy(0.3)"


def policy(text: str = GREEDY, inputs: tuple[Field, ...] = ARM, arms: str = "x, y, z", output: str = "number") -> Any:
    return build(EngineSpec("river", "bandit", text, inputs, Field("reward", output), (("arms", arms),)))


def played(engine: Any, rounds: int = 300, best: str = "y") -> Counter[str]:
    """Show what the policy says, and reward the best arm most."""
    dice, pulled = random.Random(6), Counter[str]()
    for _ in range(rounds):
        (answer,) = engine.score([{"ad": None}])
        arm = answer.label or dice.choice("xyz")
        pulled[arm] += 1
        engine.learn({"ad": arm}, float(dice.random() < (0.8 if arm == best else 0.2)))
    return pulled


@pytest.mark.parametrize(
    "text",
    [GREEDY, "bandit.UCB(0.5)", "bandit.ThompsonSampling(proba.Beta())", "bandit.BayesUCB()", "bandit.Exp3(0.1)"],
)
def test_a_policy_finds_the_best_arm_and_goes_on_exploring(text: str) -> None:
    pulled = played(policy(text))
    assert pulled.most_common(1)[0][0] == "y"
    assert len(pulled) == 3


def test_the_expected_reward_is_that_of_the_arm() -> None:
    engine = policy("bandit.UCB(0)")
    for arm, reward in (("x", 1.0), ("y", 5.0), ("y", 6.0), ("z", 2.0)):
        engine.learn({"ad": arm}, reward)
    (answer,) = engine.score([{}])
    assert (answer.label, answer.score) == ("y", 5.5)


def test_asking_draws_nothing_and_each_reward_draws_anew() -> None:
    engine = policy("bandit.RandomPolicy()")
    seen = set()
    for _ in range(30):
        engine.learn({"ad": "x"}, 1.0)
        blob = engine.dump()
        (arm,) = {answer.label for answer in engine.score([{}] * 20)}
        seen.add(arm)
        assert engine.dump() == blob
    assert seen == {"x", "y", "z"}


def test_an_arm_can_be_asked_for_without_one_and_not_rewarded() -> None:
    engine = policy("preprocessing.StandardScaler() | bandit.LinUCBDisjoint()", CONTEXT)
    row = {"ad": "x", "age": 30.0, "hour": 7}
    engine.learn(row, 1.0)
    blob = engine.dump()
    assert engine.score([{**row, "ad": None}]) == engine.score([row])
    for arm, reason in ((None, "the arm 'ad' is missing"), ("w", "'ad' is 'w', which the option 'arms' does not name")):
        for call in (engine.learn, engine.step):
            with pytest.raises(RecordError, match=reason):
                call({**row, "ad": arm}, 1.0)
    assert engine.score([{**row, "age": None}])[0].reason == "'age' is NULL"
    assert engine.dump() == blob


def test_arms_may_change_and_rewards_may_be_yes_or_no() -> None:
    engine = policy("bandit.UCB(1)", output="boolean")
    for n in range(30):
        engine.learn({"ad": "xyz"[n % 3]}, n % 3 == 1)
    later = policy("bandit.UCB(1)", arms="y, new", output="boolean")
    later = restore(later.spec, engine.dump())
    assert later.score([{}])[0].label == "new"
    later.learn({"ad": "new"}, False)
    assert later.score([{}])[0].label in ("y", "new")
    with pytest.raises(RecordError, match="'x'"):
        later.learn({"ad": "x"}, True)


def test_arms_of_an_integer_are_integers() -> None:
    engine = policy(inputs=(Field("ad", "integer"),), arms="1,2,-3")
    engine.learn({"ad": -3}, 4.0)
    assert engine.score([{}])[0].label in ("1", "2", "-3")


@pytest.mark.parametrize(
    ("text", "inputs", "arms", "says"),
    [
        (GREEDY, ARM, "", "'arms': is missing"),
        (GREEDY, ARM, "a,,b", "'a,,b' is not a list of arms"),
        (GREEDY, ARM, "a, b, a", "Name each arm once"),
        (GREEDY, (Field("ad", "integer"),), "1, b", "by whole numbers"),
        (GREEDY, (Field("ad", "number"),), "a, b", "is a number"),
        ("tree.HoeffdingTreeClassifier()", ARM, "a, b", "is not a bandit policy"),
        ("bandit.UCB(1, reward_obj=metrics.Accuracy())", ARM, "a, b", "Accuracy keeps no rewards"),
        (
            "compose.Select('age') + compose.Select('hour') | bandit.LinUCBDisjoint()",
            CONTEXT,
            "a, b",
            "one after the other",
        ),
        ("bandit.ThompsonSampling()", ARM, "a, b", "fails on rows"),
    ],
)
def test_what_is_wrong_with_a_bandit_is_said(text: str, inputs: tuple[Field, ...], arms: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(text, inputs, arms)
    assert says in str(caught.value)
