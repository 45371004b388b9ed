"""The text of SQL types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.connector.sqltypes import SqlType, parse_columns


def parse(text: str) -> SqlType:
    return parse_columns([("a", text, True)]).children[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", SqlType("INT")),
        ("INTEGER NOT NULL", SqlType("INT", False)),
        ("DOUBLE PRECISION", SqlType("DOUBLE")),
        ("VARCHAR(2147483647)", SqlType("STRING")),
        ("CHAR(3) NULL", SqlType("STRING")),
        ("VARBINARY(5)", SqlType("BYTES")),
        ("DECIMAL", SqlType("DECIMAL", True, (10, 0))),
        ("NUMERIC(12,3)", SqlType("DECIMAL", True, (12, 3))),
        ("TIMESTAMP", SqlType("TIMESTAMP", True, (6,))),
        ("TIMESTAMP(3) *ROWTIME* NOT NULL", SqlType("TIMESTAMP", False, (3,))),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", SqlType("TIMESTAMP", True, (3,))),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE", SqlType("TIMESTAMP_LTZ", True, (3,))),
        ("TIME", SqlType("TIME", True, (0,))),
        ("ARRAY<ARRAY<INT>>", SqlType("ARRAY", children=(SqlType("ARRAY", children=(SqlType("INT"),)),))),
        ("MAP<STRING NOT NULL, INT>", SqlType("MAP", children=(SqlType("STRING", False), SqlType("INT")))),
        (
            "ROW<`a``b` INT 'it''s a comment', row STRING>",
            SqlType("ROW", names=("a`b", "row"), children=(SqlType("INT"), SqlType("STRING"))),
        ),
    ],
)
def test_types(text: str, expected: SqlType) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NUMBER",
        "INT INT",
        "ARRAY",
        "ARRAY<INT",
        "ARRAY<INT, INT>",
        "MAP<INT>",
        "ROW<>",
        "ROW<INT>",
        "ROW<a INT, a INT>",
        "DECIMAL(39)",
        "DECIMAL(3, 4)",
        "DECIMAL(x)",
        "INT NOT",
        "INT;",
        "ARRAY<" * 1000,
        "ROW<5 INT>",
    ],
)
def test_texts_that_are_no_type_name_the_column(text: str) -> None:
    with pytest.raises(ConfigError, match="column 'a': cannot read the type"):
        parse(text)


def test_all_offenders_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_columns([("a", "NUMBER", True), ("b", "INT", True), ("b", "TEXT", True)])
    assert [problem.where for problem in caught.value.problems] == ["column 'a'", "column 'b'", "column 'b'"]
    with pytest.raises(ConfigError, match="no columns"):
        parse_columns([])


@given(st.text("ARYINTOWDECML<>()`', 12 NULUTSG*", max_size=40))
def test_any_text_is_a_type_or_a_config_error(text: str) -> None:
    try:
        parse(text)
    except ConfigError:
        return
