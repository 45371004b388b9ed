from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.jobs.script import parse_script, read_script


def texts(sql: str, **variables: str) -> list[str]:
    return [statement.text for statement in parse_script(sql, "a.sql", variables)]


def problems(sql: str, **variables: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_script(sql, "a.sql", variables)
    return [f"{problem.where} {problem.what}" for problem in caught.value.problems]


solid = st.sampled_from(
    [
        "SELECT", "x", "1.5", "(", ")", "<>", "- -", "a.b", "'it''s; --'", "';'", "'/* ;'", "`od``d;`", "''",
        "E'it\\'s; x'", "e'\\\\'", "/*+ OPTIONS('a;'='b') */", "'line\nbreak;'", "CASE WHEN a THEN b END", "'$'", "é",
    ]
)  # fmt: skip
soft = st.sampled_from([" ", "\n", "\r\n\t", "-- don't; stop\n", "// neither ' `\n", "/* nor; ' here\n */", "/**/"])
statements = st.lists(st.tuples(solid, soft), min_size=1, max_size=6).map(
    lambda parts: "".join(a + b for a, b in parts[:-1]) + parts[-1][0]
)
gaps = st.lists(soft, max_size=3).map("".join)


@given(st.lists(st.tuples(gaps, statements, gaps), max_size=5), gaps, st.booleans())
def test_joining_gives_back_the_file(parts: list[tuple[str, str, str]], tail: str, last_semicolon: bool) -> None:
    source, expected = "", []
    for before, statement, after in parts:
        source += before
        expected.append((statement, source.count("\n") + 1))
        source += statement + " " + after + ";"
    if parts and not last_semicolon:
        source = source[:-1]
    source += "\n" + tail
    got = parse_script(source, "a.sql", {})
    assert [(statement.text, statement.line) for statement in got] == expected


@given(st.text(alphabet="ab'`;$-/*\\\n E", max_size=30))
def test_any_text_is_split_or_refused(sql: str) -> None:
    try:
        found = texts(sql)
    except ConfigError:
        return
    rest = sql
    for text in found:
        before, _, rest = rest.partition(text)
        assert not parse_script(before, "a.sql", {})
    assert not parse_script(rest.lstrip(";"), "a.sql", {}) or found == []


@given(st.text(), st.text(alphabet="ab'\\;-`${}", max_size=12))
def test_a_value_never_leaves_its_string(value: str, other: str) -> None:
    sql = "SELECT '${A}', E'${B}', `${A}`; SELECT 2"
    if value:
        quoted = value.replace("'", "''")
        escaped = other.replace("\\", "\\\\").replace("'", "\\'")
        expected = f"SELECT '{quoted}', E'{escaped}', `{value.replace('`', '``')}`"
        got = texts(sql, A=value, B=other)
        assert got == [expected, "SELECT 2"]
        # What was filled in is read back as one string.
        if "${" not in value + other:
            assert len(texts(";".join(got))) == 2


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SET 'a' = 'b'", "SET"),
        ("set 'a' = 'b'", "SET"),
        ("RESET 'a'", "other"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE"),
        ("create /* x */ temporary\n table if not exists t (a INT)", "CREATE TABLE"),
        ("CREATE OR REPLACE TABLE t AS SELECT 1", "CREATE TABLE"),
        ("CREATE MODEL m WITH ('a' = 'b')", "CREATE MODEL"),
        ("CREATE TEMPORARY MODEL m WITH ('a' = 'b')", "CREATE MODEL"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1", "CREATE VIEW"),
        ("CREATE FUNCTION f AS 'x'", "CREATE FUNCTION"),
        ("CREATE TEMPORARY SYSTEM FUNCTION f AS 'x'", "CREATE FUNCTION"),
        ("CREATE DATABASE d", "other"),
        ("INSERT INTO t SELECT 1", "INSERT"),
        ("INSERT OVERWRITE t SELECT 1", "INSERT"),
        ("USE CATALOG c", "USE"),
        ("DROP TABLE t", "DROP"),
        ("SETTLE", "other"),
        ("SELECT 1", "other"),
        ("'SET'", "other"),
    ],
)
def test_kinds(sql: str, kind: str) -> None:
    assert [statement.kind for statement in parse_script(sql, "a.sql", {})] == [kind]


@pytest.mark.parametrize(
    "begin", ["EXECUTE STATEMENT SET\nBEGIN\n", "BEGIN STATEMENT SET;\n", "begin /* x */ statement set;"]
)
def test_statement_sets(begin: str) -> None:
    sql = begin + "INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t; INSERT INTO b SELECT ';';\nEND;\nSELECT 1"
    got = parse_script(sql, "a.sql", {})
    assert [statement.kind for statement in got] == ["BEGIN SET", "INSERT", "INSERT", "END SET", "other"]
    assert got[1].text == "INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t"


def test_a_set_that_is_wrong() -> None:
    assert problems("BEGIN STATEMENT SET; SELECT 1;\nEND; END") == [
        "a.sql:1 a statement set holds inserts only.",
        "a.sql:2 END without a statement set.",
    ]
    assert problems("INSERT INTO a SELECT 1;\nEXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;") == [
        "a.sql:2 the statement set that begins here does not end."
    ]


def test_all_undefined_variables_at_once_with_their_lines() -> None:
    sql = "SELECT ${A};\n-- ${IN_COMMENT}\nSELECT '${B}\n${C}', `${A}` /* ${D} */ /*+ X('${E}') */;\nSELECT ${9}"
    assert problems(sql) == [
        "a.sql:1 variable A is not set.",
        "a.sql:3 variable B is not set.",
        "a.sql:4 variable C is not set.",
        "a.sql:4 variable A is not set.",
        "a.sql:4 variable E is not set.",
        "a.sql:5 '${' begins no variable.",
    ]


def test_values() -> None:
    assert texts("SELECT ${A:-1}, '${A:-it''s}', ${A:-'x'}") == ["SELECT 1, 'it''s', 'x'"]
    assert texts("SELECT ${A:-1}", A="2") == ["SELECT 2"]
    assert texts("SELECT ${A:-1}, '${B}'", A="", B="") == ["SELECT 1, ''"]
    assert texts("SELECT '$${A}', '$$', $1") == ["SELECT '${A}', '$$', $1"]
    assert texts("SELECT '${A}'", A="${B}", B="never") == ["SELECT '${B}'"]
    assert texts("SELECT * FROM ${T}; SELECT 2", T="a; DROP TABLE b") == ["SELECT * FROM a; DROP TABLE b", "SELECT 2"]
    assert texts("SELECT * FROM events_${ENV}_v1", ENV="dev") == ["SELECT * FROM events_dev_v1"]


@pytest.mark.parametrize("opened", ["'", "`", "/*", "'it''s", "E'a\\'"])
def test_what_does_not_end_is_named_with_its_line(opened: str) -> None:
    assert [text.split()[0] for text in problems(f"SELECT 1;\n\nSELECT {opened} x; SELECT 2")] == ["a.sql:3"]


def test_read_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sql"
    path.write_bytes(b"\xef\xbb\xbfSELECT '${FROM_ENVIRONMENT}';\r\nSELECT '${GIVEN}'")
    monkeypatch.setenv("FROM_ENVIRONMENT", "e")
    monkeypatch.setenv("GIVEN", "e")
    got = read_script(path, {"GIVEN": "d"})
    assert [(s.text, s.file, s.line) for s in got] == [("SELECT 'e'", str(path), 1), ("SELECT 'd'", str(path), 2)]
    with pytest.raises(ConfigError, match=r"missing\.sql: cannot be read: No such file"):
        read_script(tmp_path / "missing.sql", {})
    path.write_bytes(b"SELECT '\xff'")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_script(path, {})
