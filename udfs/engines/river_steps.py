"""A River model taken apart once, so that a row goes straight through its steps, and scoring leaves no trace."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from river import anomaly, base, compose
from river.tree import HoeffdingTreeClassifier
from river.tree.base import Branch

__all__ = ["Steps", "Traces", "shape"]

_DRAWING = frozenset({"river.facto", "river.feature_extraction", "river.optim", "river.preprocessing", "river.reco"})
"""Packages with classes that draw random numbers when they are asked for something new."""

_DEPTH = 8
_PLAIN_VALUES = (bool, dict, float, int, list, set, str, Counter)

_TRACELESS = frozenset({"river.tree", "river.neighbors", "river.cluster", "river.stats", "river.drift"})


class Steps:
    """The transformers of a pipeline as bound methods, and its last step.

    ``Pipeline`` looks at the type of every step for every row. Where all steps but the last are plain transformers this
    is done here, once; any other model is its own last step.

    Parameters
    ----------
    model : object
        The River model.
    aside : collection of str
        Features that no step sees.

    Attributes
    ----------
    last : object
        What predicts and learns.
    """

    def __init__(self, model: Any, aside: Collection[str] = ()) -> None:
        self.last = model
        self._aside = frozenset(aside)
        self._transforms: list[Callable[[Any], Any]] = []
        self._learns: list[tuple[Callable[[Any], None] | None, Callable[[Any], Any]]] = []
        if type(model) is compose.Pipeline:
            *before, last = model.steps.values()
            if all(_plain(step) for step in before):
                self.last = last
                for step in before:
                    learns = None if type(step).learn_one is base.Transformer.learn_one else step.learn_one
                    self._learns.append((learns, step.transform_one))
                    self._transforms.append(step.transform_one)

    def transform(self, x: Any) -> Any:
        """Return what the last step sees of ``x``."""
        if self._aside:
            x = {name: value for name, value in x.items() if name not in self._aside}
        for transform in self._transforms:
            x = transform(x)
        return x

    def learn(self, x: Any) -> Any:
        """Let the transformers learn ``x``; return what the last step sees of it."""
        if self._aside:
            x = {name: value for name, value in x.items() if name not in self._aside}
        for learn, transform in self._learns:
            if learn is not None:
                learn(x)
            x = transform(x)
        return x


def _plain(step: Any) -> bool:
    special = (anomaly.base.AnomalyFilter, compose.TransformerUnion, compose.Pipeline)
    return isinstance(step, base.Transformer) and not isinstance(step, special) and not step._supervised  # noqa: SLF001


class _Grows(BaseException):  # not an Exception: what River or we catch must not swallow it
    pass


def _grow() -> Any:
    raise _Grows


class Traces:
    """Takes back what scoring leaves in a model.

    River's default dictionaries grow when they are asked for a group, a user or a category they have not seen, and some
    draw random numbers for it. Scoring must not: a model that is asked more often would learn differently.

    Parameters
    ----------
    model : object
        The River model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tables: list[defaultdict[Any, Any]] | None = None
        self._trees: list[Any] = []
        self._dice: list[Any] = []
        self._links: list[tuple[dict[str, Any], str, Any]] = []
        self._grows = False

    def keep(self, ask: Callable[[Any, Any], Any], steps: Steps, x: Any) -> Any:
        """Return ``ask(steps.last, steps.transform(x))``, with the model as it was before."""
        if self._tables is None or self._grows or any(home[name] is not part for home, name, part in self._links):
            self._scan()
        tables = self._tables or []
        if self._trees:
            seen = steps.transform(x)
            tables = [*tables, *(table for tree in self._trees for table in _nominal(tree, seen))]
        if not tables:
            return ask(steps.last, steps.transform(x))
        if self._dice:
            # The state of a generator is long, so look first whether this row asks for anything new.
            factories = [table.default_factory for table in tables]
            for table in tables:
                table.default_factory = _grow
            try:
                return ask(steps.last, steps.transform(x))
            except _Grows:
                pass
            finally:
                for table, factory in zip(tables, factories, strict=True):
                    table.default_factory = factory
        sizes = list(map(len, tables))
        dice = [die.getstate() if isinstance(die, random.Random) else die.get_state() for die in self._dice]
        try:
            return ask(steps.last, steps.transform(x))
        finally:
            if list(map(len, tables)) != sizes:
                for table, size in zip(tables, sizes, strict=True):
                    while len(table) > size:
                        table.popitem()
                for die, state in zip(self._dice, dice, strict=True):
                    (die.setstate if isinstance(die, random.Random) else die.set_state)(state)

    def _scan(self) -> None:
        self._tables, self._trees, self._dice, self._links, self._grows = [], [], [], [], False
        for part in self._walk(self._model, 0):
            if isinstance(part, HoeffdingTreeClassifier):
                self._trees.append(part)
                self._grows = True  # a forest puts new ones in the place of old
            else:
                (self._tables if isinstance(part, dict) else self._dice).append(part)

    def _walk(self, thing: Any, depth: int) -> Iterator[Any]:
        """Yield the default dictionaries of the model's parts, the generators they may ask, and the trees."""
        if isinstance(thing, HoeffdingTreeClassifier):
            yield thing
            return
        if depth > _DEPTH or _opaque(thing):
            return
        fixed = isinstance(thing, (compose.Pipeline, compose.TransformerUnion))
        for name, value in vars(thing).items():
            if isinstance(value, defaultdict):
                yield value
            elif isinstance(value, (random.Random, np.random.RandomState)) and _module(thing) in _DRAWING:
                yield value
            for member in _members(value):
                if isinstance(member, defaultdict) and value is not member:
                    self._grows = True  # one table per label or group: new ones come with the data
                    yield member
                elif isinstance(member, HoeffdingTreeClassifier):
                    yield member
                elif isinstance(member, base.Base) and not _opaque(member):
                    parts = list(self._walk(member, depth + 1))
                    yield from parts
                    if member is value:
                        self._links.append((vars(thing), name, value))  # a wrapper may put a new model in its place
                    else:
                        self._grows = self._grows or (bool(parts) and not fixed)
            self._grows = self._grows or _may_hold_parts(value)


