"""What a target of the fuzz campaign is.

A target is a function of bytes. It returns what it has read, in short, or raises one of the project's own errors; all
else is a finding. Where something was read it is used, too: written again, scored, taught.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from thalweg.connector.errors import ThalwegError

GOLDEN = Path(__file__).parent / "golden"


class Target(NamedTuple):
    """What is tried.

    Attributes
    ----------
    read : callable
        Bytes to anything short that tells what came out.
    seeds : sequence of bytes
        Valid examples.
    words : sequence of bytes
        Words of its language.
    refusals : tuple of type
        What it may raise, with one sentence.
    """

    read: Callable[[bytes], Any]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    refusals: tuple[type[BaseException], ...] = (ThalwegError,)


def use(engine: Any, rows: Sequence[dict[str, Any]], label: Any = None) -> Any:
    """Score, teach, and dump a model: whatever it was made from, it does not raise, and answers with finite numbers."""
    statuses = []
    for score in engine.score(list(rows)):
        assert (score.score is None) == (score.status != "ok"), score
        assert score.score is None or math.isfinite(score.score), score
        statuses.append(score.status)
    if hasattr(engine, "learn"):
        for row in rows:
            try:
                engine.learn(row, label)
            except ThalwegError as error:
                statuses.append(type(error).__name__)
        statuses.append(str(engine.healthy()))
    engine.dump()
    return statuses


def as_text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(data.decode("utf-8", "replace"))


def as_lines(text: str) -> list[bytes]:
    return [line.strip().encode() for line in text.strip().split("\n")]
