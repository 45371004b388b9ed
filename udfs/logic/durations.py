"""Times where nothing has happened yet, and durations as Flink writes them."""

from __future__ import annotations

from thalweg.udfs.engines.durations import parse_duration_ms

__all__ = ["NEVER", "parse_duration_ms"]

NEVER = -(1 << 63)
"""No such time, where a time is epoch ms."""
