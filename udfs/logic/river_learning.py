"""A River model learned by an aggregate: its spec is inferred from the first row, its state is the portable form."""

from __future__ import annotations

import struct
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from thalweg.connector.errors import ConfigError, Problem, RecordError, SnapshotError
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field, Learner
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.river_tasks import TASKS
from thalweg.udfs.logic.live_state import LiveState
from thalweg.udfs.logic.portable import MAGIC, pack_model, read_model

__all__ = ["RiverLearning", "infer_spec"]

_KINDS: dict[type, str] = {bool: "boolean", int: "number", float: "number", Decimal: "number", str: "string"}
_UNBUILT = b"TWL0"  # no row has been learned yet: only the number of skipped rows
_SKIPPED = struct.Struct(">Q")
_UNLABELLED = ("anomaly", "clustering")


@lru_cache(maxsize=256)
def _unlabelled(text: str) -> str | None:
    """Return the task of a model that learns without labels; None for the others. Raises ConfigError."""
    try:
        model = parse(text).construct()
    except ConfigError as error:
        raise _told(error) from None
    for task in _UNLABELLED:
        output = Field("label", "number" if task == "anomaly" else "integer")
        spec = EngineSpec("river", task, text, (Field("f0", "number"),), output)
        try:
            if TASKS[task](spec).fit(model) is None:
                return task
        except AttributeError:
            return None
    return None


def _told(error: ConfigError, hint: str = "") -> ConfigError:
    return ConfigError(Problem(f"river_learn, {p.where}", p.what, f"{p.remedy}{hint}") for p in error.problems)


def _kind(value: object, where: str) -> str:
    kind = _KINDS.get(type(value))
    if kind is None:
        remedy = "Cast it to DOUBLE, BIGINT, BOOLEAN or STRING."
        raise ConfigError([Problem(f"river_learn, {where}", f"is a {type(value).__name__}.", remedy)])
    return kind


def infer_spec(text: str, label: object, features: tuple[Any, ...]) -> EngineSpec:
    """Return the spec of the model that one row asks for.

    Parameters
    ----------
    text : str
        The model text.
    label : object
        Boolean or text: classification. A number: regression. Anomaly detectors and clusterers ignore it.
    features : tuple
        The row; the features are called f0, f1, ...

    Raises
    ------
    ConfigError
        A type that no model takes.

    Examples
    --------
    >>> infer_spec("linear_model.LogisticRegression()", True, (1.5, "a")).inputs
    (Field(name='f0', kind='number'), Field(name='f1', kind='string'))
    """
    if not features:
        what, remedy = "there are no features.", "Call it as river_learn('model text', label, feature, ...)."
        raise ConfigError([Problem("river_learn", what, remedy)])
    inputs = tuple(Field(f"f{at}", _kind(value, f"feature {at + 1}")) for at, value in enumerate(features))
    task = _unlabelled(text)
    if task is not None:
        return EngineSpec("river", task, text, inputs, Field("label", "number" if task == "anomaly" else "integer"))
    output = Field("label", _kind(label, "label"))
    return EngineSpec("river", "regression" if output.kind == "number" else "classification", text, inputs, output)


@lru_cache(maxsize=256)
def _check(spec: EngineSpec) -> None:
    try:
        build(spec)
    except ConfigError as error:
        hint = f" The label is a {spec.output.kind}: BOOLEAN and STRING make a classification, numbers a regression."
        raise _told(error, hint if spec.task not in _UNLABELLED else "") from None


class RiverLearning(LiveState):
    """The model of one group.

    Attributes
    ----------
    skipped : int
        Rows that were not learned: NULL in the label or a feature, not finite, or of another type than the first row.

    Examples
    --------
    >>> learning = RiverLearning()
    >>> for n in range(4):
    ...     learning.add("linear_model.LinearRegression()", float(n), (n / 4,))
    >>> learning.add("linear_model.LinearRegression()", None, (1.0,))
    >>> again = RiverLearning.load(learning.state())
    >>> again.learned, again.skipped, again.value() == learning.value()
    (4, 1, True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0
        self._engine: Learner | None = None
        self._text: str | None = None
        self._names: tuple[str, ...] = ()
        self._labelled = True

    @classmethod
    def load(cls, data: bytes) -> RiverLearning:
        """Return the state that ``state`` wrote; raises SnapshotError."""
        found = cls()
        if data[:4] == _UNBUILT and len(data) == 4 + _SKIPPED.size:
            (found.skipped,) = _SKIPPED.unpack_from(data, 4)
        elif data[:4] == MAGIC:
            engine, found.skipped = read_model(data)
            found._hold(engine)
        else:
            raise SnapshotError("the state of river_learn is damaged: it is no model.")
        found._bytes = data
        return found

    @property
    def learned(self) -> int:
        """Rows learned."""
        return 0 if self._engine is None else self._engine.learned

    def add(self, text: object, label: Any, features: tuple[Any, ...]) -> None:
        """Learn one row, or skip it.

        Raises
        ------
        ConfigError
            The model text or the types cannot work, or the text or the number of features is not the group's.
        """
        self._bytes = None
        if self._text is None or (text is not self._text and text != self._text):
            self._first(text)
        if None in features or (label is None and self._labelled):
            self.skipped += 1
            return
        if self._engine is None:
            spec = infer_spec(cast("str", text), label, features)
            _check(spec)
            self._hold(cast("Learner", build(spec)))
        if len(features) != len(self._names):
            what = f"has {len(features)} features, and {len(self._names)} in the rows before."
            raise ConfigError([Problem("river_learn", what, "Give every row of a group the same features.")])
        engine = cast("Learner", self._engine)
        try:
            row = {
                name: float(value) if type(value) is int else value
                for name, value in zip(self._names, features, strict=True)
            }
            engine.learn(row, label)
        except RecordError:
            self.skipped += 1
            if not engine.learned:  # nothing is in it, and nothing of it is written
                self._engine = None

    def _first(self, text: object) -> None:
        if not isinstance(text, str):
            what, remedy = "the model text is missing.", "Give a River model as a literal, such as 'tree.X()'."
            raise ConfigError([Problem("river_learn", what, remedy)])
        if self._text is not None:
            what = f"the model text changes within a group, from '{self._text[:80]}' to '{text[:80]}'."
            raise ConfigError([Problem("river_learn", what, "Give a literal, or add the text to GROUP BY.")])
        self._labelled = _unlabelled(text) is None
        self._text = text

    def _hold(self, engine: Learner) -> None:
        self._engine = engine
        self._text = engine.spec.model
        self._names = tuple(name for name, _ in engine.spec.inputs)
        self._labelled = engine.spec.task not in _UNLABELLED

    def dump(self) -> bytes:
        """Return the portable form, or the count of skipped rows alone before the first learned one."""
        if self._engine is None or not self._engine.learned:
            return _UNBUILT + _SKIPPED.pack(self.skipped)
        return pack_model(self._engine, self.skipped)

    def value(self) -> bytes | None:
        """Return the model in the portable form; None before the first learned row."""
        return self.state() if self.learned else None
