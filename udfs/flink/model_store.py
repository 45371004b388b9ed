"""The models of one shard in Flink's keyed state, as the pure machine sees them."""

from __future__ import annotations

from typing import Any

from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.flink.forgetting import Forgetting
from thalweg.udfs.logic.cell import Cell

__all__ = ["FlinkStore"]


class FlinkStore:
    """Model state of the current shard. The only place that touches it, so that every change is written back."""

    def __init__(
        self, models: Any, prior: Any, specs: Any, due: Any, ctx: Any, event_time: bool, forgetting: Forgetting | None
    ) -> None:
        self._models, self._prior, self._specs, self._due = models, prior, specs, due
        self._ctx, self._event_time, self._forgetting = ctx, event_time, forgetting
        self._new: set[str] = set()
        self._grown = 0

    def get(self, key: str) -> Cell | None:
        cell: Cell | None = self._models.get(key)
        if cell is None:
            self._new.add(key)
        return cell

    def put(self, key: str, cell: Cell) -> None:
        self._models.put(key, cell)
        if key in self._new:
            self._new.remove(key)
            self._grown += 1
        if self._forgetting is not None:
            self._forgetting.touch(key, self._ctx)

    def take_grown(self) -> int:
        """Return how many models are new since the last call."""
        grown, self._grown = self._grown, 0
        return grown

    def prior(self) -> Cell | None:
        found: Cell | None = self._prior.value()
        return found

    def put_prior(self, cell: Cell) -> None:
        self._prior.update(cell)

    def spec(self, mark: bytes) -> EngineSpec | None:
        text = self._specs.get(mark.hex())
        return None if text is None else EngineSpec.from_json(text)

    def remember(self, mark: bytes, spec: EngineSpec) -> None:
        self._specs.put(mark.hex(), spec.to_json())

    def wake(self, key: str, at_ms: int) -> None:
        self._due.put(key, at_ms)
        timers = self._ctx.timer_service()
        if self._event_time:
            timers.register_event_time_timer(at_ms)
        else:
            timers.register_processing_time_timer(at_ms)

    def due(self, now_ms: int) -> list[str]:
        # Sorted: the order of a map is not the same before and after a restart.
        keys = sorted(key for key, at_ms in self._due.items() if at_ms <= now_ms)
        for key in keys:
            self._due.remove(key)
        return keys
