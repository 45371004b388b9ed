"""What the fuzz campaign throws bytes at: every reader of something that comes from outside."""

from __future__ import annotations

from collections.abc import Callable

from fuzz_base import Target
from fuzz_engines import engine_targets
from fuzz_texts import text_targets
from fuzz_wire import wire_targets


def targets() -> dict[str, Callable[[], Target]]:
    """Return all targets by name, each made when it is asked for."""
    return {**wire_targets(), **text_targets(), **engine_targets()}
