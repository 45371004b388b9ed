"""References to secrets: what is one, what they lead to, and that nothing of a secret is in an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.connector.secret_source import SecretSource, parse_secret_source


def test_a_secret_is_read_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a key"
    path.write_text(" hunter2 \n")
    monkeypatch.setenv("THALWEG_TEST_SECRET", "swordfish")
    assert parse_secret_source(f"file:{path}").read("here") == "hunter2"
    assert parse_secret_source(f"file://{path}").read("here") == "hunter2"
    assert parse_secret_source("env:THALWEG_TEST_SECRET").read("here") == "swordfish"


@pytest.mark.parametrize("text", ["hunter2", "vault:x", "env:", "env:a-b", "file:", "file:a\0b", "ENV:X", ""])
def test_what_is_no_reference_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"env:|file:") as caught:
        parse_secret_source(text)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_reference_or_a_sentence(text: str) -> None:
    told = ""
    try:
        assert isinstance(parse_secret_source(text), SecretSource)
    except ValueError as error:
        told = str(error)
    assert len(text) < 8 or text not in told


def test_where_there_is_no_secret_the_error_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THALWEG_TEST_SECRET", raising=False)
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe hunter2")
    (tmp_path / "large").write_bytes(bytes(2**20 + 1))
    for source, says in (
        ("env:THALWEG_TEST_SECRET", "THALWEG_TEST_SECRET is not set"),
        (f"file:{tmp_path}/none", "cannot be read"),
        (f"file:{tmp_path}/empty", "there is nothing in file:"),
        (f"file:{tmp_path}/bytes", "is no text"),
        (f"file:{tmp_path}/large", "has more than"),
        (f"file:{tmp_path}", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            parse_secret_source(source).read("model delay, option 'signing-key'")
        assert str(caught.value).startswith("model delay, option 'signing-key'")
        assert "hunter2" not in str(caught.value)
