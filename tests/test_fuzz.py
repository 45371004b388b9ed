"""The fuzz campaign in short, the same inputs in each run; and every input that once broke a reader."""

from __future__ import annotations

import random
import signal
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from fuzz_base import Target
from fuzz_child import Campaign, Hang, outcome
from fuzz_engines import SPECS
from fuzz_mutate import mutate
from fuzz_targets import targets
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, SnapshotError, ThalwegError
from thalweg.connector.model_feed import ModelFeed
from thalweg.udfs.engines import build, check_whole, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.onnx_graph import Graph, _Node
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.engines.onnx_reference import read_model as read_file
from thalweg.udfs.engines.onnx_vocabulary import Vocabulary
from thalweg.udfs.logic.origins import Kept, Origins
from thalweg.udfs.logic.portable import pack_parts, read_model
from thalweg.udfs.logic.telemetry import version_number

FLAG = Field("y", "boolean")
NAMES = list(targets())


@cache
def target(name: str) -> Target:
    """Return a target whose compilers and caches are warm, as in the campaign."""
    made = targets()[name]()
    for data in made.seeds:
        try:
            made.read(data)
        except made.refusals:
            continue
    return made


@pytest.fixture(autouse=True, scope="module")
def alarm() -> Iterator[None]:
    def ring(number: int, frame: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, ring)
    yield
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_read(name: str) -> None:
    found = [outcome(target(name), data) for data in target(name).seeds]
    assert {kind for kind, _ in found} <= {"ok", "refused"}, found
    assert "ok" in {kind for kind, _ in found}, found


@pytest.mark.parametrize("name", NAMES)
def test_spoilt_input_is_read_or_refused_with_a_sentence(name: str) -> None:
    tried = target(name)

    @settings(max_examples=40, derandomize=True, database=None)
    @given(st.integers(0, 2**32))
    def hold(seed: int) -> None:
        data = mutate(tried.seeds, random.Random(seed), tried.words)
        kind, told = outcome(tried, data)
        assert kind in ("ok", "refused"), (told, data[:200])

    hold()


def test_a_campaign_finds_what_is_wrong() -> None:
    def read(data: bytes) -> str:
        if data[:1] != b"{":
            raise ThalwegError("" if len(data) > 20 else "it does not begin well")
        if len(data) > 8:
            raise KeyError("c")
        while data == b"{for ever"[:7]:
            pass
        return "fine"

    campaign = Campaign(Target(read, [b"{abc", b"{abcdefgh}"]), seed=1)
    for _ in range(60):
        campaign.take(campaign.next())
    assert campaign.figures["inputs"] == 60
    assert min(campaign.figures[kind] for kind in ("ok", "refused", "crash")) > 0
    assert "crash KeyError test_fuzz.py:" in " ".join(campaign.found)
    assert outcome(Target(read, []), b"{for ev")[0] == "hang"
    assert outcome(Target(read, []), b"x" * 30) == ("crash", "ThalwegError is silent")


def resealed(blob: bytes) -> bytes:
    return blob[:1] + struct.pack(">I", zlib.crc32(blob[5:])) + blob[5:]


@pytest.mark.parametrize("name", ["midas", "metric-anomaly", "recommend"])
def test_a_compressed_body_with_a_wrong_checksum_of_its_own_is_refused(name: str) -> None:
    blob = build(SPECS[name][0]).dump()
    spoilt = resealed(blob[:-1] + bytes([blob[-1] ^ 1]))
    with pytest.raises(SnapshotError, match="incorrect data check"):
        restore(SPECS[name][0], spoilt)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("count", [2**53, 2**63, 2**64 - 1])
def test_a_count_that_cannot_be_is_refused(name: str, count: int) -> None:
    spec, _ = SPECS[name]
    engine: Any = build(spec)
    blob = engine.dump()
    at = 13 + (1 if name.startswith("river") else 0)  # behind protocol, checksum and digest; River's form comes first
    assert blob[at : at + 8] == bytes(8), "where the count of examples is"
    with pytest.raises(SnapshotError):
        restore(spec, resealed(blob[:at] + count.to_bytes(8, "big") + blob[at + 8 :]))


@pytest.mark.parametrize("at", [0, 8])
def test_a_linear_model_with_a_count_that_cannot_be_is_refused(at: int) -> None:
    spec, label = SPECS["river-linear"]
    engine: Any = build(spec)
    engine.learn({"a": 1.0, "b": 2.0}, label)
    blob, begin = engine.dump(), 13 + 9 + at  # behind the seal and River's head: rows, and steps of the optimiser
    assert blob[begin : begin + 8] == (1).to_bytes(8, "little")
    with pytest.raises(SnapshotError):
        restore(spec, resealed(blob[:begin] + (2**63 - 1).to_bytes(8, "little") + blob[begin + 8 :]))


