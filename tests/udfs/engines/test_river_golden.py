"""Models that an earlier version wrote go on with the answers that it gave.

``tests/golden/river-v1.json`` was written with River 0.23.0 by the first version that knew all these tasks: for a model
of each, its snapshot after 60 rows and its answers to the next 20. A change of River, of a mend or of the form of
snapshots that would break a running job's state fails here. ``python tests/udfs/engines/test_river_golden.py`` in the
folder of the repository writes the file anew; that is a break of every stored model and needs a new protocol.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from thalweg.udfs.engines import build, restore

sys.path.insert(0, str(Path(__file__).parents[2]))
from river_streams import STREAMS, Stream

FILE = Path(__file__).parents[2] / "golden" / "river-v1.json"
LEARNED, ASKED = 60, 20
_LARGEST = 6000  # bytes, as written
KEPT = json.loads(FILE.read_text()) if FILE.exists() else {}


def answers(engine: Any, stream: Stream) -> list[Any]:
    """Return the score and label that each of the rows after the first ones gets before it is learned."""
    found = []
    for row, label in islice(stream.examples(), LEARNED, LEARNED + ASKED):
        answer = engine.step(row, label)
        found.append([answer.score, answer.label])
    return found


@pytest.mark.parametrize("name", list(KEPT), ids=[name[:60] for name in KEPT])
def test_a_model_of_the_first_protocol_goes_on(name: str) -> None:
    (stream,) = (stream for stream in STREAMS if stream.name == name)
    blob = zlib.decompress(base64.b85decode(KEPT[name]["blob"]))
    engine: Any = restore(stream.spec(), blob)
    assert engine.learned == LEARNED
    assert engine.dump() == blob
    found, wanted = answers(engine, stream), KEPT[name]["answers"]
    # The last bits of an exponential or a matrix product may be another machine's.
    assert [score for score, _ in found] == pytest.approx([score for score, _ in wanted], rel=1e-9)
    assert [label for _, label in found] == [label for _, label in wanted]


def test_there_is_one_of_every_task() -> None:
    assert {stream.task for stream in STREAMS if stream.name in KEPT} == {stream.task for stream in STREAMS}


def _write() -> None:
    kept = {}
    for stream in STREAMS:
        engine: Any = build(stream.spec())
        for row, label in islice(stream.examples(), LEARNED):
            engine.learn(row, label)
        blob = base64.b85encode(zlib.compress(engine.dump(), 9)).decode()
        if len(blob) < _LARGEST:
            kept[stream.name] = {"blob": blob, "answers": answers(engine, stream)}
    FILE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    _write()
