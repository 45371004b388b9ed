"""Orders that must be signed: each is obeyed once, and soon after it was given."""

from __future__ import annotations

from typing import Any

__all__ = ["OrderGuard"]


class OrderGuard:
    """Remembers which orders were given, for as long as one of them could come again.

    Time is that of the stream, as in an order's own ``issued_ms``: a job that reads its past once more obeys what was
    ordered then, when it was ordered. An order from before ``max_age_ms`` is refused, so what is older need not be
    remembered.

    Parameters
    ----------
    max_age_ms : int
        How old an order may be, in ms.

    Attributes
    ----------
    refused : int
        Orders that were not let through.

    Examples
    --------
    >>> guard = OrderGuard(1000)
    >>> guard.objection("a", 500, 600), guard.objection("a", 500, 700), guard.objection("b", 500, 1501)
    ('', 'it was given before', 'it is 1001 ms old, and may be 1000')
    """

    def __init__(self, max_age_ms: int) -> None:
        self._max_age_ms = max_age_ms
        self._given: dict[str, int] = {}
        self.refused = 0

    def objection(self, order_id: str, issued_ms: int, now_ms: int) -> str:
        """Return why an order is not obeyed; empty where it is, which it will be no second time.

        Parameters
        ----------
        order_id : str
            The same for each copy of an order.
        issued_ms, now_ms : int
            When it was given, and what time it is; epoch ms of the stream.
        """
        self._given = {known: at for known, at in self._given.items() if now_ms - at <= self._max_age_ms}
        age_ms = now_ms - issued_ms
        if age_ms > self._max_age_ms:
            return f"it is {age_ms} ms old, and may be {self._max_age_ms}"
        if order_id in self._given:
            return "it was given before"
        self._given[order_id] = issued_ms
        return ""

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"given": self._given, "refused": self.refused}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; an empty one is that of a guard that has seen nothing."""
        self._given = {str(known): int(at) for known, at in state.get("given", {}).items()}
        self.refused = int(state.get("refused", 0))
