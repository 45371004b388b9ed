"""``thalweg experiment follow``: what a comparison decides serves in SQL functions too, with who and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem, SetupError, ThalwegError, WireError
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.model_facts import open_models
from thalweg.jobs.output import printable
from thalweg.jobs.signing_options import signing_option, trust_options

if TYPE_CHECKING:
    from thalweg.connector.models import ModelTopic

__all__ = ["decision_name", "follow", "newest_default"]

_POLL_S = 1.0
_MOVES = ("promote", "rollback")


def newest_default(decisions: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """Return the decision that made the newest default of a comparison; None where its default was never replaced.

    Of several at one time the last one counts.

    Examples
    --------
    >>> told = [("promote", 5, "v2"), ("rollback", 9, "v1"), ("promote", 5, "v2"), ("freeze", 12, "")]
    >>> rows = [{"model": "delay", "decision": d, "event_time_ms": ms, "arm": arm} for d, ms, arm in told]
    >>> newest_default(rows, "delay")["arm"], newest_default(rows, "other")
    ('v1', None)
    """
    found = None
    for record in decisions:
        if record["model"] == name and record["decision"] in _MOVES:
            if found is None or record["event_time_ms"] >= found["event_time_ms"]:
                found = record
    return found


def decision_name(decision: Mapping[str, Any]) -> str:
    """Return what names a decision: a record that comes twice has the same one.

    Examples
    --------
    >>> decision_name({"model": "delay", "decision": "promote", "arm": "v2", "event_time_ms": 1700000000000})
    'delay@1700000000000 promote v2'
    """
    return f"{decision['model']}@{decision['event_time_ms']} {decision['decision']} {decision['arm']}"


@click.command()
@click.argument("name")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    required=True,
    metavar="MODEL=VERSION",
    help="A model of the comparison, and the published version that it is; may be given again.",
)
@click.option("--model", help="The published model.  [default: NAME]")
@click.option("--decisions", default="thalweg.decision.v1", show_default=True, help="Topic of <name>_decisions.")
@click.option("--topic", default="thalweg.models.v1", show_default=True, help="The topic that models are published to.")
@signing_option
@trust_options
@brokers_option
@click.option("--once", is_flag=True, help="Carry out what has been decided, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line instead of text.")
def follow(
    name: str,
    arms: tuple[str, ...],
    model: str | None,
    decisions: str,
    topic: str,
    brokers: str,
    once: bool,
    as_json: bool,
) -> None:
    """Let SQL functions serve what the comparison NAME has promoted, until Ctrl-C.

    A promotion, or a rollback, lets the version of that model serve: jobs that call the published model by its name
    exchange it between two batches. Each decision is carried out once, however often this runs or is restarted; who
    decided it and why stands beside the version (`thalweg models show`). A person's `thalweg models promote` stays
    until the next decision.

    \b
    Example:
      thalweg experiment follow delay --arm delay_v1=1 --arm delay_v2=2
      thalweg experiment follow delay --model lateness --arm delay_v1=1 --arm delay_v2=2 --once --json
    """
    from thalweg.connector.topic_log import TopicLog
    from thalweg.connector.wire import decode

    versions, published = _versions(arms), model or name
    models = open_models(brokers, topic)
    _check(models, published, versions)
    done = ""
    with closing(TopicLog(brokers, decisions, **security())) as log:
        if not once:
            click.echo(f"Following the decisions of {name}; Ctrl-C ends it.", err=True)
        newest: Mapping[str, Any] | None = None
        try:
            while True:
                try:
                    newest = newest_default([*([newest] if newest else []), *_read(log, decode)], name)
                    if newest is not None and decision_name(newest) != done:
                        _carry_out(models, published, versions, newest, as_json)
                        done = decision_name(newest)
                except SetupError as error:
                    if once:
                        raise
                    click.echo(printable(f"{error} It is tried again."), err=True)
                if once:
                    break
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            click.echo("", err=True)


def _versions(arms: Iterable[str]) -> dict[str, int]:
    """Return the version of each model; tells all that cannot be read."""
    found: dict[str, int] = {}
    problems = []
    for text in arms:
        arm, _, number = text.partition("=")
        if not arm or not number.isascii() or not number.isdecimal() or int(number) < 1:
            problems.append(Problem("option '--arm'", f"'{text}' is no model with a version.", "Write delay_v2=2."))
        elif arm in found:
            problems.append(Problem("option '--arm'", f"'{arm}' is named twice.", "Name each model once."))
        else:
            found[arm] = int(number)
    if problems:
        raise ConfigError(problems)
    return found


def _check(models: ModelTopic, published: str, versions: Mapping[str, int]) -> None:
    """Raise ConfigError with all versions that there are not: better now than when one of them has won."""
    problems: list[Problem] = []
    for number in versions.values():
        try:
            models.find(published, number)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def _read(log: Any, decode: Callable[[str, bytes], dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for record in log.new():
        if record.value is None:
            continue
        try:
            yield decode("decision", record.value)
        except WireError as error:
            place = f"{record.topic}-{record.partition} at offset {record.offset}"
            click.echo(printable(f"{place} is passed over: {error}"), err=True)


def _carry_out(
    models: ModelTopic, published: str, versions: Mapping[str, int], decision: Mapping[str, Any], as_json: bool
) -> None:
    """Let the version of a decision serve, and say so; say also what stands in the way."""
    told, arm = decision_name(decision), decision["arm"]
    facts = {"decision": told, "model": published, "version": versions.get(arm), "by": decision["decided_by"]}
    if arm not in versions:
        state, text = "unknown", f"{told}: no --arm says which version {arm} is; what serves goes on serving."
    else:
        try:
            reason = f"{told}: {decision['reason']}"
            new = models.follow(
                published, versions[arm], decision["event_time_ms"], told, decision["decided_by"], reason
            )
        except SetupError:
            raise
        except ThalwegError as error:
            state, text = "failed", f"{told}: {error}"
        else:
            state = "followed" if new else "done before"
            text = f"{told}: version {versions[arm]} of {published} serves" + ("." if new else " since before.")
    if as_json:
        click.echo(json.dumps({**facts, "state": state}, sort_keys=True))
    else:
        click.echo(printable(text), err=state in ("unknown", "failed"))
