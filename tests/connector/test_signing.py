"""Signatures: each change of what was signed, of the signature or of the key is refused, and nothing else is."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, SignatureError
from thalweg.connector.keys import Key, generate_key
from thalweg.connector.signing import Trust, join_signature, open_signer, open_trust, part_signature, sign

KEYS = {name: generate_key(name, name.partition("-")[0]) for name in ("hmac-sha256", "ed25519")}
TRUST = Trust([key.public() for key in KEYS.values()], required=True)
every_algorithm = pytest.mark.parametrize("algorithm", sorted(KEYS))


@every_algorithm
@given(content=st.binary(max_size=200), purpose=st.sampled_from(["snapshot", "order"]))
def test_what_was_signed_is_believed(algorithm: str, content: bytes, purpose: str) -> None:
    key = KEYS[algorithm]
    assert TRUST.check(purpose, content, sign(key, purpose, content), "it") == key.id


@every_algorithm
@given(data=st.data(), content=st.binary(min_size=1, max_size=60))
def test_any_bit_that_is_flipped_is_seen(algorithm: str, data: st.DataObject, content: bytes) -> None:
    signature = sign(KEYS[algorithm], "snapshot", content)
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    with pytest.raises(SignatureError, match="not what"):
        TRUST.check("snapshot", bytes(changed), signature, "it")
    at = data.draw(st.integers(0, len(signature) - 1))
    raw = bytearray(signature.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(SignatureError):
        TRUST.check("snapshot", content, raw.decode("latin-1"), "it")


@every_algorithm
@given(content=st.binary(max_size=40), cut=st.integers(1, 120), rest=st.text(max_size=5))
def test_a_signature_that_is_cut_or_longer_is_none(algorithm: str, content: bytes, cut: int, rest: str) -> None:
    signature = sign(KEYS[algorithm], "snapshot", content)
    with pytest.raises(SignatureError):
        TRUST.check("snapshot", content, signature[:-cut], "it")
    if rest:
        with pytest.raises(SignatureError):
            TRUST.check("snapshot", content, signature + rest, "it")


@every_algorithm
def test_another_text_of_the_same_bytes_is_refused(algorithm: str) -> None:
    """The last sign of a base64 text has bits that stand for nothing."""
    signature = sign(KEYS[algorithm], "snapshot", b"m")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in alphabet.replace(signature[-1], ""):
        with pytest.raises(SignatureError):
            TRUST.check("snapshot", b"m", signature[:-1] + other, "it")


@every_algorithm
def test_a_signature_is_for_one_purpose_one_algorithm_and_one_key(algorithm: str) -> None:
    other = next(name for name in KEYS if name != algorithm)
    signature = sign(KEYS[algorithm], "snapshot", b"m")
    _, key_id, text = signature.split(":")
    with pytest.raises(SignatureError):
        TRUST.check("order", b"m", signature, "it")
    for forged in (
        f"{other}:{key_id}:{text}",
        f"{algorithm}:{KEYS[other].id}:{text}",
        f"{other}:{KEYS[other].id}:{text}",
    ):
        with pytest.raises(SignatureError):
            TRUST.check("snapshot", b"m", forged, "it")
    renamed = Key(KEYS[algorithm].kind, "other", generate_key(algorithm, "x")._data)
    with pytest.raises(SignatureError, match="'other', who is not trusted"):
        TRUST.check("snapshot", b"m", sign(renamed, "snapshot", b"m"), "it")
    impostor = Key(renamed.kind, KEYS[algorithm].id, renamed._data)
    with pytest.raises(SignatureError, match="not what"):
        TRUST.check("snapshot", b"m", sign(impostor, "snapshot", b"m"), "it")


def test_a_key_is_replaced_while_both_are_trusted() -> None:
    old, new = generate_key("ed25519", "ci-2025"), generate_key("ed25519", "ci-2026")
    both, one = Trust([old.public(), new.public()], True), Trust([new.public()], True)
    assert [both.check("p", b"m", sign(key, "p", b"m"), "it") for key in (old, new)] == ["ci-2025", "ci-2026"]
    with pytest.raises(SignatureError, match="ci-2025"):
        one.check("p", b"m", sign(old, "p", b"m"), "it")


def test_what_is_not_signed_passes_only_where_it_may() -> None:
    lenient = Trust([KEYS["ed25519"].public()], required=False)
    assert lenient.check("p", b"m", "", "it") == ""
    with pytest.raises(SignatureError, match="it: it is not signed"):
        TRUST.check("p", b"m", "", "it")
    with pytest.raises(SignatureError, match="none"):
        lenient.check("p", b"m", "ed25519:ci:x", "it")


def test_trust_that_makes_no_sense_is_refused() -> None:
    private = KEYS["ed25519"]
    for keys, required, says in (
        ([private], False, "private"),
        ([], True, "no key is trusted"),
        ([generate_key("hmac-sha256", "a"), generate_key("hmac-sha256", "a")], False, "two keys"),
    ):
        with pytest.raises(ValueError, match=says):
            Trust(keys, required)
    assert "Trust(['ed25519', 'hmac'], required=True)" == repr(TRUST)
    with pytest.raises(TypeError):
        pickle.dumps(TRUST)


@given(who=st.text(max_size=40), signed=st.booleans())
def test_who_and_signature_come_apart_as_they_were_joined(who: str, signed: bool) -> None:
    signature = sign(KEYS["ed25519"], "p", who.encode("utf-8", "replace")) if signed else ""
    if signed or " / signature " not in who:
        assert part_signature(join_signature(who, signature)) == (who, signature)


def test_keys_are_read_from_where_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = KEYS["ed25519"], KEYS["hmac-sha256"]
    private, trusted = tmp_path / "signing.key", tmp_path / "trusted.keys"
    private.write_text(key.text() + "\n")
    trusted.write_text(f"# of the release\n{key.public().text()}\n\n")
    monkeypatch.setenv("THALWEG_TEST_KEY", secret.text())
    assert open_signer(f"file:{private}", "here").fingerprint == key.fingerprint
    trust = open_trust([f"file:{trusted}", "env:THALWEG_TEST_KEY"], True, "here")
    assert trust is not None
    assert trust.check("p", b"m", sign(key, "p", b"m"), "it") == "ed25519"
    assert trust.check("p", b"m", sign(secret, "p", b"m"), "it") == "hmac"
    assert open_trust([], False, "here") is None


def test_keys_that_cannot_be_used_are_all_named_and_none_is_shown(tmp_path: Path) -> None:
    key = KEYS["ed25519"]
    text = {
        "private": key.text(),
        "public": key.public().text(),
        "broken": key.text()[:-4],
        "two": f"{key.text()}\n" * 2,
    }
    for name, content in text.items():
        (tmp_path / name).write_text(content)
    shown = []
    for name, says in (("public", "cannot sign"), ("broken", "line 1 of file:"), ("two", "2 keys")):
        with pytest.raises(ConfigError, match=says) as caught:
            open_signer(f"file:{tmp_path}/{name}", "model delay, option 'signing-key'")
        shown.append(str(caught.value))
    with pytest.raises(ConfigError, match="no reference") as caught:
        open_signer(key.text(), "model delay, option 'signing-key'")
    shown.append(str(caught.value))
    with pytest.raises(ConfigError, match="private one") as caught:
        open_trust([f"file:{tmp_path}/private"], True, "here")
    shown.append(str(caught.value))
    with pytest.raises(ConfigError) as caught:
        open_trust([f"file:{tmp_path}/none", f"file:{tmp_path}/broken"], True, "here")
    assert len(caught.value.problems) == 2
    assert key.text().rpartition(":")[2][:20] not in "".join([*shown, str(caught.value)])


@every_algorithm
def test_one_key_under_two_names_signs_for_the_name_that_it_was_given(algorithm: str) -> None:
    key = generate_key(algorithm, "ana")
    same = Key(key.kind, "ben", key._data)
    trust = Trust([key.public(), same.public()], required=True)
    signature = sign(key, "order", b"m")
    assert trust.check("order", b"m", signature, "it") == "ana"
    with pytest.raises(SignatureError, match="not what 'ben'"):
        trust.check("order", b"m", signature.replace(":ana:", ":ben:"), "it")
