"""Signed snapshots: the whole of one is vouched for, and nobody builds from one before that is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector import snapshot as envelope
from thalweg.connector.errors import SignatureError, SnapshotError, ThalwegError
from thalweg.connector.keys import generate_key
from thalweg.connector.signing import Trust, part_signature
from thalweg.connector.snapshot import Snapshot, assemble, split
from thalweg.connector.snapshot_file import snapshot_from_file, snapshot_to_file
from thalweg.connector.snapshot_signature import sign_snapshot
from thalweg.connector.wire import decode, encode

KEY = generate_key("ed25519", "ci-2026")
TRUST = Trust([KEY.public()], required=True)
GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MADE = Snapshot(
    "delay",
    "UA",
    "river",
    '{"kind":"river"}',
    12,
    99,
    b"model" * 500,
    98,
    '{"f-0":1}',
    {"b": 0.5, "a": 0.25},
    "thalweg",
)


def sent(snapshot: Snapshot, **changes: Any) -> list[dict[str, Any]]:
    return [decode("snapshot", encode("snapshot", {**record, **changes})) for record in split(snapshot)]


@given(st.binary(max_size=3000), st.integers(900, 3000), st.sampled_from(["hmac-sha256", "ed25519"]))
def test_a_signed_snapshot_comes_whole_out_of_its_parts(blob: bytes, size: int, algorithm: str) -> None:
    key = generate_key(algorithm, "k")
    made = sign_snapshot(replace(MADE, blob=blob), key)
    records = [decode("snapshot", encode("snapshot", record)) for record in split(made, size)]
    assert assemble(records, trust=Trust([key.public()], True)) == made
    assert assemble(records) == made
    assert made.writer == "thalweg"


def test_a_map_that_a_sink_writes_in_its_own_order_is_the_same() -> None:
    (record,) = sent(sign_snapshot(MADE, KEY))
    turned = {**record, "metrics": dict(reversed(record["metrics"].items()))}
    assert list(turned["metrics"]) != list(record["metrics"])
    assemble([turned], trust=TRUST)


CHANGES: dict[str, Any] = {
    "model": "fraud", "key": "AA", "kind": "neural", "spec": '{"kind":"neural"}', "version": 13, "event_time_ms": 100,
    "watermark_ms": 97, "source_offsets": "", "metrics": {"a": 0.25, "b": 0.5000001}, "writer": "thalweg 2",
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_field_that_is_not_what_was_signed_is_refused(field: str) -> None:
    (record,) = sent(sign_snapshot(MADE, KEY))
    if field == "writer":
        record["writer"] = record["writer"].replace("thalweg", CHANGES["writer"], 1)
    else:
        record[field] = CHANGES[field]
    with pytest.raises(SignatureError, match="not what 'ci-2026' has signed"):
        assemble([record], trust=TRUST)
    assert assemble([record]).size == MADE.size  # whoever asks for no signature sees what is there


def test_another_blob_with_its_own_checksum_is_refused() -> None:
    signature = sign_snapshot(MADE, KEY).signature
    with pytest.raises(SignatureError):
        assemble(sent(replace(MADE, blob=b"evil", signature=signature)), trust=TRUST)


def test_every_field_of_the_envelope_is_signed_or_told_by_others() -> None:
    """A field that is added to the schema and not to the signature would be anybody's to change."""
    (record,) = split(MADE)
    derived = {"snapshot_key", "chunk", "chunks", "blob"}  # of model and key; of the cut; of the checksum
    assert set(record) == set(CHANGES) | derived | {"protocol", "sha256", "size"}


@given(st.data())
def test_any_bit_of_a_record_that_is_flipped_is_refused(data: st.DataObject) -> None:
    raw = bytearray(encode("snapshot", split(sign_snapshot(replace(MADE, blob=b"model"), KEY))[0]))
    at, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    raw[at] ^= 1 << bit
    try:
        found = assemble([decode("snapshot", bytes(raw))], trust=TRUST)
    except ThalwegError:
        pass
    else:  # the key of the record is for compaction alone: model and key are told by their own fields
        assert found == sign_snapshot(replace(MADE, blob=b"model"), KEY)


def test_nothing_is_parsed_before_the_signature_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(text: str) -> Any:
        raise AssertionError("the spec was parsed")

    monkeypatch.setattr(envelope.json, "loads", parsed)
    for made in (MADE, sign_snapshot(MADE, generate_key("ed25519", "ci-2026")), replace(MADE, spec="[" * 10_000)):
        with pytest.raises(SignatureError):
            assemble(sent(made), trust=TRUST)
    with pytest.raises(AssertionError):
        assemble(sent(sign_snapshot(MADE, KEY)), trust=TRUST)


def test_a_file_keeps_its_signature() -> None:
    signed = sign_snapshot(MADE, KEY)
    assert snapshot_from_file(snapshot_to_file(signed), trust=TRUST) == signed
    with pytest.raises(SignatureError, match="not signed"):
        snapshot_from_file(snapshot_to_file(MADE), trust=TRUST)
    assert snapshot_from_file(snapshot_to_file(signed)) == signed


def test_a_snapshot_from_before_there_were_signatures_is_read() -> None:
    record = decode("snapshot", bytes.fromhex((GOLDEN / "snapshot.hex").read_text().split()[0]))
    lenient = Trust([KEY.public()], required=False)
    for trust in (None, lenient):
        assert assemble([record], trust=trust).signature == ""
    with pytest.raises(SignatureError, match="not signed"):
        assemble([record], trust=TRUST)


def test_a_reader_that_knows_no_signatures_reads_a_signed_snapshot() -> None:
    (record,) = split(sign_snapshot(MADE, KEY))
    who, signature = part_signature(record["writer"])
    assert who == "thalweg"
    assert signature.startswith("ed25519:ci-2026:")
    assert {**record, "writer": who} == split(MADE)[0]
    assert json.loads(record["spec"]) == {"kind": "river"}


def test_damage_is_told_as_damage() -> None:
    (record,) = sent(sign_snapshot(MADE, KEY))
    record["blob"] = record["blob"][:-1]
    with pytest.raises(SnapshotError, match="bytes and not"):
        assemble([record], trust=TRUST)
