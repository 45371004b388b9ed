"""The walks of HalfSpaceTrees down its trees, as machine code; arrays as in ``river_hst_kernel``."""

from __future__ import annotations

from typing import Any

from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["learn", "score"]


@compiled
def score(features: Any, thresholds: Any, masses: Any, values: Any, least: float) -> float:
    """Return the sum of mass times 2^depth on the ways of a row, each until a node of less mass than ``least``."""
    trees, inner = features.shape
    total = 0.0
    for tree in range(trees):
        node, weight = 0, 1.0
        while True:
            total += masses[tree, node] * weight
            if masses[tree, node] < least or node >= inner:
                break
            right = not values[features[tree, node]] < thresholds[tree, node]
            node, weight = 2 * node + (2 if right else 1), 2.0 * weight
    return total


@compiled
def learn(features: Any, thresholds: Any, masses: Any, values: Any) -> None:
    """Add 1 to the mass of every node on the ways of a row."""
    trees, inner = features.shape
    for tree in range(trees):
        node = 0
        masses[tree, node] += 1
        while node < inner:
            right = not values[features[tree, node]] < thresholds[tree, node]
            node = 2 * node + (2 if right else 1)
            masses[tree, node] += 1