def test_a_forged_model_that_lacks_a_part_is_refused_where_it_comes_from_outside() -> None:
    spec, label = SPECS["river-bayes"]
    engine: Any = build(spec)
    engine.learn({"a": 1.0, "b": 2.0}, label)
    blob = engine.dump()
    forged = resealed(blob.replace(b"seed", b"weed"))
    assert forged != blob
    check_whole(restore(spec, blob))
    with pytest.raises(SnapshotError, match="cannot be written again"):
        check_whole(restore(spec, forged))
    with pytest.raises(SnapshotError, match="cannot be written again"):
        read_model(pack_parts(spec.to_json(), forged))
    kept = Kept(spec.to_json(), forged, 0)
    with pytest.raises(SnapshotError, match="cannot be written again"):
        Origins(spec, None, lambda keys: {"": kept}, "fail").begin(["k"], lambda: None)


def test_an_onnx_model_with_names_that_are_no_text_is_refused() -> None:
    made = target("onnx-restore").seeds[0]
    at = made.rindex(b"\x12\x01n") + 2  # the name of the dimension of the rows of an output
    assert outcome(target("onnx-restore"), made)[0] == "ok"
    kind, told = outcome(target("onnx-restore"), made[:at] + b"\x8e" + made[at + 1 :])
    assert kind == "refused", told


def test_a_network_without_outputs_or_with_names_that_are_no_text_is_refused(tmp_path: Path) -> None:
    made = target("neural-file").seeds[0]
    hollow = onnx.load_from_string(made)
    del hollow.graph.output[:]
    assert made.count(b"\x01z") == 2
    for data, words in (
        (hollow.SerializeToString(), "has no output"),
        (made.replace(b"\x01z", b"\x01\x96"), "is not a network that can be read"),
    ):
        (tmp_path / "m.onnx").write_bytes(data)
        spec = EngineSpec("neural", "classification", str(tmp_path / "m.onnx"), (Field("xs", "vector"),), FLAG)
        with pytest.raises(ConfigError, match=words):
            build(spec)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("orders", b'promote\t{"issued_by":' + b"[" * 100_000),
        ("block", b"T1\1\0\0\0s" + struct.pack("<I", 100_000) + b"[" * 100_000),
        ("comparison-state", b"\1" + struct.pack("<I", 100_000) + b"[" * 100_000),
        ("model-mlp", b"/models/a\0b.onnx"),
        ("alert-rules", b"ROCAUC < " + b"9" * 200_000 + b"x"),
        ("guardrails", b"LogLoss < " + b"9" * 200_000 + b"x"),
        ("options", b"TYPE=DOUBLE\nlabel-table=l\nlabel=y\nlabel-default=" + b"9" * 200_000 + b"x"),
    ],
)
def test_what_once_broke_a_reader(name: str, data: bytes) -> None:
    kind, told = outcome(target(name), data)
    assert kind in ("ok", "refused"), told


@pytest.mark.parametrize("text", ["file://[x/m.onnx", "http://[::1", "fraud$" + "9" * 5000, "m?threads=" + "9" * 5000])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_file(parse_reference(text).model)


def test_numbers_that_are_too_long_for_int_break_no_worker() -> None:
    long = "9" * 5000
    assert version_number(long) > 0
    feed = object.__new__(ModelFeed)
    feed._versions = {"m": {}}
    feed._take(SimpleNamespace(value=None, key=b"m/" + long.encode()))


def test_a_graph_that_names_a_value_again_and_again_is_read_at_once() -> None:
    text = SimpleNamespace(name="x", type="tensor(string)", shape=["n", 2])
    wide = SimpleNamespace(name="y", type="tensor(string)", shape=["n", 10**12])
    nodes = {b"0": _Node(b"Concat", (b"x", b"x"), (), (), 1)}
    for at in range(1, 45):
        nodes[b"%d" % at] = _Node(b"Concat", (b"%d" % (at - 1),) * 2, (), (), 1)
    nodes[b"e"] = _Node(b"OneHotEncoder", (b"44",), (), ("a",), None)
    nodes[b"f"] = _Node(b"OneHotEncoder", (b"y",), (), ("a",), None)
    nodes[b"g"] = _Node(b"OneHotEncoder", (b"3",), (), ("b",), None)
    assert Vocabulary(Graph((), (), nodes, {}), [text, wide]).known == {("x", at): frozenset("b") for at in (0, 1)}
