"""Kafka tables log in with what the command was given, and with names as Flink's connector has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secured import PLAIN, SHADED
from thalweg.connector.ddl import create_table, quote_text
from thalweg.connector.errors import ConfigError
from thalweg.connector.kafka_security import table_security
from thalweg.jobs.script import Statement, parse_script
from thalweg.jobs.table_security import with_security

TLS = {"security.protocol": "SSL"}


def one(sql: str, given: dict[str, str] | None = None) -> str:
    (statement,) = with_security(parse_script(sql, "job.sql", {}), TLS if given is None else given)
    return statement.text


def options(text: str) -> dict[str, str]:
    return Statement(text, "f", 1, "CREATE TABLE").options


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(lambda text: "${" not in text))
def test_any_value_stays_in_its_place(value: str) -> None:
    made = create_table("t", "label", "a'b", "k:1", extra={"note": "a)b(''"})
    text = with_security([Statement(made, "f", 1, "CREATE TABLE")], {"ssl.key.password": value})[0].text
    assert text.endswith(")")
    assert options(text) == options(made) | {"properties.ssl.key.password": value}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a INT, b ROW<c INT>) WITH ('connector'='kafka', 'topic' = ')')",
        "create temporary table t (a INT) comment 'with ( ''x''' with ( 'connector' = 'upsert-kafka' -- )\n)",
        "CREATE TABLE t (PRIMARY KEY (a) NOT ENFORCED, a INT) WITH ('connector' = 'kafka') LIKE other (EXCLUDING ALL)",
    ],
)
def test_a_kafka_table_gets_the_settings_of_the_command(sql: str) -> None:
    text = one(sql)
    assert table_security(options(re.sub(r"--[^\n]*", "", text))) == TLS
    assert text.replace(", 'properties.security.protocol' = 'SSL'", "") == sql


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a INT) WITH ('connector' = 'print')",
        "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'properties.security.protocol' = 'PLAINTEXT')",
        "CREATE VIEW v AS SELECT 'connector' = 'kafka'",
        "INSERT INTO t SELECT 'org.apache.kafka.common.security.plain.PlainLoginModule'",
    ],
)
def test_what_has_its_own_settings_or_needs_none_stays(sql: str) -> None:
    assert one(sql) == sql


def test_login_modules_have_the_name_that_flinks_connector_gives_them() -> None:
    for prefix in ("", SHADED):
        login = f'{prefix}{PLAIN} required username="u" password="p";'
        sql = (
            f"CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'properties.sasl.jaas.config' = {quote_text(login)})"
        )
        assert one(sql, {}).count(f"{SHADED}{PLAIN}") == 1
        assert SHADED * 2 not in one(sql, {})
    other = "com.sun.security.auth.module.Krb5LoginModule required;"
    assert SHADED not in one(
        f"CREATE TABLE t (a INT) WITH ('connector'='kafka', 'properties.sasl.jaas.config'='{other}')"
    )


def test_a_reference_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--client-config, 'ssl.key.password'.*cannot be read"):
        one("CREATE TABLE t (a INT) WITH ('connector' = 'kafka')", {"ssl.key.password": f"${{file:{tmp_path}/no}}"})
