"""Takes the order of hashing out of River, for as long as the process runs.

A few of River's classes walk over sets of names: the features of a Select, the words of a text, the classes of a
neighbour search, the terms of a distance. That order differs from process to process, and after a restore also within
one; with it differ the last bits of sums, and which of two equal classes wins. Here those sets are walked in the order
in which their items came. What is computed is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from river import cluster, dummy, utils
from river.compose import select
from river.feature_extraction import vectorize
from river.forest import aggregated_mondrian_forest
from river.multiclass import ovo
from river.neighbors import knn_classifier
from river.tree import hoeffding_tree_classifier, last_classifier
from river.tree.mondrian import mondrian_tree_classifier
from river.tree.splitter import nominal_splitter_classif

__all__ = ["InOrder"]


class InOrder(set[Any]):
    """A set that is walked in the order in which its items came; it only grows.

    Examples
    --------
    >>> names = InOrder(["b", "a"])
    >>> names.add("c")
    >>> list(names), list(names - {"a"}), "b" in names
    (['b', 'a', 'c'], ['b', 'c'], True)
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._order = dict.fromkeys(items)
        super().__init__(self._order)

    def add(self, item: Any) -> None:
        """Add an item, at the end if it is new."""
        self._order[item] = None
        super().add(item)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def __sub__(self, other: AbstractSet[Any]) -> InOrder:
        return InOrder(item for item in self._order if item not in other)


def _distinct(items: Iterable[Any]) -> set[Any]:
    """Return the words of a text in their order; stop words, which are a set already, have none and need none."""
    return set(items) if isinstance(items, AbstractSet) else InOrder(items)


def _minkowski_distance(a: Mapping[Any, float], b: Mapping[Any, float], p: int) -> float:
    """Return the Minkowski distance of two vectors, as River's function of that name does."""
    total: float = sum(abs(a.get(key, 0.0) - b.get(key, 0.0)) ** p for key in {**a, **b})
    return float(total ** (1 / p))


def _closest(self: Any, x: Mapping[Any, float]) -> Any:
    """Return the closest of the centers, as River's ``KMeans.predict_one`` does."""

    def distance(number: Any) -> Any:
        center = self.centers[number]
        return sum(abs(center[key] - x.get(key, 0)) ** self.p for key in {**center, **x})

    return min(self.centers, key=distance)


for _module in (
    dummy,
    select,
    ovo,
    aggregated_mondrian_forest,
    knn_classifier,
    hoeffding_tree_classifier,
    last_classifier,
    mondrian_tree_classifier,
    nominal_splitter_classif,
):
    vars(_module)["set"] = InOrder
vars(vectorize)["set"] = _distinct
# Under its old name: dumps refer to it, and ours must be what they find.
_minkowski_distance.__module__, _minkowski_distance.__qualname__ = "river.utils.math", "minkowski_distance"
utils.math.minkowski_distance = _minkowski_distance
cluster.KMeans.predict_one = _closest
