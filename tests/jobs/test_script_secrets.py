"""Secrets that stand elsewhere, in a SQL file: they reach their place whatever signs they have, and no output."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.connector.jaas import parse_jaas
from thalweg.connector.redaction import redacted
from thalweg.jobs.script import parse_script

LOGIN = 'a.PlainLoginModule required username="u" password="${env:SHOP_SECRET}";'
SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=6)


def value_of(text: str) -> str:
    return text.partition(" = '")[2].removesuffix("'").replace("''", "'")


@given(SECRETS)
def test_any_secret_reaches_its_place(secret: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_SECRET", secret)
        plain, login = parse_script(f"SET 'x' = '${{env:SHOP_SECRET}}'; SET 'y' = '{LOGIN}'", "a.sql", {})
    assert value_of(plain.text) == secret
    assert parse_jaas(value_of(login.text)).options["password"] == secret
    assert secret not in redacted(f"{plain.text} {login.text}", by_name=False).replace("***", "")


def test_from_a_file_and_from_a_setting_in_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("it's mine\r\n")
    (tmp_path / "p.properties").write_text(f"note = ${{file:{tmp_path}/secret}} alone\n")
    sql = f"SELECT '${{file:{tmp_path}/secret}}', '${{file:{tmp_path}/p.properties:note}}' -- ${{file:/none}}"
    (statement,) = parse_script(sql, "a.sql", {})
    assert statement.text == "SELECT 'it''s mine', 'it''s mine alone'"


def test_what_leads_nowhere_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    second, third = "'${env:NOBODY_SETS_IT}', '${file:/nowhere/x}'", f"'${{file:{tmp_path}/empty}}', '${{file:a}}'"
    sql = f"SELECT 1;\nSELECT {second},\n {third}"
    with pytest.raises(ConfigError) as told:
        parse_script(sql, "a.sql", {})
    where = [problem.where for problem in told.value.problems]
    assert where == ["a.sql:2", "a.sql:2", "a.sql:3", "a.sql:3"]


def test_a_secret_that_stands_in_the_file_itself_is_hidden_too() -> None:
    parse_script("CREATE TABLE t (a INT) WITH ('properties.ssl.key.password' = 'it''s-mine-7f3a9')", "a.sql", {})
    assert redacted("it failed: it's-mine-7f3a9") == "it failed: ***"
