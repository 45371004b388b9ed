"""What every task of a River model has: the label it learns, what it is asked, what its rows may lack."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from typing import Any

from river import utils
from thalweg.connector.errors import Problem, RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score
from thalweg.udfs.engines.gate import usable

__all__ = ["UNFINISHED", "Task", "number_score"]

UNFINISHED = Score(None, None, None, "refused", "the model's answer is not a finite number")
"""What a model answers whose numbers have diverged."""


class Task:
    """One task: checks the estimator, reads the label, teaches and asks the last step.

    One object serves all models of a spec, so it keeps nothing of a model's.

    Attributes
    ----------
    outputs : tuple of str
        The kinds of output it can have.
    options : tuple of str
        The engine options that this task has and others have not.
    aside : tuple of str
        Inputs that go past the transformers of a pipeline.
    """

    outputs: tuple[str, ...] = ("number", "integer")
    options: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def problems(self) -> list[Problem]:
        """Return what is wrong with the spec, whatever the model."""
        return []

    def fit(self, model: Any) -> Problem | None:
        """Return why ``model`` cannot do this task, or None."""
        raise NotImplementedError

    def may_lack(self, lenient: bool) -> Collection[str]:
        """Return the features that a row may lack; ``lenient``: the model's owner has said that any may be NULL."""
        return [name for name, _ in self.spec.inputs] if lenient else []

    def sample(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row of made-up values as the model could really get it."""
        return row

    def label(self, value: Any) -> Any:
        """Return a label as the model shall see it; raises RecordError."""
        if value is None:
            raise RecordError(f"the label '{self.spec.output.name}' is missing")
        return float(usable(self.spec.output.name, self.spec.output.kind, value))

    def example(self, row: dict[str, Any], label: Any) -> Any:
        """Return what ``learn`` is to get as its label; raises RecordError where the row can be scored, not learned."""
        return label

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        """Teach the last step one row."""
        last.learn_one(x, label)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        """Return the last step's answer."""
        raise NotImplementedError

    def warm_up(self, last: Any) -> int:
        """Return how many rows the model must have learned before its answers mean anything."""
        return 1

    def misfit(self, model: Any, wanted: str, remedy: str) -> Problem:
        """Return the problem that a model is not ``wanted``."""
        name = type(utils.inspect.extract_relevant(model)).__name__
        return Problem(f"task '{self.spec.task}'", f"{name} is not {wanted}.", remedy)


def number_score(answer: Any) -> Score:
    """Return the Score of a model that answers with a number, or with None while it cannot.

    Examples
    --------
    >>> number_score(2).score, number_score(None).status, number_score(float("nan")).status
    (2.0, 'not_ready', 'refused')
    """
    if answer is None:
        return NOT_READY
    value = float(answer)
    return Score(value) if isfinite(value) else UNFINISHED
