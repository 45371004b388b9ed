"""Kafka's own settings for the clients in Python: what they become, what is refused, and that nothing is quoted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from conftest import lacking
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from hypothesis import given
from hypothesis import strategies as st
from secured import PLAIN, SCRAM, SHADED, Authority
from thalweg.connector.errors import ConfigError
from thalweg.connector.jaas import escape_jaas
from thalweg.connector.kafka_security import JavaOnlyError, client_settings, read_client_config, table_security
from thalweg.connector.tls import TLS_SETTINGS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
MARKER = "mArker7f3a9"


def login(mechanism: str = "PLAIN", user: str = "ann", password: str = MARKER, prefix: str = "") -> dict[str, str]:
    module = PLAIN if mechanism == "PLAIN" else SCRAM
    text = f'{prefix}{module} required username="{escape_jaas(user)}" password="{escape_jaas(password)}";'
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.jaas.config": text}


def refused(settings: dict[str, Any], kind: type[ConfigError] = ConfigError) -> str:
    with pytest.raises(ConfigError) as told:
        client_settings(settings)
    assert type(told.value) is kind, told.value
    assert MARKER not in str(told.value)
    return str(told.value)


@given(TEXT, TEXT, st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), st.sampled_from(["", SHADED]))
def test_a_login_becomes_kafka_pythons(user: str, password: str, mechanism: str, prefix: str) -> None:
    found = client_settings(login(mechanism, user, password, prefix))
    sent = found.pop("sasl_plain_username")
    # RFC 5802: a comma and an equals sign end parts of the message.
    assert sent == (user if mechanism == "PLAIN" else user.replace("=", "=3D").replace(",", "=2C"))
    assert found == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_password": password,
    }


NAMES = st.sampled_from(
    (
        *TLS_SETTINGS,
        "security.protocol",
        "sasl.mechanism",
        "sasl.jaas.config",
        "sasl.jaas.confg",
        "ssl.cipher.suites",
        "x",
    )
)
VALUES = st.one_of(
    st.sampled_from(["SASL_SSL", "ssl", "PLAIN", "PEM", "TLSv1.3", "", f'{PLAIN} required username="u" password="p";']),
    st.text(max_size=30),
)


@given(st.dictionaries(NAMES, VALUES))
def test_any_settings_are_taken_or_refused_with_sentences(settings: dict[str, str]) -> None:
    try:
        found = client_settings(settings)
    except ConfigError as error:
        said = [problem.what for problem in error.problems]
    else:
        said = []
        assert all(name.startswith(("security_", "sasl_", "ssl_")) for name in found)
    assert all(said)


def test_kafka_pythons_own_names_stay() -> None:
    own = {"security_protocol": "SSL", "ssl_cafile": "/etc/ca.pem"}
    assert client_settings(own) == own
    assert client_settings({}) == {}


def test_references_in_kafka_pythons_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", MARKER)
    found = client_settings({"sasl_plain_password": "${env:SHOP_PASSWORD}", "ssl_check_hostname": False})
    assert found == {"sasl_plain_password": MARKER, "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"security.protocol": "SASL"}, "'SASL' is unknown. Use PLAINTEXT, SSL"),
        (
            {"security.protocol": "PLAINTEXT"},
            "'security.protocol' is PLAINTEXT: it has no effect. Set that to SASL_SSL",
        ),
        ({"sasl.mechanism": "SCRAM-SHA-512"}, "another login module than mechanism SCRAM-SHA-512 needs"),
        ({"sasl.mechanism": "DIGEST-MD5"}, "none that Thalweg's clients speak"),
        ({"sasl.jaas.config": ""}, f"is missing. Write {PLAIN} required"),
        ({"sasl.jaas.config": f'{PLAIN} required password="{MARKER}";'}, "has no user name or no password"),
        ({"sasl.jaas.config": f'{PLAIN} required password="{MARKER}"'}, "semicolon"),
        ({"sasl.jaas.config": login()["sasl.jaas.config"] * 2}, "2 login modules"),
        ({"sasl.jaas.confg": "x"}, "Did you mean 'sasl.jaas.config'?"),
        ({"ssl.keystore.location": "/x"}, "Set that to SSL or SASL_SSL"),
        ({"acks": "all"}, "no security setting"),
        ({"ssl.key.password": "${file:relative}"}, "no absolute path"),
        ({"ssl.key.password": "${env:NOBODY_SETS_IT}"}, "NOBODY_SETS_IT is not set"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(change: dict[str, str], says: str) -> None:
    assert says in refused({**login(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"sasl.mechanism": "GSSAPI"},
        {"ssl.cipher.suites": "TLS_AES_128_GCM_SHA256"},
        {"sasl.login.callback.handler.class": "com.example.Handler"},
    ],
)
def test_what_java_alone_understands_is_told_apart(change: dict[str, str]) -> None:
    refused({**login(), **change}, JavaOnlyError)
    refused({**login(), **change, "sasl.jaas.confg": "x"})


def test_all_that_is_wrong_is_told_at_once() -> None:
    said = refused({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "ssl.truststore.type": "PEM",
                    "ssl.truststore.certificates": "none", "ssl.keystore.location": "/nowhere/x.p12"})  # fmt: skip
    assert said.count("\n") == 2


def test_secrets_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "a\"b\\c'd"
    (tmp_path / "pw").write_text(f"{odd}\n")
    monkeypatch.setenv("SHOP_PASSWORD", odd)
    for reference in (f"${{file:{tmp_path}/pw}}", "${env:SHOP_PASSWORD}"):
        text = f'{PLAIN} required username="ann" password="{reference}";'
        assert client_settings({**login(), "sasl.jaas.config": text})["sasl_plain_password"] == odd
        # A whole login in a file, with a reference in it.
        (tmp_path / "client.properties").write_text(f"# Kafka's\nsasl.jaas.config={text}\n")
        whole = f"${{file:{tmp_path}/client.properties:sasl.jaas.config}}"
        assert client_settings({**login(), "sasl.jaas.config": whole})["sasl_plain_password"] == odd
    loop = f"${{file:{tmp_path}/loop:a}}"
    (tmp_path / "loop").write_text(f"a={loop}\n")
    refused({**login(), "sasl.jaas.config": loop})
    assert "has no setting 'b'" in refused({**login(), "sasl.jaas.config": f"${{file:{tmp_path}/loop:b}}"})


def test_a_file_of_kafkas_own_tools(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text("bootstrap.servers=a:1\nsecurity.protocol = SASL_PLAINTEXT\nacks=all\nsasl.mechanism=PLAIN\n")
    assert read_client_config(path) == {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    for wrong, says in ((b"\xff", "utf-8"), (b"a=\\u12", "line 1"), (b"x" * (1 << 21), "too large")):
        path.write_bytes(wrong)
        with pytest.raises(ConfigError, match=rf"--client-config: '.*client.properties' cannot be read \(.*{says}"):
            read_client_config(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_client_config(tmp_path / "none")


def test_the_settings_of_a_table() -> None:
    options = {f"properties.{name}": value for name, value in login().items()}
    assert table_security({"topic": "t", "properties.group.id": "g", **options}) == login()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stores"), "authority")


def stores(trust: dict[str, str], identity: dict[str, str] | None = None) -> dict[str, str]:
    found = {"security.protocol": "SSL"}
    found |= {f"ssl.truststore.{name}": value for name, value in trust.items()}
    return found | {f"ssl.{name}": value for name, value in (identity or {}).items()}


def test_stores_in_pkcs12(authority: Authority, tmp_path: Path) -> None:
    pem = authority.issue("pkcs12").read_bytes()
    key: Any = serialization.load_pem_private_key(pem, None)
    certificate, above = x509.load_pem_x509_certificates(pem)
    lock = serialization.BestAvailableEncryption(MARKER.encode())
    (tmp_path / "key.p12").write_bytes(serialize_key_and_certificates(b"client", key, certificate, [above], lock))
    identity = {
        "keystore.type": "PKCS12",
        "keystore.location": str(tmp_path / "key.p12"),
        "keystore.password": MARKER,
    }
    trust = {"type": "PKCS12", "location": str(tmp_path / "key.p12"), "password": MARKER}
    context = client_settings(stores(trust, identity))["ssl_context"]
    assert "('commonName', 'authority')" in str(context.get_ca_certs())
    said = refused(stores(trust | {"password": "wrong"}))
    assert "cannot be opened. Check 'ssl.truststore.password'" in said
    assert "'ssl.truststore.type' is PEM, and" in refused(stores({**trust, "type": "PEM"})).replace("': ", "' ")


def test_a_store_that_keytool_made(authority: Authority, tmp_path: Path) -> None:
    keytool = which("keytool")
    if keytool is None:
        lacking("no keytool: install a Java runtime")
    for kind in ("PKCS12", "JKS"):
        store = tmp_path / f"trust.{kind}"
        command = [keytool, "-importcert", "-noprompt", "-alias", "ca", "-file", str(authority.file), "-keystore"]
        subprocess.run(
            [*command, str(store), "-storetype", kind, "-storepass", MARKER], check=True, capture_output=True
        )
        settings = stores({"location": str(store), "password": MARKER})
        if kind == "JKS":
            said = refused(settings, JavaOnlyError)
            assert "Java key store (JKS)" in said
            assert f"keytool -importkeystore -srckeystore {store}" in said
        else:
            assert client_settings(settings)["ssl_context"].get_ca_certs()


def test_stores_that_are_of_no_use(authority: Authority, tmp_path: Path) -> None:
    pem, bad = {"type": "PEM", "location": str(authority.file)}, tmp_path / "bad.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nMARKER\n-----END CERTIFICATE-----\n")
    assert "no certificate that can be read" in refused(stores({**pem, "location": str(bad)}))
    assert "no private key" in refused(stores(pem, {"keystore.type": "PEM", "keystore.location": str(bad)}))
    assert "Set 'ssl.truststore.type' to PEM" in refused(stores({"location": str(authority.file)}))
    refused(stores({**pem, "location": "/nowhere/ca.pem"}), JavaOnlyError)
    half = {"keystore.type": "PEM", "keystore.key": MARKER}
    assert "Give both" in refused(stores(pem, half))
    for name, value in (("endpoint.identification.algorithm", "ldaps"), ("enabled.protocols", "TLSv1.2,SSLv3")):
        assert f"'ssl.{name}'" in refused(stores(pem, {name: value}))


def test_a_locked_key_needs_its_password_and_asks_nobody(authority: Authority, tmp_path: Path) -> None:
    pem = authority.issue("locked").read_bytes()
    key: Any = serialization.load_pem_private_key(pem, None)
    lock = serialization.BestAvailableEncryption(MARKER.encode())
    form = serialization.PrivateFormat.PKCS8
    path = tmp_path / "locked.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock) + pem[pem.index(b"-----BEGIN CERT") :])
    trust, identity = {"type": "PEM", "location": str(authority.file)}, {"keystore.type": "PEM"}
    identity["keystore.location"] = str(path)
    assert client_settings(stores(trust, {**identity, "key.password": MARKER}))["ssl_context"]
    assert "Check 'ssl.key.password'" in refused(stores(trust, identity))
    assert "Check 'ssl.key.password'" in refused(stores(trust, {**identity, "key.password": "other"}))


def test_how_much_is_checked(authority: Authority) -> None:
    pem = {"type": "PEM", "location": str(authority.file)}
    context = client_settings(stores(pem))["ssl_context"]
    assert (context.check_hostname, context.verify_mode.name, context.minimum_version.name) == (
        True,
        "CERT_REQUIRED",
        "TLSv1_2",
    )
    context = client_settings(stores(pem, {"endpoint.identification.algorithm": "", "enabled.protocols": "TLSv1.3"}))[
        "ssl_context"
    ]
    assert (context.check_hostname, context.verify_mode.name, context.minimum_version.name) == (
        False,
        "CERT_REQUIRED",
        "TLSv1_3",
    )
