"""Everything that predicts and learns."""

from __future__ import annotations

from typing import Any

__all__ = ["attach"]


def __getattr__(name: str) -> Any:
    # The engines and the logic are for use without Flink too, so Flink is imported only by those who ask for it.
    if name == "attach":
        from thalweg.udfs.flink.attach import attach

        return attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
