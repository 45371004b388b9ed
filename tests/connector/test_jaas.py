"""The login of Kafka's Java clients: what it may look like, and what is refused without quoting it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from thalweg.connector.jaas import Login, escape_jaas, parse_jaas

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@given(st.text(), st.text())
@example("a", 'it\'s "\\" \\n ; = // /*')
def test_any_password_survives_its_quotes(user: str, password: str) -> None:
    text = f'{PLAIN} required username="{escape_jaas(user)}"  password="{escape_jaas(password)}" ;'
    assert parse_jaas(text) == Login(PLAIN, {"username": user, "password": password})


@given(st.text(alphabet=st.sampled_from("PM.-_ \t\n\"'\\;=/*7ü")))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    said = "."
    try:
        parse_jaas(text)
    except ValueError as error:
        said = str(error)
    assert said[-1] in ".;"


@given(
    st.sampled_from(["{0}", 'M required a="{0}"', 'M required a="{0}', "M required ={0};", 'M {0} a="b";', "{0};{0}"])
)
def test_what_is_refused_is_not_quoted(form: str) -> None:
    with pytest.raises(ValueError) as told:  # noqa: PT011
        parse_jaas(form.format("mArker7f3a9 (x)"))
    assert "mArker" not in str(told.value)


def test_the_forms_that_java_takes() -> None:
    text = 'a.B$C REQUIRED /* who */ x = \'it"s\' // here\n y="\\101\\\\\\"" z=plain-word_1.2;'
    assert parse_jaas(text) == Login("a.B$C", {"x": 'it"s', "y": 'A\\"', "z": "plain-word_1.2"})
    assert "plain" not in repr(parse_jaas(text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" // nothing", "is empty"),
        ('M required a="b"', "semicolon"),
        ('M a="b";', "required"),
        ("M", "required"),
        ('M required a "b";', "name=value"),
        ("M required a=;", "without a value"),
        ("M required a=", "name=value"),
        ('M required a="1" a="2";', "twice"),
        ('M required a="b', "quote that does not end"),
        ('M required a="b\nc";', "quote that does not end"),
        ("M required a=b&c;", "belongs to no value"),
        ('"M" required a="b";', "does not begin with a login module"),
        ('M required a="b"; N required a="b";', "2 login modules"),
        ("M required a=b; " * 5_000, "more than 65536"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_jaas(text)
