"""A snapshot as a file: the same after a round trip, readable by others, refused when anything is wrong."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import avro.datafile
import avro.io
import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import SnapshotError
from thalweg.connector.snapshot import Snapshot, split
from thalweg.connector.snapshot_file import snapshot_from_file, snapshot_to_file
from thalweg.connector.wire import schema


def made(**changes: Any) -> Snapshot:
    plain = Snapshot("delay", "UA", "river", '{"kind":"river"}', 12, 99, b"model", 98, "", {"accuracy": 0.5}, "thalweg")
    return replace(plain, **changes)


@given(st.binary(max_size=5000), st.text(st.characters(exclude_categories=("Cs",)), max_size=8), st.integers(0, 2**60))
def test_a_snapshot_comes_back_from_its_file(blob: bytes, key: str, version: int) -> None:
    snapshot = made(blob=blob, key=key, version=version)
    data = snapshot_to_file(snapshot)
    assert snapshot_from_file(data) == snapshot
    assert snapshot_to_file(snapshot) == data


def test_a_large_model_is_one_record_that_avro_itself_reads() -> None:
    snapshot = made(blob=bytes(range(256)) * 20_000)  # 5 MB: six records in a topic
    data = snapshot_to_file(snapshot)
    (record,) = avro.datafile.DataFileReader(io.BytesIO(data), avro.io.DatumReader())
    assert (record["model"], record["chunks"], record["blob"]) == ("delay", 1, snapshot.blob)
    assert snapshot_from_file(data) == snapshot


@given(st.data())
def test_a_damaged_file_is_refused_or_is_the_same(data: st.DataObject) -> None:
    whole = snapshot_to_file(made())
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for some in (broken, whole[:at]):
        try:
            found = snapshot_from_file(some)
        except SnapshotError:
            continue
        # What carries no checksum is text for people, or names: never the model's own bytes.
        assert found.blob == made().blob


def container(avro_schema: Any, records: list[Any], codec: str = "null") -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(avro_schema), records, codec=codec)
    return stream.getvalue()


def test_other_containers_are_refused() -> None:
    (record,) = split(made())
    other = {"type": "record", "name": "other", "fields": [{"name": "x", "type": "string"}]}
    assert snapshot_from_file(container(schema("snapshot"), [record])) == made()
    for data, told in (
        (b"", "no snapshot"),
        (b"PK\x03\x04", "no snapshot"),
        (container(other, [{"x": "y"}]), "something else"),
        (container(schema("snapshot"), [record], "deflate"), "something else"),
        (container(schema("snapshot"), []), "holds 0 records"),
        (container(schema("snapshot"), [record, record]), "holds 2 records"),
        (container(schema("snapshot"), [record | {"blob": b"modem"}]), "checksum"),
        (container(schema("snapshot"), [record | {"protocol": 2}]), "protocol 2"),
        (container(schema("snapshot"), [record | {"spec": "[]"}]), "not a JSON object"),
        (container(schema("snapshot"), [record | {"snapshot_key": ""}]), "is empty"),
    ):
        with pytest.raises(SnapshotError, match=told):
            snapshot_from_file(data)


def test_what_is_too_large_is_not_written_and_not_read() -> None:
    snapshot = made(blob=bytes(3000))
    data = snapshot_to_file(snapshot)
    for act in (
        lambda: snapshot_to_file(snapshot, max_snapshot_bytes=2000),
        lambda: snapshot_from_file(data, max_snapshot_bytes=2000),
    ):
        with pytest.raises(SnapshotError, match="limit is 2000"):
            act()
    with pytest.raises(SnapshotError, match="the limit is"):
        snapshot_from_file(b"Obj\x01" + bytes(5 * 2**20), max_snapshot_bytes=0)
