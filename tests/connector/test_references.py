"""Values that stand elsewhere are taken for secrets, and a reference that leads nowhere quotes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.connector.redaction import redacted
from thalweg.connector.references import filled


def test_what_is_read_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_STAGE", "stage-51a7f3")
    (tmp_path / "value").write_text("value-51a7f3\n")
    text = filled(f"${{env:A_STAGE}} and ${{file:{tmp_path}/value}}", "here")
    assert text == "stage-51a7f3 and value-51a7f3"
    assert redacted(text, by_name=False) == "*** and ***"


def test_what_is_filled_in_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_STAGE", "${env:OTHER} {}")
    assert filled("<${env:A_STAGE}>", "here") == "<${env:OTHER} {}>"


@pytest.mark.parametrize("text", ["${envv:X}", "${NAME}", "$env:X", "${env:X", "{}"])
def test_what_is_no_reference_stays(text: str) -> None:
    assert filled(text, "here") == text


@pytest.mark.parametrize(
    "text", ["${env:}", "${env:NOBODY_SETS_IT}", "${file:}", "${file:a:b}", "${file:/dev/null}", "${file:/}"]
)
def test_what_leads_nowhere_names_the_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: "):
        filled(text, "here")