def _may_hold_parts(value: Any) -> bool:
    """Return whether ``value`` is an empty dictionary in which parts of the model may turn up."""
    if not isinstance(value, dict) or value or isinstance(value, Counter):
        return False
    return not isinstance(value, defaultdict) or value.default_factory not in _PLAIN_VALUES


def _nominal(tree: Any, x: Any) -> list[defaultdict[Any, Any]]:
    """Return the class tables of the features that are texts, in the leaves that ``x`` falls into."""
    root = tree._root  # noqa: SLF001
    found = root.traverse(x, until_leaf=True) if isinstance(root, Branch) else root
    return [
        table
        for leaf in (found if isinstance(found, list) else [found])
        for splitter in (getattr(leaf, "splitters", None) or {}).values()  # None: a leaf that does not split any more
        if (table := getattr(splitter, "_att_dist_per_class", None)) is not None and isinstance(table, defaultdict)
    ]


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _module(thing: Any) -> str:
    return ".".join(type(thing).__module__.split(".")[:2])


def _opaque(thing: Any) -> bool:
    """Return whether scoring is known to leave no trace in ``thing``, whose parts may be very many."""
    return not hasattr(thing, "__dict__") or _module(thing) in _TRACELESS


def shape(model: Any) -> str:
    """Return the class names of a model and its steps.

    Examples
    --------
    >>> from river import dummy, preprocessing
    >>> shape(preprocessing.StandardScaler() | dummy.NoChangeClassifier())
    'Pipeline(StandardScaler, NoChangeClassifier)'
    """
    inner: Mapping[str, Any] = {}
    if isinstance(model, (compose.Pipeline, compose.TransformerUnion)):
        inner = model.steps if isinstance(model, compose.Pipeline) else model.transformers
    name = type(model).__name__
    return f"{name}({', '.join(map(shape, inner.values()))})" if inner else name
