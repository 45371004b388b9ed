"""TLS as Kafka's ``ssl.*`` settings describe it, for Python: whom to trust, who one is, and how much is checked."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["TLS_SETTINGS", "tls_context"]

TLS_SETTINGS = (
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.certificates",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.key",
    "ssl.keystore.certificate.chain",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "ssl.enabled.protocols",
)
"""What is understood."""

_JKS = b"\xfe\xed\xfe\xed"
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_MAX_BYTES = 16 << 20
_Wrong = Callable[..., None]
_TO_PEM = (
    "Convert it: 'keytool -importkeystore -srckeystore {path} -destkeystore store.p12 -deststoretype PKCS12', then"
    " 'openssl pkcs12 -in store.p12 {what} -out store.pem', and set '{side}.type' to PEM and '{side}.location' to it:"
    " Java's clients read that as well."
)


def tls_context(settings: Mapping[str, str], wrong: _Wrong) -> ssl.SSLContext:
    """Return the context for connections.

    Without a trust store the machine's authorities are trusted. The name of the host is checked unless
    ``ssl.endpoint.identification.algorithm`` is empty. Stores are PEM, or PKCS12 where ``cryptography`` is installed.

    Parameters
    ----------
    settings : mapping of str to str
        Kafka's settings by their names.
    wrong : callable
        Takes a setting, what is wrong with it, the remedy, and ``java=True`` where Java's clients would take it; the
        context is of no use then.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _versions(context, settings, wrong)
    algorithm = settings.get("ssl.endpoint.identification.algorithm", "https")
    if algorithm.lower() not in ("", "https"):
        name = "ssl.endpoint.identification.algorithm"
        wrong(name, f"'{algorithm}' is unknown.", "Leave it out, or write https.")
    context.check_hostname = algorithm != ""
    _trust(context, settings, wrong)
    _identity(context, settings, wrong)
    return context


def _versions(context: ssl.SSLContext, settings: Mapping[str, str], wrong: _Wrong) -> None:
    name = "ssl.enabled.protocols"
    if name not in settings:
        return
    chosen = [part.strip() for part in settings[name].split(",")]
    if not all(part in _VERSIONS for part in chosen):
        wrong(name, f"'{settings[name]}' has a version that is not offered.", f"Use {', '.join(_VERSIONS)}.")
        return
    context.minimum_version = min(_VERSIONS[part] for part in chosen)
    context.maximum_version = max(_VERSIONS[part] for part in chosen)


def _trust(context: ssl.SSLContext, settings: Mapping[str, str], wrong: _Wrong) -> None:
    text = settings.get("ssl.truststore.certificates", "")
    name = "ssl.truststore.certificates" if text else "ssl.truststore.location"
    if not text:
        if not settings.get(name):
            context.load_default_certs()
            return
        found = _contents("ssl.truststore", settings, "-nokeys", wrong)
        if found is None:
            return
        text = found if isinstance(found, str) else found.chain
    elif settings.get("ssl.truststore.type") != "PEM":
        wrong("ssl.truststore.type", "must be PEM with 'ssl.truststore.certificates'.", "Set it to PEM.")
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        wrong(name, "holds no certificate that can be read.", "Give certificates in PEM, -----BEGIN CERTIFICATE-----.")


def _identity(context: ssl.SSLContext, settings: Mapping[str, str], wrong: _Wrong) -> None:
    key, chain = settings.get("ssl.keystore.key", ""), settings.get("ssl.keystore.certificate.chain", "")
    password, name = settings.get("ssl.key.password", ""), "ssl.keystore.key"
    if key or chain:
        if settings.get("ssl.keystore.type") != "PEM":
            wrong("ssl.keystore.type", f"must be PEM with '{name}'.", "Set it to PEM.")
        if not (key and chain):
            wrong(name, "and 'ssl.keystore.certificate.chain' are given together or not at all.", "Give both.")
            return
        pem = f"{key.strip()}\n{chain.strip()}\n"
    elif settings.get("ssl.keystore.location"):
        name = "ssl.keystore.location"
        found = _contents("ssl.keystore", settings, "-nodes", wrong)
        if found is None:
            return
        pem, password = (found, password) if isinstance(found, str) else (found.key + found.chain, found.password)
    else:
        return
    try:
        _load(context, pem, password)
    except (ssl.SSLError, ValueError):
        remedy = "Check 'ssl.key.password', and that it holds a private key and its certificate in PEM."
        wrong(name, "holds no private key with its certificate that can be read.", remedy)


