"""Keys: known answers, kinds that cannot be taken for each other, and secrets that do not leave."""

from __future__ import annotations

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.keys import SIZES, Key, generate_key, parse_key

ALGORITHMS = ("hmac-sha256", "ed25519")


def text_of(kind: str, data: bytes, id: str = "ci") -> str:
    return f"{kind}:{id}:{base64.urlsafe_b64encode(data).decode().rstrip('=')}"


def test_ed25519_signs_as_rfc_8032_does() -> None:
    """RFC 8032, 7.1, test 3."""
    secret = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    key = parse_key(text_of("ed25519-private", secret))
    signature = key.sign(bytes.fromhex("af82"))
    assert signature.hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert key.public().text().endswith(text_of("", bytes.fromhex(
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    ), "").strip(":"))  # fmt: skip
    assert key.public().verifies(bytes.fromhex("af82"), signature)


def test_hmac_signs_as_rfc_2104_does() -> None:
    """RFC 2104 pads a key with zeros up to 64 bytes, so that RFC 4231's test 2, whose key is "Jefe", holds."""
    key = Key("hmac-sha256", "ci", b"Jefe".ljust(64, b"\0"))
    made = key.sign(b"what do ya want for nothing?")
    assert made.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_survives_its_text_and_says_nothing_of_itself(algorithm: str) -> None:
    key = generate_key(algorithm, "ci-2026")
    again = parse_key(key.text())
    assert (again.kind, again.id, again.fingerprint) == (key.kind, "ci-2026", key.fingerprint)
    assert again.public().verifies(b"m", key.sign(b"m"))
    assert len(key.sign(b"m")) == SIZES[algorithm]
    secret = key.text().rpartition(":")[2]
    assert secret not in repr(key) + str(key) + f"{key}"
    assert key.fingerprint == key.public().fingerprint
    assert generate_key(algorithm, "ci-2026").fingerprint != key.fingerprint
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_a_public_key_cannot_sign_and_is_no_secret() -> None:
    public = generate_key("ed25519", "ci").public()
    with pytest.raises(ValueError, match="cannot sign"):
        public.sign(b"m")
    data = base64.urlsafe_b64decode(public.text().rpartition(":")[2] + "=")
    for disguise in (data, public.text().encode(), base64.b64encode(data)):
        with pytest.raises(ValueError, match="64 bytes"):
            Key("hmac-sha256", "ci", disguise)
        with pytest.raises(ValueError, match="64 bytes"):
            parse_key(text_of("hmac-sha256", disguise))


@given(st.sampled_from(["hmac-sha256", "ed25519-private", "ed25519-public"]), st.binary(max_size=130))
def test_a_key_has_exactly_the_size_of_its_kind(kind: str, data: bytes) -> None:
    size = 64 if kind == "hmac-sha256" else 32
    if len(data) == size:
        assert parse_key(text_of(kind, data)).kind == kind
    else:
        with pytest.raises(ValueError, match="bytes"):
            parse_key(text_of(kind, data))


@given(st.text(max_size=200))
def test_a_line_that_is_no_key_is_a_sentence(line: str) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_key(line)


@pytest.mark.parametrize("id", ["", "-a", "a b", "a\n", "ä", "x" * 65])
def test_the_id_of_a_key_is_a_plain_name(id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        generate_key("hmac-sha256", id)
