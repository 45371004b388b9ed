"""The gate before a model serves: what a new version has to show beside the one that it is to replace."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from thalweg.udfs.engines.onnx_call import LoadedModel

__all__ = ["Probe", "objections", "threshold_objections"]

_PROBE_ROWS = 256


class Probe:
    """The last rows that a model has seen, to try its successor on.

    Parameters
    ----------
    size : int
        How many rows.
    """

    def __init__(self, size: int = _PROBE_ROWS) -> None:
        self._size = size
        self._parts: deque[tuple[list[Any], int]] = deque()
        self._held = 0

    def see(self, columns: Sequence[Any], count: int) -> None:
        """Remember the end of a batch; columns as ``LoadedModel.run`` takes them."""
        kept = min(count, self._size)
        # Copies: a view would keep the whole batch.
        part = [column[count - kept :].copy() if isinstance(column, np.ndarray) else column for column in columns]
        self._parts.append((part, kept))
        self._held += kept
        while self._held - self._parts[0][1] >= self._size:
            self._held -= self._parts.popleft()[1]

    def batches(self) -> list[tuple[list[Any], int]]:
        """Return the remembered rows, oldest first."""
        return list(self._parts)


def objections(
    candidate: LoadedModel,
    serving: LoadedModel | None,
    probe: Probe,
    gate: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> list[str]:
    """Return why a candidate must not serve; nothing if it may.

    Parameters
    ----------
    candidate : LoadedModel
        The new version, loaded.
    serving : LoadedModel or None
        The version that it would replace.
    probe : Probe
        The last rows. A row that the serving version answers must be answered by the candidate, with finite numbers.
    gate : mapping
        ``allow-new-inputs``: the inputs need not be those of the serving version. ``auc-threshold`` (at least),
        ``log-loss-threshold`` (at most) and ``num-eval-samples`` (at least): what it must have reached.
    metrics : mapping of str to float
        What was measured when it was published: ``auc``, ``log-loss``, ``samples``.
    """
    found = threshold_objections(gate, metrics)
    if serving is None:
        return found
    if not gate.get("allow-new-inputs") and _inputs(candidate) != _inputs(serving):
        old, new = (", ".join(map(str, _inputs(model))) for model in (serving, candidate))
        found.append(f"its inputs are {new}, and the serving version has {old}: publish it with --allow-new-inputs")
        return found
    for columns, count in probe.batches():
        before, after = (model.run(columns, count) for model in (serving, candidate))
        for answers in (before, after):
            answers.check()
        worse = sorted(after.faults.keys() - before.faults.keys())
        if worse:
            found.append(f"of the last {count} rows it cannot answer {len(worse)} ({after.faults[worse[0]]})")
            break
    return found


def threshold_objections(gate: Mapping[str, Any], metrics: Mapping[str, float]) -> list[str]:
    """Return which of the gate's bounds the measured ``metrics`` do not keep; both as in ``objections``.

    Examples
    --------
    >>> threshold_objections({"auc-threshold": 0.8}, {"auc": 0.7, "samples": 100})
    ['its auc is 0.7, and at least 0.8 is asked for']
    """
    found = []
    for option, metric, at_least in (
        ("auc-threshold", "auc", True),
        ("log-loss-threshold", "log-loss", False),
        ("num-eval-samples", "samples", True),
    ):
        if option in gate:
            bound, value = gate[option], metrics.get(metric)
            wanted = f"{'at least' if at_least else 'at most'} {bound:g} is asked for"
            if value is None:
                found.append(f"its {metric} was not measured, and {wanted}: publish it with --evaluate")
            elif value < bound if at_least else value > bound:
                found.append(f"its {metric} is {value:g}, and {wanted}")
    return found


def _inputs(model: LoadedModel) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Return names, types and shapes of what a model takes; axes without a size are alike."""
    return [
        (node.name, node.type, tuple(size if isinstance(size, int) else "n" for size in node.shape[1:]))
        for node in model.session.inputs
    ]
