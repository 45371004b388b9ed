"""How many models a subtask holds, how large they are, and what else the learning operator gives off, as metrics."""

from __future__ import annotations

from typing import Any

from pyflink.common import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from thalweg.udfs.flink.meters import Meters
from thalweg.udfs.logic.learning_outcome import Outcome

__all__ = ["ModelCount"]

_FADING = 64


class ModelCount:
    """Counts the models of each shard in state, for to count the keys of a large map would read all of it.

    Parameters
    ----------
    runtime_context : RuntimeContext
        Of the operator.
    meters : Meters
        Where it is told.
    """

    def __init__(self, runtime_context: RuntimeContext, meters: Meters) -> None:
        self._state = runtime_context.get_state(ValueStateDescriptor("model-count", Types.LONG()))
        self._meters = meters
        self._shards: dict[Any, int] = {}
        self._total = 0
        self._published, self._bytes = 0, 0.0  # models published so far, and the fading mean of their sizes
        self._told = False

    def grow(self, models: int, ctx: Any) -> None:
        """Note that the current shard has got so many new models."""
        shard = ctx.get_current_key()
        if shard not in self._shards:
            self._put(shard, self._state.value() or 0)
        if models:
            self.set(self._shards[shard] + models, ctx)

    def set(self, models: int, ctx: Any) -> None:
        """Note how many models the current shard has."""
        self._state.update(models)
        self._put(ctx.get_current_key(), models)

    def tell(self, outcome: Outcome) -> None:
        """Count what a block gave besides answers."""
        if self._told and not (outcome.published or outcome.refusals or outcome.alerts):
            return
        self._told = True
        sizes = [len(published.blob) for published in outcome.published]
        for size in sizes:
            self._published += 1
            self._bytes += (size - self._bytes) / min(self._published, _FADING)
        for name, number in (
            ("thalweg_snapshots", len(sizes)),
            ("thalweg_snapshot_bytes", sum(sizes)),
            ("thalweg_refused", len(outcome.refusals)),
            ("thalweg_alerts_raised", len(outcome.alerts)),
        ):
            self._meters.count(name, number)
        self._meters.show("thalweg_state_bytes", round(self._bytes * self._total))

    def _put(self, shard: Any, models: int) -> None:
        self._total += models - self._shards.get(shard, 0)
        self._shards[shard] = models
        self._meters.show("thalweg_models", self._total)
        self._meters.show("thalweg_state_bytes", round(self._bytes * self._total))
