"""Java's properties files, as Java writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.properties import parse_properties

_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def stored(text: str, key: bool) -> str:
    """As ``java.util.Properties.store`` writes it."""
    written = []
    for at, sign in enumerate(text):
        if sign in _NAMED:
            written.append(_NAMED[sign])
        elif sign in "=:#!\\" or (sign == " " and (key or at == 0)):
            written.append(f"\\{sign}")
        elif " " <= sign <= "~":
            written.append(sign)
        else:
            raw = sign.encode("utf-16-be")
            written += [f"\\u{raw[n : n + 2].hex()}" for n in range(0, len(raw), 2)]
    return "".join(written)


@given(st.dictionaries(st.text(min_size=1), st.text()), st.sampled_from(["\n", "\r", "\r\n"]))
def test_what_java_stores_is_read_back(settings: dict[str, str], end: str) -> None:
    lines = [
        "#Fri Nov 27 2026",
        "! a comment \\",
        *(f"{stored(k, True)}={stored(v, False)}" for k, v in settings.items()),
    ]
    assert parse_properties(end.join(lines)) == settings


@given(st.text(alphabet=st.sampled_from("\\ab=: \t\n\r#!u0é")))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = "hexadecimal"
    try:
        parse_properties(text)
    except ValueError as error:
        said = str(error)
    assert "hexadecimal" in said


def test_the_ways_to_write_a_setting() -> None:
    text = 'a=1\nb : 2\nc 3\n  d\t=4 \ne\nf = one, \\\n    two\ng=\\\\\nh=a=b:c\ni=it\'s \\"q\\"\na=9\nj=x\\'
    assert parse_properties(text) == {
        "a": "9",
        "b": "2",
        "c": "3",
        "d": "4 ",
        "e": "",
        "f": "one, two",
        "g": "\\",
        "h": "a=b:c",
        "i": 'it\'s "q"',
        "j": "x",
    }


def test_an_escape_that_is_none_names_the_line() -> None:
    with pytest.raises(ValueError, match="line 2: an escape"):
        parse_properties("a=1\nb=C:\\users")
