"""Bandits with River: which arm to pull next, learned from the rewards of the arms that were shown."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

from river import bandit, proba, stats, utils
from thalweg.connector.errors import Problem, RecordError
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.engines.river_steps import Steps
from thalweg.udfs.engines.river_task import Task, number_score

__all__ = ["Bandit"]


class Bandit(Task):
    """The first input is the arm that was shown, the rest the context, the label its reward.

    The Score's label is the arm to pull next and its score the reward to be expected of that arm. The arm of a row may
    be NULL when it is only asked, not when it is learned. The arms are those of the engine option ``arms``; one that is
    added later is new to the model, one that is taken out is not pulled any more.

    Notes
    -----
    Policies draw random numbers when they are asked. Here every draw is taken back, and done again when the reward is
    learned: what is pulled is what River's loop pulls (``pull``, then ``update``), however often the model is asked.
    Between two rewards all events therefore get the same draw.
    """

    outputs = ("number", "integer", "boolean")
    options = ("arms",)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.aside = tuple(name for name, _ in spec.inputs[:1])
        given = [arm.strip() for arm in spec.param("arms", "").split(",")]
        self._wrong = [arm for arm in given if not arm or given.count(arm) > 1]
        whole = bool(spec.inputs) and spec.inputs[0].kind == "integer"
        self._wrong += [arm for arm in given if whole and not arm.removeprefix("-").isdecimal()]
        self._arms: list[Any] = [int(arm) if whole else arm for arm in given] if not self._wrong else []
        self._contextual = False

    def problems(self) -> list[Problem]:
        """Return what is wrong with the option ``arms`` and with the first input."""
        found = []
        if self._wrong:
            shown = self.spec.param("arms", "")
            what = f"'{shown}' is not a list of arms." if shown else "is missing."
            remedy = "Name each arm once, as in 'a, b, c'; where the first input is an integer, by whole numbers."
            found.append(Problem("option 'arms'", what, remedy))
        if self.spec.inputs and self.spec.inputs[0].kind not in ("string", "integer"):
            name, kind = self.spec.inputs[0]
            found.append(Problem(f"input '{name}'", f"is a {kind}.", "The first input is the arm: a text or integer."))
        return found

    def fit(self, model: Any) -> Problem | None:
        """Return why ``model`` is no policy, or None."""
        policy = Steps(model).last
        if not isinstance(utils.inspect.extract_relevant(model), bandit.base.Policy):
            return self.misfit(model, "a bandit policy", "End the pipeline with a policy, such as bandit.UCB(delta=1).")
        if not isinstance(policy, bandit.base.Policy):
            remedy = "Put only transformers that stand one after the other before it: no '+', '*' or supervised ones."
            return self.misfit(model, "given its rewards by such a pipeline", remedy)
        self._contextual = isinstance(policy, bandit.base.ContextualPolicy)
        reward = policy.reward_obj
        if not isinstance(reward, (stats.base.Univariate, proba.Beta, proba.Gaussian)):
            what = f"{type(reward).__name__} keeps no rewards."
            remedy = "Give reward_obj a statistic, such as stats.Mean(), or proba.Beta() or proba.Gaussian()."
            return Problem(f"task '{self.spec.task}'", what, remedy)
        return None

    def may_lack(self, lenient: bool) -> Collection[str]:
        """Return the features that a row may lack: the arm always, while it is only asked."""
        return {*super().may_lack(lenient), *self.aside}

    def sample(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with an arm that there is."""
        return {**row, self.aside[0]: self._arms[0]}

    def example(self, row: dict[str, Any], label: Any) -> Any:
        """Return the arm and its reward; raises RecordError where the arm is missing or unknown."""
        arm = row.get(self.aside[0])
        if arm is None:
            raise RecordError(f"the arm '{self.aside[0]}' is missing")
        if arm not in self._arms:
            raise RecordError(f"'{self.aside[0]}' is '{arm}', which the option 'arms' does not name")
        return arm, label

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        """Pull for good, as River's loop has done before it learns, then give the shown arm its reward."""
        arm, reward = label
        context = (x,) if self._contextual else ()
        last.pull(self._arms, *context)
        last.update(arm, *context, reward)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        """Return the arm to pull, and the reward to be expected of it."""
        context = (x,) if self._contextual else ()

        def pull() -> Score:
            arm = last.pull(self._arms, *context)
            return number_score(_expected(last, arm, x))._replace(label=str(arm))

        score: Score = _untouched(last, pull)
        return score if score.status == "ok" else score._replace(label=None)


def _expected(policy: Any, arm: Any, x: dict[str, Any]) -> Any:
    if isinstance(policy, bandit.LinUCBDisjoint):
        return policy._bayes_lin_regs[arm].predict_one(x)  # noqa: SLF001
    reward = policy._rewards.get(arm, policy.reward_obj)  # noqa: SLF001
    if isinstance(reward, proba.Beta):
        return reward.alpha / (reward.alpha + reward.beta)
    return reward.mu if isinstance(reward, proba.Gaussian) else reward.get()


def _untouched(policy: Any, pull: Callable[[], Score]) -> Score:
    """Return what ``pull`` returns, with the policy as it was before: its dice, tables and attributes."""
    attributes = dict(vars(policy))
    tables = [(table, len(table)) for table in attributes.values() if isinstance(table, defaultdict)]
    dice = [die for die in attributes.values() if isinstance(die, random.Random)]
    dice += [die for reward in attributes["_rewards"].values() if (die := getattr(reward, "_rng", None)) is not None]
    states = [die.getstate() for die in dice]
    try:
        return pull()
    finally:
        vars(policy).update(attributes)
        for table, size in tables:
            while len(table) > size:
                table.popitem()
        for die, state in zip(dice, states, strict=True):
            die.setstate(state)
