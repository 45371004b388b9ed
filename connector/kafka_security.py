"""Kafka's security settings, under Kafka's own names, for the clients in Python.

The same names stand in a SQL table (``properties.sasl.jaas.config``) and in the file that Kafka's tools take with
``--command-config``. What Java alone understands is refused, not passed over: a client that is less careful than the
settings say would not be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.jaas import parse_jaas
from thalweg.connector.properties import parse_properties
from thalweg.connector.redaction import is_sensitive, remember
from thalweg.connector.references import REFERENCE, filled
from thalweg.connector.tls import TLS_SETTINGS, tls_context

__all__ = ["JavaOnlyError", "client_settings", "read_client_config", "remember_secrets", "table_security"]

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_BEGINNINGS = ("security.", "sasl.", "ssl.")
_PYTHON = ("security_", "ssl_", "sasl_")
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
SHADED = "org.apache.flink.kafka.shaded."
"""What Flink's SQL connector puts before the names of Kafka's classes."""
_KNOWN = ("security.protocol", "sasl.mechanism", "sasl.jaas.config", *TLS_SETTINGS)
# They tell Java how, not whom or what: nothing is less safe without them.
_JAVA_ONLY = (
    "security.providers",
    "ssl.protocol",
    "ssl.provider",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
)
_JAVA_TUNING = ("sasl.login.refresh.", "sasl.login.connect.", "sasl.login.read.", "sasl.login.retry.", "sasl.kerberos.")
_MAX_BYTES = 1 << 20


class JavaOnlyError(ConfigError):
    """Settings of use to Java's clients, perhaps on other machines, and of none to those in Python here."""


