"""Why a broker does not let us in, said at once: kafka-python tries again until its time is over, and says less.

A broker that refuses a password closes the connection with its answer, of which kafka-python 3.0 often sees the end
alone. So whoever logs in or speaks TLS does it once here, on a connection of its own, before the client is made.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from kafka.net.sasl import get_sasl_mechanism
from thalweg.connector.errors import SetupError

__all__ = ["AccessError", "check_access", "plain_hint"]

_TIMEOUT_S, _HINT_S = 5.0, 2.0
_API_VERSIONS, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = 18, 17, 36
_MAX_BYTES = 1 << 20
_UNSUPPORTED, _REFUSED = 33, 58
_OTHER_NAME = (62, 64)  # OpenSSL: the host's name, or its address, is not in the certificate


class AccessError(SetupError):
    """The broker is there, and refuses who asks: trying again is of no use."""


def check_access(servers: Sequence[str], secured: Mapping[str, Any]) -> None:
    """Return if a server lets us in, or none can be reached, which the client tells.

    Parameters
    ----------
    servers : sequence of str
        ``host:port`` each.
    secured : mapping of str to Any
        Settings of kafka-python.

    Raises
    ------
    AccessError
        All that were reached refuse: what is wrong, and the remedy.
    """
    protocol, context = secured.get("security_protocol", "PLAINTEXT"), secured.get("ssl_context")
    if protocol == "PLAINTEXT" or (protocol.endswith("SSL") and context is None):
        return  # without a context the settings are kafka-python's own, which makes one of them itself
    refused: AccessError | None = None
    for server in servers:
        host, port = _address(server)
        try:
            with socket.create_connection((host, port), _TIMEOUT_S) as plain:
                if context is None:
                    _enter(plain, server, host, secured)
                else:
                    with context.wrap_socket(plain, server_hostname=host) as connection:
                        _enter(connection, server, host, secured)
                return
        except AccessError as error:
            refused = error
        except ssl.SSLCertVerificationError as error:
            refused = _untrusted(server, error)
        except (ssl.SSLError, ConnectionResetError) as error:
            refused = _broken(server, error, context is not None)
        except (OSError, ValueError):
            continue  # not there, or not there yet
    if refused is not None:
        raise refused


def plain_hint(servers: Sequence[str]) -> str:
    """Return a sentence about a server that does not take a client without security, or nothing."""
    for server in servers:
        host, port = _address(server)
        try:
            with socket.create_connection((host, port), _HINT_S) as connection:
                connection.sendall(_framed(_API_VERSIONS, 0, b""))
                head = connection.recv(3)
        except OSError:
            continue
        if head[:2] == b"\x15\x03":  # an alert of TLS
            return f" {server} speaks TLS: set 'security.protocol' to SSL or SASL_SSL."
        if len(head) == 3 and head[0] == 0:
            return f" {server} answers, so it may want a login: set 'security.protocol' to SASL_SSL or SASL_PLAINTEXT."
    return ""


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.rpartition("://")[2].strip("[]"), int(port) if port.isdecimal() else 0


def _enter(connection: socket.socket, server: str, host: str, secured: Mapping[str, Any]) -> None:
    # With TLS 1.3 a client learns that its certificate is refused when it reads.
    _ask(connection, _API_VERSIONS, 0, b"")
    name = str(secured.get("sasl_mechanism"))
    if not secured["security_protocol"].startswith("SASL") or "sasl_plain_password" not in secured:
        return  # other mechanisms are kafka-python's own affair
    code = struct.unpack_from(">h", _ask(connection, _SASL_HANDSHAKE, 1, _text(name)))[0]
    if code == _UNSUPPORTED:
        remedy = "Set 'sasl.mechanism' to one of the broker's sasl.enabled.mechanisms."
        raise AccessError(f"The Kafka broker at {server} does not offer the mechanism {name} there. {remedy}")
    if code:
        remedy = "Set 'security.protocol' to PLAINTEXT or SSL, or take another port."
        raise AccessError(f"The Kafka broker at {server} does not ask for a login there. {remedy}")
    login = get_sasl_mechanism(name)(host=host, **secured)
    while not login.is_done():
        token = login.auth_bytes()
        answer = _ask(connection, _SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        code, length = struct.unpack_from(">hh", answer)
        if code == _REFUSED:
            remedy = "Check user name and password in 'sasl.jaas.config', and 'sasl.mechanism'."
            raise AccessError(f"The Kafka broker at {server} refuses the login with {name}. {remedy}")
        at = 4 + max(length, 0)
        login.receive(answer[at + 4 : at + 4 + struct.unpack_from(">i", answer, at)[0]])


def _framed(api: int, version: int, body: bytes) -> bytes:
    return struct.pack(">ihhih", len(body) + 10, api, version, 1, -1) + body


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """Return the body of the answer to a request."""
    connection.sendall(_framed(api, version, body))
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    if not 4 <= size <= _MAX_BYTES:
        raise ConnectionResetError("no answer of Kafka's")
    return _exactly(connection, size)[4:]


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionResetError("closed")
        found += part
    return found


def _untrusted(server: str, error: ssl.SSLCertVerificationError) -> AccessError:
    reason = (error.verify_message or error.reason or "not trusted").rstrip(".")
    if error.verify_code in _OTHER_NAME:
        remedy = "Use the name in the certificate in the brokers' address, or issue one with that name (SAN)."
    else:
        remedy = "Put the authority that signed it into 'ssl.truststore.certificates' or 'ssl.truststore.location'."
    return AccessError(f"The certificate of {server} is refused ({reason}). {remedy}")


def _broken(server: str, error: OSError, encrypted: bool) -> AccessError:
    if not encrypted:
        what = "closes the connection before the login."
        return AccessError(f"{server} {what} It may speak TLS there: check the port, and 'security.protocol'.")
    reason = (getattr(error, "reason", None) or "closed").replace("_", " ").lower()
    remedy = (
        "It may speak no TLS there, want a client certificate ('ssl.keystore...') that it trusts, or another version of"
        " TLS ('ssl.enabled.protocols'); its log says why."
    )
    return AccessError(f"{server} does not complete a TLS connection ({reason}). {remedy}")
