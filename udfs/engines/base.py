"""The engine protocol: two small levels, ``Scorer`` and ``Learner``.

An engine is a pure model: no Flink, no Kafka, no clock. A ``Scorer`` answers; a ``Learner`` also learns. Whoever
implements the protocol can hold the engine to it with ``checks.check_scorer`` and ``checks.check_learner``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from thalweg.connector.errors import Problem

__all__ = ["NOT_READY", "EngineSpec", "Field", "Learner", "Score", "Scorer", "Value"]

Value: TypeAlias = "float | int | bool | str | list[float] | None"
"""What a feature or a label may be once it has crossed the SQL boundary."""


class Field(NamedTuple):
    """One input or output column of a model.

    Attributes
    ----------
    name : str
        Column name as declared in SQL.
    kind : str
        One of ``number`` (float), ``integer`` (int), ``boolean`` (bool), ``string`` (str), ``vector`` (list of float).
    """

    name: str
    kind: str


class Score(NamedTuple):
    """The answer of a model for one row.

    Attributes
    ----------
    score : float or None
        Classification: the probability of the predicted event (binary: of ``true``; multi-class: of ``label``).
        Regression and recommendation: the predicted value. Anomaly: higher is more anomalous. Clustering: the cluster
        number. Forecasting: the value expected at this event. Bandit: the reward expected of the arm in ``label``.
        Finite whenever ``status`` is ``ok``, else None.
    label : str or None
        Classification: the predicted class (``true``/``false`` for booleans). Anomaly: ``true`` or ``false`` where the
        model decides, else None. Bandit: the arm to pull next. Clustering: the cluster number. Otherwise None.
    probabilities : dict of str to float, or None
        Multi-class: probability per class. None for binary models, whose ``score`` says it all. Forecasting: the value
        expected at each step, ``"1"`` for this event, ``"2"`` for the next, and so on.
    status : str
        ``ok``; ``not_ready``, the model has not learned enough to answer; ``refused``, the row does not fit the model.
    reason : str
        Empty when ``ok``, else one sentence.
    """

    score: float | None
    label: str | None = None
    probabilities: dict[str, float] | None = None
    status: str = "ok"
    reason: str = ""


NOT_READY = Score(None, None, None, "not_ready", "the model has not learned enough to answer")


@dataclass(frozen=True)
class EngineSpec:
    """All that is needed to build a model, as plain data.

    Parameters
    ----------
    kind : str
        Name of the engine in the registry: ``river``, ``onnx``, or a customer's own.
    task : str
        ``classification``, ``regression``, ``anomaly``, ``clustering``, ``recommendation``, ``next-item``,
        ``forecasting`` or ``bandit``.
    model : str
        The model text (River) or the model URI (ONNX).
    inputs : tuple of Field
        Features, in the order of the SQL declaration.
    output : Field
        The label, and the type of the prediction.
    params : tuple of (str, str)
        Engine options, sorted by name.

    Examples
    --------
    >>> spec = EngineSpec("river", "regression", "linear_model.LinearRegression()",
    ...                   (Field("x", "number"),), Field("y", "number"))
    >>> EngineSpec.from_json(spec.to_json()) == spec
    True
    """

    kind: str
    task: str
    model: str
    inputs: tuple[Field, ...]
    output: Field
    params: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Return the spec as compact JSON with sorted keys: equal specs give equal text."""
        return json.dumps(
            {
                "kind": self.kind,
                "task": self.task,
                "model": self.model,
                "inputs": [list(field) for field in self.inputs],
                "output": list(self.output),
                "params": [list(pair) for pair in self.params],
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> EngineSpec:
        """Return the spec that ``to_json`` wrote."""
        raw = json.loads(text)
        return cls(
            raw["kind"],
            raw["task"],
            raw["model"],
            tuple(Field(name, kind) for name, kind in raw["inputs"]),
            Field(*raw["output"]),
            tuple((name, value) for name, value in raw["params"]),
        )

    def param(self, name: str, default: str) -> str:
        """Return the engine option ``name``, or ``default`` where it was not given."""
        return dict(self.params).get(name, default)

    def problems(self, engine: str, options: Sequence[str]) -> list[Problem]:
        """Return what is wrong with the spec whatever the model: options the engine lacks, features declared twice.

        Parameters
        ----------
        engine : str
            Name of the engine, for people.
        options : sequence of str
            Options that it understands.
        """
        known = f"Known: {', '.join(options)}."
        problems = [
            Problem(f"option '{name}'", f"the {engine} engine has no such option.", known)
            for name, _ in self.params
            if name not in options
        ]
        names = [name for name, _ in self.inputs]
        for name in sorted({name for name in names if names.count(name) > 1}):
            problems.append(Problem(f"input '{name}'", "is declared twice.", "Give each feature its own name."))
        return problems


@runtime_checkable
class Scorer(Protocol):
    """A model that answers.

    ``build`` and ``restore`` are class methods of the implementation, so that a spec and bytes are all it takes. The
    class also has ``OPTIONS``, a tuple with the names of the options that a model may give it.

    Attributes
    ----------
    spec : EngineSpec
        What it was built from.
    version : str
        Names this state of the model in its predictions.
    """

    spec: EngineSpec

    @property
    def version(self) -> str:
        """Return the name of this state of the model."""
        ...

    @classmethod
    def build(cls, spec: EngineSpec) -> Scorer:
        """Return a new model; raises ModelError, or ConfigError listing all that is wrong with the spec."""
        ...

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> Scorer:
        """Return the model that ``dump`` wrote; raises SnapshotError before anything is built from a bad blob."""
        ...

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order, one Score each; pure: the model and the rows stay as they were."""
        ...

    def dump(self) -> bytes:
        """Return the model as bytes: deterministic, first byte the protocol number."""
        ...


@runtime_checkable
class Learner(Scorer, Protocol):
    """A model that also learns.

    Attributes
    ----------
    learned : int
        Examples learned so far; part of what ``dump`` writes.
    """

    learned: int

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn from one labelled row, in place.

        Raises
        ------
        RecordError
            The row or the label cannot be learned (not finite, wrong type, missing label); the model is unchanged.
            Nothing else is raised: a model that has diverged says so by ``healthy``.
        """
        ...

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Answer a row, then learn it: the same as ``score`` and ``learn``, in one call; raises as ``learn`` does."""
        ...

    def healthy(self) -> bool:
        """Return False when learning has diverged, so that the operator rolls back; cheap enough to ask often."""
        ...
