"""Which topics a tool reads: those of an application by its prefix, or each by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem, SetupError
from thalweg.jobs.client_config import brokers_option, security

if TYPE_CHECKING:
    from thalweg.connector.topic_log import TopicLog

__all__ = ["open_logs", "topic_options"]


def topic_options(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--app``, ``--brokers``, and for each kind of record an option ``--<kind>s`` with topics."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for kind in reversed(kinds):
            told = f"A topic with {kind}s; may be given again."
            command = click.option(f"--{kind}s", f"{kind}_topics", multiple=True, help=told)(command)
        app = click.option("--app", help="The application: reads the topics <app>.<kind>.v1 that there are.")
        return app(brokers_option(command))

    return add


def open_logs(
    opened: ExitStack, brokers: str, app: str | None, named: Mapping[str, Sequence[str]]
) -> list[tuple[str, TopicLog]]:
    """Return the topics that were asked for, each with the kind of its records; ``opened`` closes them.

    Parameters
    ----------
    opened : ExitStack
        What ends with the caller's work.
    brokers : str
        ``host:port``, comma separated.
    app : str or None
        Prefix of topics; one that does not exist is left out, if there is another.
    named : mapping of str to sequence of str
        Topics by kind, which must exist.

    Raises
    ------
    ConfigError
        No topic was asked for.
    SetupError
        No broker answered, or a topic does not exist.
    """
    from thalweg.connector.ddl import topic
    from thalweg.connector.topic_log import TopicLog

    if app is None and not any(named.values()):
        options = ", ".join(f"--{kind}s" for kind in named)
        raise ConfigError([Problem("option '--app'", "is missing, and no topic is named.", f"Give it, or {options}.")])
    wanted = [(kind, name, True) for kind, names in named.items() for name in names]
    if app is not None:
        wanted += [(kind, topic(app, kind), False) for kind, names in named.items() if not names]
    logs, missing = [], None
    for kind, name, needed in wanted:
        try:
            logs.append((kind, opened.enter_context(closing(TopicLog(brokers, name, **security())))))
        except SetupError as error:
            if needed or "has no topic" not in str(error):
                raise
            missing = error
    if not logs and missing is not None:
        raise missing
    return logs
