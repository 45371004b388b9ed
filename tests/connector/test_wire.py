"""The contract: documented schemas, golden bytes by the official avro library, strict encode and decode."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import avro.io
import avro.schema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import WireError
from thalweg.connector.wire import SCHEMAS, decode, encode, schema
from wire_records import RECORDS

GOLDEN = Path(__file__).parent.parent / "golden"
UNITS = (
    "milliseconds",
    "bytes",
    "count",
    "unit",
    "probability",
    "version",
    "counted",
    "number of",
    "offset",
    "partition",
)


def golden(name: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in (GOLDEN / f"{name}.hex").read_text().split()]


BEFORE = {"dead_letter": golden("dead_letter-before-headers")}
"""What the first form of a schema, without the fields that it was given later, wrote."""


def by_avro(name: str, record: dict) -> bytes:
    stream = io.BytesIO()
    writer = avro.io.DatumWriter(avro.schema.parse(json.dumps(schema(name))))
    writer.write(record, avro.io.BinaryEncoder(stream))
    return stream.getvalue()


@pytest.mark.parametrize("name", SCHEMAS)
def test_golden_bytes_are_what_both_libraries_write_and_read(name: str) -> None:
    assert len(golden(name)) == len(RECORDS[name]) == 2
    parsed = avro.schema.parse(json.dumps(schema(name)))
    for raw, record in zip(golden(name), RECORDS[name], strict=True):
        assert by_avro(name, record) == raw
        assert encode(name, record) == raw
        assert decode(name, raw) == record
        assert avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(io.BytesIO(raw))) == record


@pytest.mark.parametrize("name", BEFORE)
def test_bytes_of_before_a_schema_had_its_last_fields_are_still_read(name: str) -> None:
    added = [field for field in schema(name)["fields"] if "added" in field]
    assert added == schema(name)["fields"][-len(added) :]
    for raw, record in zip(BEFORE[name], RECORDS[name], strict=True):
        assert decode(name, raw) == {**record, **{field["name"]: field["default"] for field in added}}
        for spoilt in (raw[:-1], raw + b"\1", raw[:1] + b"\xff" + raw[2:]):
            with pytest.raises(WireError, match=name):
                decode(name, spoilt)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_record_and_field_is_documented_and_flat(name: str) -> None:
    parsed = schema(name)
    assert parsed["namespace"] == "io.thalweg.v1"
    assert parsed["name"] == name
    assert parsed["doc"]
    assert "logicalType" not in json.dumps(parsed)
    for field in parsed["fields"]:
        kind = field["type"]
        assert field["doc"].endswith("."), field
        if isinstance(kind, list):
            assert kind[0] == "null"
            assert len(kind) == 2
            assert field["default"] is None
        else:
            assert "default" not in field
        if field["name"].endswith("_ms"):
            assert kind == "long"
            assert "epoch milliseconds UTC" in field["doc"]
        elif kind in ("int", "long", "double", ["null", "double"]):
            assert any(unit in field["doc"].lower() for unit in UNITS), field


def test_there_is_one_file_per_schema() -> None:
    folder = Path(__file__).parents[2] / "connector" / "schemas"
    assert {path.stem for path in folder.glob("*")} == set(SCHEMAS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": "0.5"}, "prediction.score is of type str; it must be a number"),
        ({"score": float("nan")}, "prediction.score is nan; it must be finite"),
        ({"score": True}, "prediction.score is True"),
        ({"learned": 1.5}, "prediction.learned is 1.5; it must be an integer of 64 bits"),
        ({"learned": 2**63}, "prediction.learned is 9223372036854775808"),
        ({"learned": True}, "prediction.learned is True"),
        ({"learned": None}, "prediction.learned is None"),
        ({"probabilities": {"a": None}}, r"prediction.probabilities\['a'\] is None"),
        ({"probabilities": {1: 0.5}}, "a key of prediction.probabilities is 1"),
        ({"probabilities": [("a", 0.5)]}, "prediction.probabilities is of type list"),
        ({"reason": "\ud800"}, "prediction.reason holds a lone surrogate"),
        ({"reason": b"x"}, "prediction.reason is of type bytes"),
        ({"model": ""}, "prediction.model is empty"),
        ({"colour": "red"}, "prediction has no field 'colour'"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_by_schema_and_field(change: dict, words: str) -> None:
    with pytest.raises(WireError, match=words):
        encode("prediction", {**RECORDS["prediction"][0], **change})


def test_all_missing_and_unknown_fields_are_told_at_once() -> None:
    words = r"label lacks the field 'event_id' and lacks the field 'label' and has no field 'x'\."
    with pytest.raises(WireError, match=words):
        encode("label", {"label_time_ms": 1, "x": 2})


def test_secrets_in_values_stay_out_of_errors() -> None:
    with pytest.raises(WireError) as caught:
        encode("label", {"event_id": b"geheim", "label_time_ms": 1, "label": "x"})
    assert "geheim" not in str(caught.value)


def test_an_unknown_schema_is_told() -> None:
    with pytest.raises(WireError, match="'labels' is not a schema of the wire contract; there are prediction, label"):
        decode("labels", b"")


@pytest.mark.parametrize("name", SCHEMAS)
def test_registry_framing_is_refused_and_named(name: str) -> None:
    with pytest.raises(WireError, match="schema registry's framing"):
        decode(name, b"\0\0\0\0\x2a" + golden(name)[0])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_cut_and_every_addition_is_refused(name: str) -> None:
    for raw in golden(name):
        for end in range(len(raw)):
            if raw[:end] not in BEFORE.get(name, ()):
                with pytest.raises(WireError, match=name):
                    decode(name, raw[:end])
        with pytest.raises(WireError, match=r"1 of .* bytes are left over"):
            decode(name, raw + b"\0")


def test_a_tombstone_is_told() -> None:
    with pytest.raises(WireError, match="tombstone"):
        decode("label", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x02a\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a text of 2^63 - 1 bytes
        b"\x02a\x02\x01",  # a text of -1 bytes
        b"\x02a\x02\x02\xff",  # not UTF-8
        b"\x02a\x82\x00\x02b",  # a number longer than it needs to be
        b"\x02a" + b"\xff" * 11 + b"\x01\x02b",  # a number of more than 64 bits
    ],
)
def test_hostile_lengths_and_numbers_are_refused_without_allocating(raw: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="The label record"):
            decode("label", raw)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_negative_union_branch_is_refused() -> None:
    raw = encode("dead_letter", RECORDS["dead_letter"][1])
    assert raw.endswith(b"\0\0\0")
    with pytest.raises(WireError, match="not written as Avro writes it"):
        decode("dead_letter", raw[:-1] + b"\x03")


def test_numbers_outside_their_type_are_refused_on_reading() -> None:
    raw = encode("dead_letter", {**RECORDS["dead_letter"][1], "partition": 2**31 - 1})
    wide = raw.replace(b"\xfe\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\x1f")
    assert wide != raw
    with pytest.raises(WireError, match=r"dead_letter.partition is \d+; it must be an integer of 32 bits"):
        decode("dead_letter", wide)


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
STRATEGIES = {
    "string": TEXT,
    "bytes": st.binary(max_size=20),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONGS,
    "double": DOUBLES,
}


def values(kind: object) -> st.SearchStrategy:
    if isinstance(kind, list):
        return st.none() | values(kind[1])
    if isinstance(kind, dict):
        return st.dictionaries(TEXT, values(kind["values"]), max_size=4)
    return STRATEGIES[str(kind)]


@st.composite
def records(draw: st.DrawFn) -> tuple[str, dict]:
    name = draw(st.sampled_from(SCHEMAS))
    fields = schema(name)["fields"]
    record = {field["name"]: draw(values(field["type"])) for field in fields}
    record[fields[0]["name"]] = draw(TEXT.filter(bool))
    return name, record


@given(records())
def test_round_trip(pair: tuple[str, dict]) -> None:
    name, record = pair
    raw = encode(name, record)
    assert raw == by_avro(name, record)
    assert decode(name, raw) == record


@given(st.sampled_from(SCHEMAS), st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_wire_error(name: str, raw: bytes) -> None:
    try:
        record = decode(name, raw)
    except WireError:
        return
    assert encode(name, record) == raw


@given(records(), st.data())
def test_changed_bytes_raise_nothing_but_wire_error(pair: tuple[str, dict], data: st.DataObject) -> None:
    name, record = pair
    raw = bytearray(encode(name, record))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(name, bytes(raw))
    except WireError:
        return
