"""A job of each released version, stopped in the middle of its stream, goes on in this one as if it had not been."""

from __future__ import annotations

import lzma
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scenario import MODEL, Loop, make_stream
from streams import results, send, start
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.learning import LEARN, SCORE
from upgrades import EVENTS, GOLDEN, VIEWS, halves, prefix, topics

pytestmark = pytest.mark.cluster
RELEASED = sorted(path.name.removeprefix("savepoint-") for path in GOLDEN.glob("savepoint-*"))
Told = dict[str, list[dict[str, Any]]]


@pytest.mark.parametrize("number", RELEASED or ["none"])
def test_a_savepoint_of_a_released_version_goes_on(broker: str, number: str, tmp_path: Path) -> None:
    kept = GOLDEN / f"savepoint-{number}"
    (tmp_path / "_metadata").write_bytes(lzma.decompress((kept / "_metadata.xz").read_bytes()))
    topics(broker, number)
    first, second = halves()
    for name in first:
        send(broker, f"{prefix(number)}.{name}", [*first[name], *second[name]], 1)
    loop = Loop(*make_stream(EVENTS), MODEL, True)
    times = [row[4] for row in loop.rows if row[0] == SCORE]
    due = [
        (ms >= second["events"][0][1], (event, *answer))
        for ms, (event, answer) in zip(times, loop.answers, strict=True)
    ]
    missing = Counter(answer for is_second, answer in due if is_second)
    text = (kept / "job.sql").read_text().replace("${brokers}", broker)
    job = start(text, {"execution.state-recovery.path": tmp_path.as_uri()})
    told: Told = {name: [] for name in VIEWS}
    until = time.monotonic() + 200
    while missing - answers(told) or matched(told) != loop.matched or newest(told) != learned(told, loop):
        assert time.monotonic() < until, (missing - answers(told), matched(told), loop.matched)
        assert not job.get_job_execution_result().done(), job.get_job_execution_result().result()
        time.sleep(0.5)
        told = results(broker, prefix(number), VIEWS)
    job.cancel().result()
    # What had been answered before the savepoint is not answered again, but for the last second, which waited in it.
    again = answers(told) - missing
    assert again.total() <= 5
    assert not again - Counter(answer for _, answer in due)


def answers(told: Told) -> Counter[tuple[Any, ...]]:
    names = ("event_id", "key", "score", "learned", "status")
    return Counter(tuple(row[name] for name in names) for row in told["predictions"])


def matched(told: Told) -> float:
    """Return the labels that evaluation has counted since the job began, half of it in the other version."""
    rows = [row for row in told["metrics"] if (row["metric"], row["window"]) == ("labels_matched", "cumulative")]
    return max((float(row["value"]) for row in rows), default=0)


def newest(told: Told) -> dict[str, bytes]:
    """Return the bytes of each key's model as it was published last."""
    return {row["key"]: bytes(row["blob"]) for row in sorted(told["snapshots"], key=lambda row: int(row["version"]))}


def learned(told: Told, loop: Loop) -> dict[str, bytes]:
    """Return the bytes of learners that never stop, one per key."""
    if not told["snapshots"]:
        return {}
    spec = EngineSpec.from_json(told["snapshots"][0]["spec"])
    learners: dict[str, Any] = {}
    for kind, key, _, _, _, truth, event in loop.rows:
        if kind == LEARN and key is not None and event.a is not None:
            learner = learners.setdefault(key, build(spec))
            learner.learn({name: getattr(event, name) for name in "abc"}, truth)
    return {key: learner.dump() for key, learner in learners.items()}
