"""What was remembered is in no text, however a program quotes it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector import redaction
from thalweg.connector.ddl import quote_text
from thalweg.connector.jaas import escape_jaas
from thalweg.connector.redaction import guard_logs, is_sensitive, redacted, remember


@given(st.text(min_size=6, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_secret_is_found_as_it_is_quoted(secret: str) -> None:
    before = dict(redaction._known)
    try:
        remember(secret)
        ways = (str, quote_text, repr, json.dumps, escape_jaas, lambda text: quote(text, safe=""))
        for shown in (*(way(secret) for way in ways), repr(secret.encode()), repr({"a": [secret]})):
            told = redacted(f"<{shown}>", by_name=False)
            assert "***" in told
            assert secret not in told.replace("***", "")
    finally:
        redaction._known.clear()
        redaction._known.update(before)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'properties.sasl.jaas.config' = 'x y=\"z\";', 'b' = 'c'", "'properties.sasl.jaas.config' = '***', 'b' = 'c'"),
        ("'ssl.key.password'='it''s', 'b'='c'", "'ssl.key.password'='***', 'b'='c'"),
        ('M required username="ann" password="p\\"q";', 'M required username="ann" password="***";'),
        ("sasl_plain_password=abc, group_id=None", "sasl_plain_password=***, group_id=None"),
        ("{'sasl_plain_password': 'abc', 'x': 1}", "{'sasl_plain_password': '***', 'x': 1}"),
        ("SET 's3.secret-key' = 'k'", "SET 's3.secret-key' = '***'"),
        ("a token: '::' is wrong", "a token: '***' is wrong"),
        ("the tokenizer = 'x', max_tokens=5", "the tokenizer = 'x', max_tokens=5"),
        ("'ssl.truststore.location' = '/etc/ca.pem'", "'ssl.truststore.location' = '/etc/ca.pem'"),
        ("Check the password: it is wrong.", "Check the password: it is wrong."),
    ],
)
def test_settings_are_blanked_by_name(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_data_is_not_blanked_by_name() -> None:
    assert redacted('{"token": "abc"}', by_name=False) == '{"token": "abc"}'


def test_a_long_word_takes_no_time() -> None:
    text = "password" * 100_000  # quadratic, it would be hours
    assert redacted(text) == text


def test_short_values_blank_no_text() -> None:
    remember("abc")
    assert redacted("abcdef") == "abcdef"


def test_the_lines_of_a_key_are_hidden_one_by_one() -> None:
    remember("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----")
    assert redacted("line 2: MIIEvQIBADANBgkqhkiG9w0") == "line 2: ***"


def test_names_of_secrets() -> None:
    assert all(map(is_sensitive, ("ssl.keystore.key", "sasl.jaas.config", "a.Password", "s3.access-key", "auth.token")))
    assert not any(map(is_sensitive, ("ssl.keystore.type", "tokenizer", "key", "secretary.x"[-1:])))


def test_loggers_say_nothing_that_was_remembered() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("a_library.client")
    logger.addHandler(logging.StreamHandler(stream))
    logger.propagate = False
    guard_logs("a_library")
    guard_logs("a_library")
    assert len(logger.filters) == 1
    remember("hunter2hunter2")
    logger.warning("with %s and %r", {"password": "hunter2hunter2"}, b"\0u\0hunter2hunter2")
    try:
        raise ValueError("no hunter2hunter2")
    except ValueError:
        logger.exception("it failed")
    logger.warning("%d", "not a number")  # its handler's to report, on standard error
    assert "it failed" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_an_unforeseen_error_ends_without_secrets() -> None:
    code = (
        "from thalweg.connector.redaction import guard_tracebacks, remember\n"
        "guard_tracebacks(); secret = remember(chr(104) * 9)\nraise RuntimeError(f'no {secret}')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "RuntimeError: no ***" in ran.stderr
    assert "h" * 9 not in ran.stderr