def _load(context: ssl.SSLContext, pem: str, password: str) -> None:
    """Load key and certificates, which Python's ssl reads from a file alone: one that only this user sees, for now."""
    handle, path = tempfile.mkstemp(prefix="thalweg-", suffix=".pem")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(pem)
        # An empty password: without any, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(path, password=password)
    finally:
        os.unlink(path)


def _contents(side: str, settings: Mapping[str, str], what: str, wrong: _Wrong) -> str | _Pkcs12 | None:
    """Return the text of a PEM store, or what a PKCS12 store holds; None once it is said what is wrong with it."""
    data = _store(side, settings, what, wrong)
    if data is None:
        return None
    return _pkcs12(data, side, settings, wrong) if _is_binary(data) else data.decode("utf-8", "replace")


def _store(side: str, settings: Mapping[str, str], what: str, wrong: _Wrong) -> bytes | None:
    """Return the bytes of a store, or None once it is said what is wrong with it."""
    name, path = f"{side}.location", settings[f"{side}.location"]
    try:
        with open(path, "rb") as source:
            data = source.read(_MAX_BYTES + 1)
    except OSError as error:
        # Tables are read on other machines, which may have it.
        wrong(name, f"{path} cannot be read ({error.strerror}).", "Check the path and its permissions.", java=True)
        return None
    kind = settings.get(f"{side}.type", "JKS").upper()
    convert = _TO_PEM.format(path=path, what=what, side=side)
    if len(data) > _MAX_BYTES:
        wrong(name, f"{path} has more than {_MAX_BYTES} bytes.", "Name a store of certificates.")
    elif data.startswith(_JKS):
        wrong(name, f"{path} is a Java key store (JKS), which Python cannot read.", convert, java=True)
    elif kind not in ("PEM", "PKCS12", "JKS"):
        wrong(f"{side}.type", f"'{kind}' is a store that Python cannot read.", convert, java=True)
    elif _is_binary(data) == (kind == "PEM"):
        remedy = f"Set '{side}.type' to {'PKCS12' if kind == 'PEM' else 'PEM'}, or name another file."
        wrong(f"{side}.type", f"is {kind}, and {path} is not.", remedy)
    else:
        return data
    return None


def _is_binary(data: bytes) -> bool:
    return data[:1] == b"\x30"


class _Pkcs12(NamedTuple):
    """Key and certificates in PEM; the key is locked with a password of this moment."""

    key: str
    chain: str
    password: str


def _pkcs12(data: bytes, side: str, settings: Mapping[str, str], wrong: _Wrong) -> _Pkcs12 | None:
    """Return what a PKCS12 store holds, or None once it is said what is wrong with it."""
    name, path = f"{side}.location", settings[f"{side}.location"]
    try:
        from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
        from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
    except ImportError:
        what = f"{path} is a PKCS12 store, which Python reads with the package cryptography alone."
        wrong(name, what, "Install it: pip install cryptography. Or give the same in PEM.", java=True)
        return None
    try:
        store = load_pkcs12(data, settings.get(f"{side}.password", "").encode())
    except (ValueError, TypeError):
        wrong(name, f"{path} cannot be opened.", f"Check '{side}.password', and that the file is whole.")
        return None
    found = [one.certificate for one in (store.cert, *store.additional_certs) if one is not None]
    chain = "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
    once = secrets.token_urlsafe(32)
    key = ""
    if store.key is not None:
        locked = BestAvailableEncryption(once.encode())
        key = store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()
    return _Pkcs12(key, chain, once)
