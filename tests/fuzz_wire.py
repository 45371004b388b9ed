"""The targets of the fuzz campaign that are bytes of topics and files: records, rows, snapshots, models by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fuzz_base import GOLDEN, Target, as_lines, as_text
from thalweg.connector.errors import ConfigError
from thalweg.connector.wire import SCHEMAS, decode, decoder, encode, encoder

TYPES = """
DOUBLE;ROW<`a b` DECIMAL(10, 2) NOT NULL 'comment', c MAP<STRING, ARRAY<TIMESTAMP(3) WITHOUT TIME ZONE>>>
VARCHAR(20) NOT NULL;TIMESTAMP_LTZ(3);DOUBLE PRECISION
"""


def _schema(name: str) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        record = decode(name, data)
        again = decode(name, encode(name, record))
        assert again == record, "not the same when it is written and read again"
        return sorted((field, type(value).__name__) for field, value in record.items())

    return read


COLUMNS = [
    ("id", "STRING", False), ("a", "DOUBLE", True), ("f", "FLOAT", True), ("n", "TINYINT", True), ("i", "INT", False),
    ("big", "BIGINT", True), ("on", "BOOLEAN", True), ("money", "DECIMAL(10, 2)", True), ("day", "DATE", True),
    ("clock", "TIME", True), ("at", "TIMESTAMP(3)", True), ("raw", "BYTES", True), ("xs", "ARRAY<DOUBLE>", True),
    ("m", "MAP<STRING, ARRAY<INT>>", True), ("r", "ROW<p DOUBLE, q ROW<s STRING NOT NULL>>", True),
]  # fmt: skip
ROW = {
    "id": "x", "a": 1.5, "f": 2.5, "n": 7, "i": -3, "big": 2**40, "on": True, "money": None, "day": 19_000,
    "clock": 3_600_000, "at": 1_700_000_000_123, "raw": b"\0\xff", "xs": [1.0, None], "m": {"k": [1, 2]},
    "r": {"p": 0.5, "q": {"s": "deep"}},
}  # fmt: skip
JSON_ROW = (
    b'{"id":"x","a":1.5,"f":2.5,"n":7,"i":-3,"big":9007199254740993,"on":true,"money":12.34,"day":"2026-01-31",'
    b'"clock":"10:00:00.5","at":"2026-01-31 10:00:00.123","raw":"AP8=","xs":[1.0,null],"m":{"k":[1,2]},'
    b'"r":{"p":0.5,"q":{"s":"deep"}},"more":[{}]}'
)


def _rows(format: str) -> Callable[[bytes], Any]:
    columns = [c for c in COLUMNS if format == "json" or c[0] != "clock"]
    read, write = decoder(columns, format), encoder(columns)

    def rows(data: bytes) -> Any:
        row = read(data)
        assert list(row) == [name for name, _, _ in columns]
        write(row)
        return sorted(type(value).__name__ for value in row.values())

    return rows


def _columns(text: str) -> Any:
    from thalweg.connector.sqltypes import parse_columns

    return parse_columns([(f"c{n}", part, True) for n, part in enumerate(text.split(";"))]).children[0].root


# Snapshots


def _snapshot() -> Any:
    from thalweg.connector.snapshot import Snapshot

    spec = '{"inputs":[["x","number"]],"kind":"river","model":"a","output":["y","number"],"params":[],"task":"t"}'
    return Snapshot("delay", "UA/%", "river", spec, 7, 0, b"model" * 20, metrics={"auc": 0.5}, writer="x")


def _records(data: bytes) -> Any:
    """Read a few records, one after the other with their lengths before them, as a topic would hold them."""
    from thalweg.connector.snapshot import Parts, assemble

    parts, made, at = Parts(), 0, 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found = parts.add(decode("snapshot", data[at + 2 : at + 2 + size]))
        if found:
            made += assemble(record for record, _ in found.values()).size
        at += 2 + size
    return made, len(parts.waiting)


def _record_seeds() -> list[bytes]:
    from thalweg.connector.snapshot import split

    whole = [[encode("snapshot", part) for part in split(_snapshot(), size)] for size in (900_000, 700)]
    return [b"".join(len(raw).to_bytes(2, "big") + raw for raw in records) for records in whole]


def _file(data: bytes) -> Any:
    from thalweg.connector.snapshot_file import snapshot_from_file, snapshot_to_file

    found = snapshot_from_file(data)
    assert snapshot_from_file(snapshot_to_file(found)) == found
    return found.size


def _file_seeds() -> list[bytes]:
    from thalweg.connector.snapshot_file import snapshot_to_file

    return [snapshot_to_file(_snapshot())]


def _models(data: bytes) -> Any:
    """Read a version and a pointer of the topic of models from JSON."""
    from thalweg.connector.modelstate import state_of
    from thalweg.connector.snapshot import Snapshot

    version, _, pointer = data.decode("utf-8", "replace").partition("\n")
    told: list[str] = []
    snapshots = {
        ("m", "1"): Snapshot("m", "1", "onnx", version, 1, 0, b""),
        ("m", ""): Snapshot("m", "", "serving", pointer, 1, 0, b""),
    }
    return [state.serving for state in state_of(snapshots, told.append).values()], len(told)


MODELS = (
    b'{"sha256":"%s","size":7,"uri":"file:///m.onnx","note":"n","file":"m.onnx","auc-threshold":0.7,"golden":{}}\n'
    b'{"serving":1,"previous":[],"last":1,"kept":[1],"by":"me","reason":"r","followed":[5,"exp"]}' % (b"a" * 64)
)


def _wire(name: str) -> Target:
    return Target(_schema(name), [bytes.fromhex(line) for line in (GOLDEN / f"{name}.hex").read_text().split()])


def _avro_row() -> bytes:
    columns = [column for column in COLUMNS if column[0] != "clock"]
    return encoder(columns)({name: ROW[name] for name, _, _ in columns})


def wire_targets() -> dict[str, Callable[[], Target]]:
    """Return the targets by name."""
    return {
        **{f"wire-{name}": partial(_wire, name) for name in SCHEMAS},
        "rows-avro": lambda: Target(_rows("avro"), [_avro_row()]),
        "rows-json": lambda: Target(_rows("json"), [JSON_ROW]),
        "types": lambda: Target(as_text(_columns), as_lines(TYPES), refusals=(ConfigError,)),
        "snapshot-records": lambda: Target(_records, _record_seeds()),
        "snapshot-file": lambda: Target(_file, _file_seeds()),
        "models-topic": lambda: Target(_models, [MODELS]),
    }
