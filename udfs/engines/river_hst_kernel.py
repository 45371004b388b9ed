"""HalfSpaceTrees as arrays and machine code: the trees of River, and its scores to the last bit.

A tree of River's is always complete, so it is an array: the children of node ``i`` are ``2 * i + 1`` and ``2 * i + 2``.
Where it splits depends on the seed alone, so all models of a text share that; each has its own masses.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import anomaly
from river.anomaly.hst import make_padded_tree
from thalweg.udfs.engines.base import Field

__all__ = ["HalfSpaceKernel"]

_HEAD = struct.Struct("<qBB")  # rows in this window, whether it is the first one, whether there are trees
_LARGEST_WINDOW = 1 << 31
_PADDING = 0.15  # as HalfSpaceTrees.learn_one has it


class _Splits(NamedTuple):
    """Where the trees split: feature and threshold of each inner node, shape (trees, inner nodes)."""

    features: NDArray[np.int32]
    thresholds: NDArray[np.float64]


class _Settings(NamedTuple):
    trees: int
    height: int
    window: int
    seed: Any
    names: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    threshold: float | None


class HalfSpaceKernel:
    """Scores and learns rows that always carry the same number features.

    Attributes
    ----------
    logistic : bool
        False: the answer is a number and no class.
    threshold : float or None
        From which answer on a row is an anomaly.
    """

    logistic = False

    def __init__(self, settings: _Settings) -> None:
        self._settings, self.threshold = settings, settings.threshold
        self._counter, self._first = 0, True
        self._splits: _Splits | None = None
        self._masses = np.zeros((0, 0, 0), np.int64)  # reference and latest mass of each node of each tree

    @classmethod
    def of(cls, model: Any, inputs: Sequence[Field], threshold: str) -> HalfSpaceKernel | None:
        """Return the loop for a model that has learned nothing, or None where its shape or settings are not plain.

        ``threshold`` is a number as text, or empty where nothing is to be called an anomaly.
        """
        if type(model) is not anomaly.HalfSpaceTrees or any(kind not in ("number", "boolean") for _, kind in inputs):
            return None
        sizes = (model.n_trees, model.height, model.window_size)
        if not all(type(size) is int and size > 0 for size in sizes) or model.window_size >= _LARGEST_WINDOW:
            return None
        names = tuple(name for name, _ in inputs)
        given = dict(model.limits)  # a look at the default dictionary itself would put the names there
        limits = tuple(tuple(given.get(name, (0.0, 1.0))) for name in names)
        return cls(_Settings(*sizes, model.seed, names, limits, float(threshold) if threshold else None))

    def fresh(self) -> HalfSpaceKernel:
        """Return the loop of another model with the same settings, which has learned nothing."""
        return HalfSpaceKernel(self._settings)

    def pack(self) -> bytes:
        """Return the state as bytes: the head, where the trees split, the masses."""
        head = _HEAD.pack(self._counter, self._first, self._splits is not None)
        if self._splits is None:
            return head
        features, thresholds = self._splits
        return b"".join(
            [
                head,
                features.astype("<i4").tobytes(),
                thresholds.astype("<f8").tobytes(),
                self._masses.astype("<u4").tobytes(),
            ]
        )

    def unpack(self, state: bytes) -> None:
        """Take the state that ``pack`` wrote; raises ValueError."""
        s = self._settings
        inner = s.trees * ((1 << s.height) - 1)
        nodes = 2 * inner + s.trees
        if len(state) < _HEAD.size:
            raise ValueError("it ends too early")
        counter, first, grown = _HEAD.unpack_from(state)
        if len(state) != _HEAD.size + (12 * inner + 8 * nodes) * bool(grown) or not 0 <= counter < s.window:
            raise ValueError("it is not as long as its trees ask for, or counts beyond its window")
        self._counter, self._first = counter, bool(first)
        if not grown:
            return
        at = _HEAD.size
        features = np.frombuffer(state, "<i4", inner, at).astype(np.int32).reshape(s.trees, -1)
        thresholds = np.frombuffer(state, "<f8", inner, at + 4 * inner).astype(np.float64).reshape(s.trees, -1)
        if not ((features >= 0) & (features < len(s.names))).all() or not np.isfinite(thresholds).all():
            raise ValueError("a tree splits where there is nothing")
        masses = np.frombuffer(state, "<u4", 2 * nodes, at + 12 * inner).astype(np.int64)
        if masses.max() > s.window:
            raise ValueError("a node has more rows than its window")
        self._share(_Splits(features, thresholds))
        self._masses = masses.reshape(2, s.trees, -1)

    def _share(self, splits: _Splits) -> None:
        grown = _grown(self._settings)
        same = np.array_equal(splits.features, grown.features)
        self._splits = grown if same and np.array_equal(splits.thresholds, grown.thresholds) else splits

    def size(self) -> float:
        """Return 0: masses cannot go too far."""
        return 0.0

    def raw(self, values: Sequence[float]) -> float:
        """Return how anomalous a row is, from 0 to 1."""
        if self._first or self._splits is None:
            return 0.0
        s = self._settings
        score, _ = _loops()
        found = score(*self._splits, self._masses[0], np.array(values, np.float64), 0.1 * s.window)
        return float(1 - found / (s.trees * s.window * (2 ** (s.height + 1) - 1)))

    probability = raw  # so that the engine may ask any of its loops

    def learn(self, values: Sequence[float], label: Any) -> None:
        """Learn from one row."""
        s = self._settings
        if self._splits is None:
            self._splits = _grown(s)
            self._masses = np.zeros((2, s.trees, (2 << s.height) - 1), np.int64)
        _, learn = _loops()
        learn(*self._splits, self._masses[1], np.array(values, np.float64))
        self._counter += 1
        if self._counter == s.window:
            self._masses[0] = self._masses[1]
            self._masses[1] = 0
            self._counter, self._first = 0, False

    def fill(self, model: Any, names: Sequence[str]) -> None:
        """Write the state into a River model that has learned nothing."""
        model.counter, model._first_window = self._counter, self._first  # noqa: SLF001
        if self._splits is None:
            return
        limits = {name: model.limits[name] for name in sorted(names)}
        model.trees = _trees(self._settings, limits, model.rng)
        for at, tree in enumerate(model.trees):
            for place, node in _places(tree):
                node.r_mass, node.l_mass = self._masses[:, at, place].tolist()
                if hasattr(node, "threshold"):
                    node.feature = names[self._splits.features[at, place]]
                    node.threshold = float(self._splits.thresholds[at, place])

    def take(self, model: Any) -> None:
        """Take the state of a River model with the same settings; raises ValueError."""
        s = self._settings
        self._counter, self._first = int(model.counter), bool(model._first_window)  # noqa: SLF001
        if not model.trees:
            return
        self._splits = _splits(s, model.trees)
        self._masses = np.zeros((2, s.trees, (2 << s.height) - 1), np.int64)
        for at, tree in enumerate(model.trees):
            for place, node in _places(tree):
                self._masses[:, at, place] = node.r_mass, node.l_mass
        self.unpack(self.pack())  # which looks whether all of it can be


def _trees(s: _Settings, limits: dict[str, tuple[float, float]], rng: random.Random) -> list[Any]:
    return [
        make_padded_tree(limits=limits, height=s.height, padding=_PADDING, rng=rng, r_mass=0, l_mass=0)
        for _ in range(s.trees)
    ]


@cache
def _grown(s: _Settings) -> _Splits:
    """Return where the trees of new models split; River grows them with the first row."""
    limits = dict(sorted(zip(s.names, s.limits, strict=True)))
    return _splits(s, _trees(s, limits, random.Random(s.seed)))  # noqa: S311


def _splits(s: _Settings, trees: Sequence[Any]) -> _Splits:
    shape = (s.trees, (1 << s.height) - 1)
    splits = _Splits(np.zeros(shape, np.int32), np.zeros(shape))
    place_of = {name: place for place, name in enumerate(s.names)}
    for at, tree in enumerate(trees):
        for place, node in _places(tree):
            if hasattr(node, "threshold"):
                splits.features[at, place], splits.thresholds[at, place] = place_of[node.feature], node.threshold
    return splits


def _places(node: Any, place: int = 0) -> Iterator[tuple[int, Any]]:
    yield place, node
    for side, child in enumerate(getattr(node, "children", ())):
        yield from _places(child, 2 * place + 1 + side)


@cache
def _loops() -> tuple[Callable[..., float], Callable[..., None]]:
    # Numba takes a second to be imported, and most jobs have no such trees.
    from thalweg.udfs.engines.river_hst_loops import learn, score

    return score, learn
