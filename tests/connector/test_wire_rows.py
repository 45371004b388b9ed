"""Customers' tables: schema, decoder and encoder of a list of columns, in Avro and in JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime
from decimal import Decimal

import avro.io
import avro.schema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, WireError
from thalweg.connector.wire import decoder, encoder, sql_schema

FLIGHT = [
    ("id", "BIGINT", False),
    ("carrier", "STRING", True),
    ("delay", "DOUBLE", True),
    ("gate", "INT NOT NULL", True),
    ("late", "BOOLEAN", True),
    ("at", "TIMESTAMP(3)", False),
    ("price", "DECIMAL(5, 2)", True),
    ("tags", "ARRAY<STRING NOT NULL>", True),
    ("weights", "MAP<STRING, DOUBLE>", True),
    ("plane", "ROW<seats INT, `make` STRING NOT NULL>", True),
    ("raw", "BYTES", True),
    ("speed", "FLOAT", True),
]
FULL = {
    "id": 7,
    "carrier": "Ünited",
    "delay": -2.5,
    "gate": 4,
    "late": False,
    "at": 1_357_034_400_123,
    "price": Decimal("-123.45"),
    "tags": ["a", ""],
    "weights": {"x": 1.5, "y": None},
    "plane": {"seats": None, "make": "B737"},
    "raw": b"\0\xff",
    "speed": 0.5,
}
EMPTY = {**dict.fromkeys(FULL), "id": 0, "gate": 0, "at": 0}


@pytest.mark.parametrize("row", [FULL, EMPTY])
def test_a_row_comes_back_and_the_avro_library_reads_it(row: dict) -> None:
    raw = encoder(FLIGHT)(row)
    decoded = decoder(FLIGHT)(raw)
    assert decoded == row
    assert list(decoded) == [name for name, _, _ in FLIGHT]
    parsed = avro.schema.parse(json.dumps(sql_schema(FLIGHT)))
    by_avro = avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(io.BytesIO(raw)))
    assert {**by_avro, "at": round(by_avro["at"].timestamp() * 1000)} == row


def test_the_schema_is_named_and_nullable_as_flink_does_it() -> None:
    assert sql_schema(FLIGHT)["name"] == "org.apache.flink.avro.generated.record"
    fields = {field["name"]: field for field in sql_schema(FLIGHT)["fields"]}
    assert fields["id"] == {"name": "id", "type": "long"}
    assert fields["delay"] == {"name": "delay", "type": ["null", "double"], "default": None}
    assert fields["at"]["type"] == {"type": "long", "logicalType": "timestamp-millis"}
    assert fields["plane"]["type"][1]["name"] == "org.apache.flink.avro.generated.record_plane"
    assert fields["weights"]["type"][1]["values"] == ["null", "double"]


def test_all_columns_that_cannot_be_are_told_at_once() -> None:
    columns = [
        ("a", "TIMESTAMP_LTZ(3)", True),
        ("b", "TIMESTAMP(6)", True),
        ("c", "MAP<INT, INT>", True),
        ("d-e", "INT", True),
        ("ok", "INT", True),
        ("f", "ROW<`x-y` INT>", True),
    ]
    with pytest.raises(ConfigError) as caught:
        sql_schema(columns)
    culprits = [problem.where for problem in caught.value.problems]
    assert culprits == [f"column '{name}'" for name in ("a", "b", "c", "d-e", "f")]
    assert all(problem.remedy for problem in caught.value.problems)


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(ConfigError, match="format 'csv'"):
        decoder(FLIGHT, format="csv")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 1.5}, r"row.id is 1.5; it must be an integer of 64 bits"),
        ({"gate": 2**31}, "row.gate is 2147483648; it must be an integer of 32 bits"),
        ({"gate": None}, "row.gate is None"),
        ({"late": "yes"}, "row.late is of type str; it must be a boolean"),
        ({"price": Decimal("1.234")}, "row.price does not fit"),
        ({"price": Decimal("1234.5")}, "row.price does not fit"),
        ({"price": 1.5}, "row.price is 1.5; it must be a finite Decimal"),
        ({"plane": {"seats": 1}}, "row.plane lacks the field 'make'"),
        ({"tags": "abc"}, "row.tags is of type str; it must be a list"),
        ({"speed": 1e300}, "row.speed is 1e.300; it must be within the range of FLOAT"),
        ({"delay": 10**400}, "row.delay is a huge integer"),
    ],
)
def test_the_encoder_refuses_what_fastavro_would_bend(change: dict, words: str) -> None:
    with pytest.raises(WireError, match=words):
        encoder(FLIGHT)({**FULL, **change})


def test_times_are_integers_because_naive_datetimes_depend_on_the_machine() -> None:
    with pytest.raises(WireError, match=r"row.at is of type datetime"):
        encoder(FLIGHT)({**FULL, "at": datetime(2020, 1, 1)})


@pytest.mark.parametrize("row", [FULL, EMPTY])
def test_every_cut_and_every_addition_is_refused(row: dict) -> None:
    decode, raw = decoder(FLIGHT), encoder(FLIGHT)(row)
    for end in range(len(raw)):
        with pytest.raises(WireError):
            decode(raw[:end])
    with pytest.raises(WireError, match="left over"):
        decode(raw + b"\0")


def test_registry_framing_is_refused_and_named() -> None:
    payment = [("id", "BIGINT", False), ("amt", "DOUBLE", False)]
    raw = encoder(payment)({"id": 42, "amt": 9.5})
    with pytest.raises(WireError, match="schema registry's framing"):
        decoder(payment)(b"\0\0\0\0\x07" + raw)
    zero = encoder(payment)({"id": 0, "amt": 0.0})
    assert decoder(payment)(zero) == {"id": 0, "amt": 0.0}


def test_registry_framing_that_also_is_a_row_is_refused() -> None:
    columns = [*((name, "INT", False) for name in "abcd"), ("e", "BYTES", False)]
    raw = encoder(columns)({"a": 0, "b": 0, "c": 0, "d": 0, "e": b""})
    assert decoder(columns)(raw)["e"] == b""
    # The header of schema 10 reads as four zeros and the length of what is really the row.
    with pytest.raises(WireError, match="could be plain Avro, but it begins with byte 0"):
        decoder(columns)(b"\0\0\0\0\x0a" + raw)


@pytest.mark.parametrize("header", [b"\0" + bytes(3) + b"\x2a", b"\0" + bytes(7) + b"\x2a"])
def test_framing_of_any_registry_is_named_in_avro_and_json(header: bytes) -> None:
    payment = [("id", "BIGINT", False), ("amt", "DOUBLE", False)]
    raw = header + encoder(payment)({"id": 42, "amt": 9.5})
    with pytest.raises(WireError, match="schema registry's framing"):
        decoder(payment)(raw)
    with pytest.raises(WireError, match="not JSON: it begins with byte 0 as a schema registry's framing"):
        decoder(payment, "json")(header + b'{"id": 42, "amt": 9.5}')
    blank = [*((f"c{n}", "INT", False) for n in range(8)), ("e", "BYTES", False)]
    row = {**dict.fromkeys((f"c{n}" for n in range(8)), 0), "e": b""}
    assert decoder(blank)(encoder(blank)(row)) == row
    with pytest.raises(WireError, match="byte 0"):  # zeros that swallow the header
        decoder(blank)(header[:-1] + b"\x12" + encoder(blank)(row))


@pytest.mark.parametrize("format", ["avro", "json"])
def test_a_tombstone_is_told(format: str) -> None:
    with pytest.raises(WireError, match="tombstone"):
        decoder(FLIGHT, format=format)(None)


def test_numbers_wider_than_their_type_are_refused() -> None:
    with pytest.raises(WireError, match="column 'a' is 1099511627775; it must be an integer of 32 bits"):
        decoder([("a", "INT", True)])(b"\x02\xfe\xff\xff\xff\xff\x3f")
    with pytest.raises(WireError, match=r"column 'a' does not fit DECIMAL\(5, 2\)"):
        decoder([("a", "DECIMAL(5, 2) NOT NULL", True)])(b"\x10\x7f" + b"\xff" * 7)


JSON_FULL = {
    "id": 7,
    "carrier": "Ünited",
    "delay": -2.5,
    "gate": 4,
    "late": False,
    "at": "2013-01-01 10:00:00.123",
    "price": -123.45,
    "tags": ["a", ""],
    "weights": {"x": 1.5, "y": None},
    "plane": {"seats": None, "make": "B737", "age": 3},
    "raw": "AP8=",
    "speed": 0.5,
    "unknown": [{}],
}


def test_json_gives_the_same_row() -> None:
    assert decoder(FLIGHT, format="json")(json.dumps(JSON_FULL).encode()) == FULL
    bare = {"id": 0, "gate": 0, "at": "1970-01-01T00:00:00"}
    decoded = decoder(FLIGHT, format="json")(json.dumps(bare).encode())
    assert decoded == EMPTY
    assert list(decoded) == [name for name, _, _ in FLIGHT]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "the record is an array that does not fit ROW NOT NULL"),
        ("{}", "the record lacks the field 'id', which is NOT NULL"),
        ('{"id": null}', "field 'id' is null that does not fit BIGINT NOT NULL"),
        ('{"id": "7"}', "field 'id' is a string that does not fit BIGINT"),
        ('{"id": 7.0}', "field 'id' is a number"),
        ('{"id": true}', "field 'id' is a boolean"),
        ('{"id": 9223372036854775808}', "field 'id' is a number"),
        ('{"id": 1, "delay": NaN}', "NaN is no JSON number"),
        ('{"id": 1, "delay": -Infinity}', "-Infinity is no JSON number"),
        ('{"id": 1, "delay": 1e999}', "field 'delay' is a number that does not fit DOUBLE"),
        ('{"id": 1, "delay": 1e99999999999999999999}', "not JSON"),
        ('{"id": 1, "delay": "1"}', "field 'delay' is a string"),
        ('{"id": 1, "carrier": 5}', "field 'carrier' is a number"),
        ('{"id": 1, "carrier": "\\ud800"}', "field 'carrier' is a string"),
        ("[" * 100_000, "nested too deeply"),
        ('{"id": ' + "1" * 5000 + "}", "is not JSON"),
    ],
)
def test_json_that_does_not_fit_is_refused(text: str, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decoder(FLIGHT, format="json")(text.encode())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("DATE", '"1970-01-03"', 2),
        ("TIME(3)", '"00:00:01.5"', 1500),
        ("TIMESTAMP_LTZ(3)", '"1970-01-01T00:00:01Z"', 1000),
        ("TIMESTAMP(3)", '"1969-12-31 23:59:59.9"', -100),
        (
            "DECIMAL(38, 18)",
            "1234567890123456789.123456789012345678",
            Decimal("1234567890123456789.123456789012345678"),
        ),
        ("DECIMAL(3)", "100", Decimal(100)),
        ("FLOAT", "0.1", 0.10000000149011612),
    ],
)
def test_json_texts_and_numbers(kind: str, text: str, value: object) -> None:
    assert decoder([("a", kind, True)], format="json")(f'{{"a": {text}}}'.encode()) == {"a": value}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("DATE", '"1970-02-30"'),
        ("TIME", '"25:00"'),
        ("TIMESTAMP(3)", '"1970-01-01T00:00:01Z"'),
        ("TIMESTAMP(3)", "0"),
        ("BYTES", '"%"'),
        ("DECIMAL(3)", "1000"),
        ("DECIMAL(3, 1)", "1.55"),
        ("DECIMAL(3)", "1e999999999"),
        ("FLOAT", "1e39"),
        ("TINYINT", "128"),
    ],
)
def test_json_texts_and_numbers_that_do_not_fit(kind: str, text: str) -> None:
    with pytest.raises(WireError, match=rf"field 'a' is a \w+ that does not fit {kind.split('(')[0]}"):
        decoder([("a", kind, True)], format="json")(f'{{"a": {text}}}'.encode())


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "carrier": st.none() | TEXT,
        "delay": st.none() | st.floats(allow_nan=False),
        "gate": st.integers(-(2**31), 2**31 - 1),
        "late": st.none() | st.booleans(),
        "at": st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(Decimal("-999.99"), Decimal("999.99"), places=2),
        "tags": st.none() | st.lists(TEXT, max_size=3),
        "weights": st.none() | st.dictionaries(TEXT, st.none() | st.floats(allow_nan=False), max_size=3),
        "plane": st.none()
        | st.fixed_dictionaries({"seats": st.none() | st.integers(-(2**31), 2**31 - 1), "make": TEXT}),
        "raw": st.none() | st.binary(max_size=10),
        "speed": st.none() | st.floats(width=32, allow_nan=False),
    }
)
DECODE, ENCODE, DECODE_JSON = decoder(FLIGHT), encoder(FLIGHT), decoder(FLIGHT, format="json")


@given(ROWS)
def test_round_trip(row: dict) -> None:
    assert DECODE(ENCODE(row)) == row


@given(st.binary(max_size=120))
@example(b"\0" * 12)
@example(b"\x02" * 11 + b"\xfe\xff\xff\xff\xff\x3f")
def test_hostile_bytes_raise_nothing_but_wire_error(raw: bytes) -> None:
    for decode in (DECODE, DECODE_JSON):
        try:
            decode(raw)
        except WireError:
            continue


@given(ROWS, st.data())
def test_changed_bytes_raise_nothing_but_wire_error(row: dict, data: st.DataObject) -> None:
    raw = bytearray(ENCODE(row))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        DECODE(bytes(raw))
    except WireError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, "make"]), inner, max_size=5),
    max_leaves=12,
)


@given(JSON)
def test_hostile_json_raises_nothing_but_wire_error(value: object) -> None:
    try:
        row = DECODE_JSON(json.dumps(value).encode())
    except WireError:
        return
    assert DECODE(ENCODE(row)) == row
