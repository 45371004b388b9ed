"""The options ``--brokers`` and ``--client-config`` of commands that speak to Kafka."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "brokers_option",
    "client_config_option",
    "config_file",
    "security",
    "share_with_workers",
    "without_client_config",
]

_VARIABLE = "THALWEG_CLIENT_CONFIG"
_KEPT = "thalweg.client-config"


def _keep(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from thalweg.connector.kafka_security import read_client_config

        context.meta[_KEPT] = (path, read_client_config(path))


def client_config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--client-config``; ``security`` returns what is in the file."""
    return click.option(
        "--client-config",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=_VARIABLE,
        show_envvar=True,
        callback=_keep,
        expose_value=False,
        help="Properties file with the security settings, as Kafka's tools take it with --command-config.",
    )(command)


def brokers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--brokers`` and ``--client-config``."""
    brokers = click.option("--brokers", default="127.0.0.1:9092", show_default=True, help="host:port, ...")
    return brokers(client_config_option(command))


def security() -> dict[str, Any]:
    """Return Kafka's security settings that the running command was given; none outside of one."""
    context = click.get_current_context(silent=True)
    return {} if context is None or _KEPT not in context.meta else dict(context.meta[_KEPT][1])


def config_file() -> str:
    """Return the path of the file with these settings, or nothing."""
    context = click.get_current_context(silent=True)
    return "" if context is None or _KEPT not in context.meta else str(context.meta[_KEPT][0])


def without_client_config() -> dict[str, str]:
    """Return the environment for a job on a broker of our own, which asks nobody who they are."""
    return {name: value for name, value in os.environ.items() if name != _VARIABLE}


def share_with_workers() -> None:
    """Let the Python workers of a mini cluster read the same file; those elsewhere have the variable for themselves."""
    if config_file():
        os.environ[_VARIABLE] = str(Path(config_file()).absolute())
