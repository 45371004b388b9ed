"""Brings an alert to a command, or to a web address."""

from __future__ import annotations

import http.client
import ipaddress
import json
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from thalweg.connector.errors import ConfigError, Problem, ThalwegError

__all__ = ["DeliveryError", "command_sender", "webhook_sender"]

_TIMEOUT_S = 10.0
_PAUSES_S = (0.5, 2.0)
_SHOWN = 300


class DeliveryError(ThalwegError):
    """An alert did not arrive; says why, and nothing that may be a secret."""


Sender = Callable[[Mapping[str, Any]], None]


def command_sender(line: str, timeout_s: float) -> Sender:
    """Return a function that runs a command with the alert as JSON on its standard input.

    Parameters
    ----------
    line : str
        The command and its arguments, quoted as for a shell; no shell reads it.
    timeout_s : float
        After that the command is ended.

    Raises
    ------
    ConfigError
        The line has no command, or its quotes do not match.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError([Problem("option '--exec'", f"cannot be read: {error}.", "Balance its quotes.")]) from None
    if not words:
        raise ConfigError([Problem("option '--exec'", "is empty.", "Name a command.")])

    def send(alert: Mapping[str, Any]) -> None:
        try:
            run = subprocess.run(  # noqa: S603  # the words are the caller's own, and no shell reads them
                words, input=json.dumps(alert), capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise DeliveryError(f"'{words[0]}' did not end within {timeout_s:g} s and was ended.") from None
        except OSError as error:
            raise DeliveryError(f"'{words[0]}' cannot be run ({error.strerror}).") from None
        if run.returncode != 0:
            said = run.stderr.strip()[-_SHOWN:]
            raise DeliveryError(f"'{words[0]}' ended with {run.returncode}{': ' + said if said else '.'}")

    return send


def webhook_sender(
    url: str, allowed: Collection[str] = (), pauses_s: Collection[float] = _PAUSES_S, timeout_s: float = _TIMEOUT_S
) -> Sender:
    """Return a function that posts an alert as JSON.

    No proxy is used and no redirection followed: either would lead past the list of hosts. What may pass (no answer, a
    status of 429 or above 499) is tried again after each pause.

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    allowed : collection of str
        Hosts besides this machine.
    pauses_s : collection of float
        Seconds before each further attempt.
    timeout_s : float
        Of one attempt.

    Raises
    ------
    ConfigError
        The address is none, or its host is not allowed.
    """
    where = "option '--webhook'"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError([Problem(where, "is no web address.", "Write it as http://host:port/path.")]) from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        what = "is no web address of http or https without a user."
        raise ConfigError([Problem(where, what, "Write it as http://host:port/path.")])
    if host not in {name.lower() for name in allowed} and not _loopback(host):
        what = f"goes to '{host}', which is not this machine."
        raise ConfigError([Problem(where, what, f"Allow it with --allow-host {host}.")])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirection)

    def send(alert: Mapping[str, Any]) -> None:
        body = json.dumps(alert).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "thalweg"}
        for pause_s in (*pauses_s, None):
            request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  # checked above
            try:
                with opener.open(request, timeout=timeout_s):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                why, lasting = f"answered {error.code}", error.code < 500 and error.code != 429
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                why, lasting = f"cannot be reached ({type(cause).__name__})", False
            if lasting or pause_s is None:
                raise DeliveryError(f"The webhook at {host} {why}.")
            time.sleep(pause_s)

    return send


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