def client_settings(options: Mapping[str, Any], where: str = "Kafka setting") -> dict[str, Any]:
    """Return settings of kafka-python for Kafka's own; references in values are followed.

    Parameters
    ----------
    options : mapping of str to Any
        Kafka's settings by name. Names with underscores are kafka-python's own, and stay.
    where : str
        What to call a setting in errors.

    Raises
    ------
    ConfigError
        Lists all that is unknown, contradictory or unreadable.
    JavaOnlyError
        All that is wrong is that Java alone understands it.

    Examples
    --------
    >>> login = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="ann" password="x y";'
    >>> kafka = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": login}
    >>> sorted(client_settings(kafka))
    ['sasl_mechanism', 'sasl_plain_password', 'sasl_plain_username', 'security_protocol']
    """
    problems: list[Problem] = []
    fatal = 0

    def wrong(name: str, what: str, remedy: str, java: bool = False) -> None:
        nonlocal fatal
        fatal += not java
        problems.append(Problem(f"{where} '{name}'", what, remedy))

    kafka: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name.startswith(_PYTHON) or name in _KNOWN:
            target = kafka if name in _KNOWN else found
            try:
                target[name] = filled(value, f"{where} '{name}'") if isinstance(value, str) else value
            except ConfigError as error:
                fatal += 1
                problems += error.problems
        elif name not in _JAVA_ONLY and not name.startswith(_JAVA_TUNING):
            _unknown(name, wrong)
    remember_secrets({**kafka, **found})
    if kafka and not problems:
        found |= _translated(kafka, wrong)
    protocol = found.get("security_protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS and not kafka:  # kafka-python takes any other for PLAINTEXT, in silence
        wrong("security_protocol", f"'{protocol}' is unknown.", f"Use {', '.join(PROTOCOLS)}.")
    if problems:
        raise (ConfigError if fatal else JavaOnlyError)(problems)
    return found


def read_client_config(path: str | Path, where: str = "--client-config") -> dict[str, str]:
    """Return the security settings of a properties file as Kafka's own tools take it.

    Other settings in it are passed over. References stay, and are followed when a client is opened.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as source:
            raw = source.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise ValueError("it is too large")
        settings = parse_properties(raw.decode("utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split(":")[0]
        remedy = "Name a properties file such as Kafka's tools take with --command-config."
        raise ConfigError([Problem(where, f"'{path}' cannot be read ({reason}).", remedy)]) from None
    remember_secrets({name: value for name, value in settings.items() if not REFERENCE.search(value)})
    return {name: value for name, value in settings.items() if name.startswith((*_BEGINNINGS, *_PYTHON))}


def table_security(options: Mapping[str, str]) -> dict[str, str]:
    """Return Kafka's security settings among the options of a SQL table.

    Examples
    --------
    >>> table_security({"topic": "t", "properties.security.protocol": "SSL", "properties.group.id": "g"})
    {'security.protocol': 'SSL'}
    """
    names = {option: option.removeprefix("properties.") for option in options if option.startswith("properties.")}
    return {name: options[option] for option, name in names.items() if name.startswith(_BEGINNINGS)}


def remember_secrets(options: Mapping[str, Any]) -> None:
    """Keep the values of settings that hold secrets out of every text: passwords, keys, and those in a login."""
    for name, value in options.items():
        if not isinstance(value, str) or not is_sensitive(name):
            continue
        remember(value)
        if name.endswith("jaas.config"):
            try:
                login = parse_jaas(value)
            except ValueError:
                continue  # told where it is used
            for option, part in login.options.items():
                if option != "username":
                    remember(part)


def _unknown(name: str, wrong: Callable[..., None]) -> None:
    near = get_close_matches(name, _KNOWN, 1)
    if near:
        wrong(name, "is unknown.", f"Did you mean '{near[0]}'?")
    elif name.startswith(_BEGINNINGS):
        remedy = "Leave it out here, where Thalweg's own clients read it. Understood: " + ", ".join(_KNOWN) + "."
        wrong(name, "is a setting that Java's clients alone understand.", remedy, java=True)
    else:
        wrong(name, "it is no security setting.", f"Use settings that begin with {', '.join(_BEGINNINGS)}.")


def _translated(kafka: Mapping[str, str], wrong: Callable[..., None]) -> dict[str, Any]:
    protocol = kafka.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        wrong("security.protocol", f"'{protocol}' is unknown.", f"Use {', '.join(PROTOCOLS)}.")
        return {}
    found: dict[str, Any] = {"security_protocol": protocol}
    secured = {"sasl.": protocol.startswith("SASL"), "ssl.": protocol.endswith("SSL")}
    for name in ("sasl.jaas.config", "ssl.truststore.location", "ssl.truststore.certificates", "ssl.keystore.location"):
        beginning = name[: name.index(".") + 1]
        if kafka.get(name) and not secured[beginning]:
            fit = "SASL_SSL" if beginning == "sasl." else "SSL or SASL_SSL"
            wrong(name, f"is given, and 'security.protocol' is {protocol}: it has no effect.", f"Set that to {fit}.")
    if secured["sasl."]:
        found |= _login(kafka, wrong)
    if secured["ssl."]:
        found["ssl_context"] = tls_context(kafka, wrong)
    return found


def _login(kafka: Mapping[str, str], wrong: Callable[..., None]) -> dict[str, str]:
    mechanism = kafka.get("sasl.mechanism", "")
    if mechanism not in _MODULES:
        what = f"'{mechanism}' is none that Thalweg's clients speak." if mechanism else "is missing, and means GSSAPI."
        remedy = f"Use {', '.join(_MODULES)}, or TLS with a client certificate."
        wrong("sasl.mechanism", what, remedy, java=mechanism in ("", "GSSAPI", "OAUTHBEARER"))
        return {}
    name, module = "sasl.jaas.config", _MODULES[mechanism]
    example = f'Write {module} required username="..." password="...";'
    if not kafka.get(name):
        wrong(name, "is missing.", example)
        return {}
    try:
        login = parse_jaas(kafka[name])
    except ValueError as error:
        wrong(name, f"{error}", "")
        return {}
    if login.module.removeprefix(SHADED) != module:
        wrong(name, f"has another login module than mechanism {mechanism} needs.", example)
    elif login.options.get("tokenauth", "").lower() == "true":
        wrong(name, "has a delegation token.", "Thalweg's clients take user name and password.", java=True)
    elif not (login.options.get("username") and login.options.get("password")):
        wrong(name, "has no user name or no password.", example)
    elif "\0" in login.options["username"] + login.options["password"]:
        wrong(name, "has a NUL character in it.", "Take another password.")
    else:
        user = login.options["username"]
        if mechanism != "PLAIN":  # RFC 5802, "saslname"; kafka-python sends it as it is
            user = user.replace("=", "=3D").replace(",", "=2C")
        return {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": login.options["password"],
        }
    return {}
