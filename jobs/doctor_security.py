"""What the doctor says about the way to Kafka: whether the settings hold, let us in, and leave something open."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence

from thalweg.connector.errors import ConfigError, SetupError
from thalweg.connector.kafka_security import client_settings
from thalweg.connector.probe import check_access
from thalweg.connector.redaction import is_sensitive
from thalweg.connector.references import REFERENCE

__all__ = ["look_at_security"]

_LOCAL = ("127.", "localhost:", "[::1]:", "::1:")
_Found = tuple[str, str, str, str]


def look_at_security(brokers: Sequence[str], settings: Mapping[str, str], file: str) -> Iterator[_Found]:
    """Yield name, state, facts and remedy of each check, as ``doctor.Check`` has them.

    Parameters
    ----------
    brokers : sequence of str
        ``host:port`` each.
    settings : mapping of str to str
        Kafka's security settings by their names.
    file : str
        Where they came from.
    """
    try:
        secured = client_settings(settings)
    except ConfigError as error:
        for problem in error.problems:
            yield "client config", "fail", f"{problem.where}: {problem.what}", problem.remedy or f"Correct {file}."
        return
    yield _file(file, settings)
    yield from _transport(brokers, settings)
    for broker in brokers:
        yield _access(broker, secured)


def _file(file: str, settings: Mapping[str, str]) -> _Found:
    plain = [name for name, value in settings.items() if is_sensitive(name) and not REFERENCE.search(value)]
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        return "client config", "fail", f"{file}: {error.strerror}", "Check the path."
    if plain and mode & (stat.S_IRGRP | stat.S_IROTH):
        remedy = f"chmod 600 {file}, or let it name the secrets: ${{file:/path}}, ${{env:NAME}}."
        return "client config", "warn", f"{file} has {', '.join(plain)} in it, and others may read it", remedy
    return "client config", "ok", file, ""


def _transport(brokers: Sequence[str], settings: Mapping[str, str]) -> Iterator[_Found]:
    protocol = settings.get("security.protocol", "PLAINTEXT").upper()
    away = [broker for broker in brokers if not broker.startswith(_LOCAL)]
    if not protocol.endswith("SSL") and away:
        what = "the records and, with PLAIN, the password" if protocol.startswith("SASL") else "the records"
        yield "transport", "warn", f"{protocol}: {what} cross the network in the clear", "Use SASL_SSL or SSL."
    elif protocol.endswith("SSL") and settings.get("ssl.endpoint.identification.algorithm", "https") == "":
        what = "the broker's name is not checked: whoever has a certificate of that authority may stand in for it"
        yield "transport", "warn", what, "Leave out 'ssl.endpoint.identification.algorithm'."
    else:
        yield "transport", "ok", protocol, ""


def _access(broker: str, secured: Mapping[str, object]) -> _Found:
    host, _, port = broker.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port) if port.isdecimal() else 0), 2).close()
        check_access([broker], secured)
    except OSError:
        remedy = "Start it ('thalweg broker start'), or correct --brokers."
        return "broker", "fail", f"{broker} does not answer", remedy
    except SetupError as error:
        what, _, remedy = str(error).partition(". ")
        return "broker", "fail", what, remedy
    login = f" with {secured['sasl_mechanism']}" if "sasl_mechanism" in secured else ""
    return "broker", "ok", f"{broker} lets us in{login}", ""
