"""The envelope: cut, put together, and refused as a whole when anything is wrong."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import SnapshotError
from thalweg.connector.snapshot import PROTOCOL, Snapshot, assemble, is_manifest, split
from thalweg.connector.wire import decode, encode

SPEC = '{"kind":"river"}'


def snapshot(blob: bytes = b"model", **changes: Any) -> Snapshot:
    made = Snapshot("delay", "UA", "river", SPEC, 12, 99, blob, 98, '{"f-0":1}', {"accuracy": 0.5}, "thalweg 0.1.0")
    return replace(made, **changes)


@given(
    st.binary(max_size=5000),
    st.integers(800, 3000),
    st.sampled_from([0, 1]),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_round_trip_in_any_order_and_no_record_is_too_long(
    blob: bytes, max_bytes: int, slot: int, key: str, random: Any
) -> None:
    made = snapshot(blob, key=key)
    records = split(made, max_bytes, slot=slot)
    raws = [encode("snapshot", record) for record in records]
    assert all(len(raw) <= max_bytes for raw in raws)
    assert [is_manifest(record) for record in records] == [False] * (len(records) - 1) + [True]
    assert len({record["snapshot_key"] for record in records}) == len(records)
    decoded = [decode("snapshot", raw) for raw in raws] * 2
    random.shuffle(decoded)
    assert assemble(decoded) == made


def test_a_snapshot_that_fits_is_one_record() -> None:
    (record,) = split(snapshot(), slot=1)
    assert record["snapshot_key"] == "delay/UA"
    assert (record["chunk"], record["chunks"], record["blob"]) == (0, 1, b"model")
    assert record["sha256"] == hashlib.sha256(b"model").hexdigest()


def test_default_records_stay_below_the_brokers_limit() -> None:
    records = split(snapshot(bytes(2_000_000)))
    assert len(records) == 3
    assert 899_000 < max(len(encode("snapshot", record)) for record in records) <= 900_000


def test_keys_cannot_collide() -> None:
    keys = set()
    pairs = [("a", "b/0-0"), ("a/b", ""), ("a", "b"), ("a", "b%2F0-0"), ("a%2Fb", ""), ("a", "")]
    for model, key in pairs:
        for slot in (0, 1):
            keys |= {
                (record["snapshot_key"], model, key)
                for record in split(snapshot(bytes(3000), model=model, key=key), 1000, slot=slot)
            }
    assert len({key for key, _, _ in keys}) == len(keys)


@given(st.lists(st.integers(0, 4000), min_size=2, max_size=6), st.data())
def test_compaction_at_any_moment_keeps_the_newest_whole_snapshot(sizes: list[int], data: st.DataObject) -> None:
    log: list[tuple[str, dict]] = []
    slot = 0
    ends = []
    for version, size in enumerate(sizes):
        made = snapshot(bytes([version]) * size, version=version)
        log += [(record["snapshot_key"], record) for record in split(made, 1000, slot=slot)]
        slot = 1 - slot
        ends.append((len(log), made))
    cut = data.draw(st.integers(ends[0][0], len(log)))
    newest = [made for end, made in ends if end <= cut][-1]
    compacted = dict(log[:cut])
    manifest = compacted["delay/UA"]
    parts = [record for record in compacted.values() if record["sha256"] == manifest["sha256"]]
    assert assemble(parts) == newest


def broken(change: dict, blob: bytes = b"model") -> list[dict]:
    return [{**record, **change} for record in split(snapshot(blob), 1000)]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no record"),
        (broken({"protocol": PROTOCOL + 1}), "protocol 2, this version reads 1. It was written by 'thalweg 0.1.0'"),
        (broken({"blob": b"medal"}), "checksum"),
        (broken({"blob": b"mode"}), "has 4 bytes and not 5"),
        (broken({"sha256": "0" * 64}), "checksum"),
        (broken({"size": 2**40}), "1099511627776 bytes, the limit is"),
        (broken({"size": -1}), "negative"),
        (broken({"chunks": 0}), "negative"),
        (broken({"chunks": 2**31 - 1}), "1 of 2147483647 parts"),
        (broken({"chunk": 5}), "1 of 1 parts"),
        (broken({"spec": "nonsense"}), "spec is not JSON"),
        (broken({"spec": "[]"}), "spec is not a JSON object"),
        (broken({"spec": "[" * 100_000}), "spec is not JSON"),
        (broken({}, bytes(3000))[1:], "3 of 4 parts|4 of 5 parts"),
        (broken({}, bytes(3000))[:-1], "3 of 4 parts|4 of 5 parts"),
        (broken({}) + broken({"version": 13}), "parts of different snapshots"),
        (broken({}) + broken({"blob": b"medal"}), "part 0 is there twice, with different bytes"),
    ],
)
def test_whatever_is_wrong_is_told_with_model_and_key(records: list[dict], words: str) -> None:
    with pytest.raises(SnapshotError, match=words) as caught:
        assemble(records)
    if records:
        assert "model 'delay', key 'UA'" in str(caught.value)


def test_limits_name_the_remedy() -> None:
    with pytest.raises(SnapshotError, match=r"100 bytes, the limit is 99\. Make the model smaller"):
        split(snapshot(bytes(100)), max_snapshot_bytes=99)
    with pytest.raises(SnapshotError, match="limit is 99"):
        assemble(split(snapshot(bytes(100))), max_snapshot_bytes=99)
    with pytest.raises(SnapshotError, match="what describes the model leaves"):
        split(snapshot(spec='"' + "x" * 900 + '"'), 1000)
    with pytest.raises(SnapshotError, match="slot is 2"):
        split(snapshot(), slot=2)


def test_the_blob_stays_out_of_repr_and_snapshots_can_be_hashed() -> None:
    assert "geheim" not in repr(snapshot(b"geheim"))
    assert len({snapshot(), snapshot()}) == 1
