"""The options about signatures of commands that write or read models: which key signs, and whose are believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem

if TYPE_CHECKING:
    from thalweg.connector.keys import Key
    from thalweg.connector.signing import Trust

__all__ = ["signer", "signing_option", "trust", "trust_options"]

_KEPT = "thalweg.signatures."


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep what an option says for ``signer`` and ``trust``; a key in place of a reference is refused at once."""
    if isinstance(value, str):
        from thalweg.connector.secret_source import parse_secret_source

        try:
            for part in value.split(","):
                parse_secret_source(part)
        except ValueError as error:
            raise ConfigError([Problem(f"option '{parameter.opts[0]}'", str(error), "")]) from None
    context.meta[f"{_KEPT}{parameter.name}"] = value


def signing_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--signing-key``; ``signer`` returns the key."""
    return click.option(
        "--signing-key",
        metavar="REFERENCE",
        envvar="THALWEG_SIGNING_KEY",
        show_envvar=True,
        callback=_keep,
        expose_value=False,
        help="Sign what is sent with the key at env:NAME or file:/path; never the key itself.",
    )(command)


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--trusted-keys`` and ``--require-signature``; ``trust`` returns what they say."""
    keys = click.option(
        "--trusted-keys",
        metavar="REFERENCES",
        envvar="THALWEG_TRUSTED_KEYS",
        show_envvar=True,
        callback=_keep,
        expose_value=False,
        help="Believe the signatures of the keys at file:/path, env:NAME; what others have signed is passed over.",
    )
    required = click.option(
        "--require-signature",
        is_flag=True,
        envvar="THALWEG_REQUIRE_SIGNATURE",
        show_envvar=True,
        callback=_keep,
        expose_value=False,
        help="Pass over what is not signed, too.",
    )
    return keys(required(command))


def signer() -> Key | None:
    """Return the key that the running command is to sign with; None where it is to sign nothing.

    Raises
    ------
    ConfigError
        The reference leads to no such key.
    """
    source = _given("signing_key")
    if not source:
        return None
    from thalweg.connector.signing import open_signer

    return open_signer(source, "option '--signing-key'")


def trust() -> Trust | None:
    """Return whose signatures the running command believes; None where it looks at none.

    Raises
    ------
    ConfigError
        A reference leads to no key, or a signature is required and no key is named.
    """
    sources, required = _given("trusted_keys"), bool(_given("require_signature"))
    if not sources and not required:
        return None
    from thalweg.connector.signing import open_trust

    return open_trust(sources.split(",") if sources else [], required, "option '--trusted-keys'")


def _given(name: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(f"{_KEPT}{name}")
