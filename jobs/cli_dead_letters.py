"""``thalweg dead-letters``: what could not be used, why, and the way back."""

from __future__ import annotations

import heapq
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.dead_letter_view import details, facts, state
from thalweg.jobs.output import json_option, print_json, print_table, printable

if TYPE_CHECKING:
    from thalweg.connector.dead_letters import Choice, Letter, LetterTopic

__all__ = ["dead_letters"]

_KINDS = 1000  # reasons told apart; a hostile stream must not fill the memory with them
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all of this group have."""
    topic = click.option("--topic", default="thalweg.dead_letter.v1", show_default=True, help="The dead-letter topic.")
    return topic(brokers_option(json_option(command)))


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose among the letters."""
    for option in (
        click.option("--since", default="", help="Written since: '2 h' ago, or 2026-01-31T10:00:00Z."),
        click.option("--from", "origin", default="", help="Only records of this topic of origin."),
        click.option("--model", default="", help="Only what this model refused."),
        click.option("--reason", default="", help="Only where the reason has this text in it."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at the records that could not be used, and send them back once they can be.

    \b
    Example:
      thalweg dead-letters list --topic flights.dead_letter.v1
      thalweg dead-letters replay --topic flights.dead_letter.v1 --reason "too early" --dry-run
    """


@dead_letters.command("list")
@click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Show the newest so many; all are counted."
)
@click.option(
    "--fail-above", type=click.IntRange(0), help="Exit code 1 where there are more letters than that, for a scheduler."
)
@_filters
@_common
@click.pass_context
def list_(
    ctx: click.Context,
    topic: str,
    brokers: str,
    as_json: bool,
    reason: str,
    model: str,
    origin: str,
    since: str,
    limit: int,
    fail_above: int | None,
) -> None:
    """List the newest letters, and count all by their reason; numbers in a reason count as the same.

    State: new; replayed; refused again, after it had been replayed; example, which was no record of a topic.

    \b
    Example:
      thalweg dead-letters list --topic flights.dead_letter.v1 --since "2 h"
      thalweg dead-letters list --topic flights.dead_letter.v1 --from flown --json
      thalweg dead-letters list --topic flights.dead_letter.v1 --since "10 min" --fail-above 20
    """
    source, choice = _open(brokers, topic), _choice(reason, model, origin, since)
    replayed, kinds, copies = source.replayed(), Counter[str](), set[str]()

    def counted() -> Iterator[Letter]:
        for letter in source.letters():
            if choice.takes(letter):
                kinds[letter.kind if letter.kind in kinds or len(kinds) < _KINDS else "(other reasons)"] += 1
                if letter.is_copy:
                    copies.add(letter.root)
                yield letter

    newest = heapq.nlargest(max(limit, 1), counted(), key=lambda letter: (letter.written_ms, *letter[:2]))[:limit]
    rows = [{**facts(letter), "state": state(letter, replayed, copies)} for letter in newest]
    if as_json:
        print_json({"letters": rows, "reasons": dict(kinds), "total": kinds.total()})
    else:
        columns = ("letter", "topic", "partition", "offset", "time", "model", "state", "reason")
        print_table(columns, ([printable(str(row[column])) for column in columns] for row in rows))
        click.echo("")
        print_table(("count", "reason"), ((f"{count:,}", printable(kind)) for kind, count in kinds.most_common()))
        click.echo(f"{kinds.total():,} letters, {len(rows):,} shown.")
    if fail_above is not None and kinds.total() > fail_above:
        ctx.exit(1)


@dead_letters.command()
@click.argument("letter")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the record's value here, as it came."
)
@_common
def show(letter: str, out: Path | None, topic: str, brokers: str, as_json: bool) -> None:
    """Show one LETTER, as 'list' names it: partition and offset in the dead-letter topic.

    \b
    Example:
      thalweg dead-letters show 0-12 --topic flights.dead_letter.v1 --out record.bin
    """
    partition, offset = _place(letter)
    with closing(_open(brokers, topic).letters({partition: [offset]})) as letters:
        found = next(letters, None)
    if found is None:
        raise ConfigError([Problem(f"letter '{letter}'", f"is not in {topic}.", "See 'thalweg dead-letters list'.")])
    if out is not None:
        try:
            out.write_bytes(found.record["payload"] or b"")
        except OSError as error:
            what = f"cannot be written ({error.strerror})."
            raise ConfigError([Problem(f"file {out}", what, "Check the path and its permissions.")]) from error
    if as_json:
        print_json(details(found, as_json=True))
        return
    told = details(found, as_json=False).items()
    print_table(("field", "value"), ((printable(name), printable(str(value))) for name, value in told))


@dead_letters.command()
@click.argument("letters", nargs=-1)
@click.option("--to", default="", help="Send all to this topic instead of each to its own.")
@click.option("--now", is_flag=True, help="Give the records the present time; by default they keep their own.")
@click.option("--refused-again", is_flag=True, help="Send also what was replayed before and was refused again.")
@click.option("--again", is_flag=True, help="Send also all that was replayed before.")
@click.option("--limit", type=click.IntRange(1), help="Send at most so many, those written first.")
@click.option("--dry-run", is_flag=True, help="Tell what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filters
@_common
@click.pass_context
def replay(
    ctx: click.Context,
    letters: tuple[str, ...],
    to: str,
    now: bool,
    refused_again: bool,
    again: bool,
    dry_run: bool,
    yes: bool,
    topic: str,
    brokers: str,
    as_json: bool,
    reason: str,
    model: str,
    origin: str,
    since: str,
    limit: int | None,
) -> None:
    """Send records back to the topic and partition they came from: value, key, time and headers as they were.

    What was sent is remembered in the compacted topic <dead-letter topic>.replayed, and each record says so in its
    header thalweg-replayed-from. A second replay sends nothing of it. Ctrl-C completes what is under way.

    A job that has gone on since may find the records late: --now gives them the present time.

    \b
    Example:
      thalweg dead-letters replay --topic flights.dead_letter.v1 --dry-run
      thalweg dead-letters replay --topic flights.dead_letter.v1 --from flown --since "1 d" --yes
      thalweg dead-letters replay 0-12 0-15 --topic flights.dead_letter.v1 --to flown.repaired
    """
    from thalweg.connector.replay import plan_replay

    for name in letters:
        _place(name)
    source = _open(brokers, topic)
    repeat = "always" if again else "refused" if refused_again else "never"
    plan = plan_replay(source, _choice(reason, model, origin, since, letters), to=to, again=repeat, limit=limit)
    told: dict[str, Any] = {
        "into": dict(plan.into),
        "planned": plan.into.total(),
        "skipped": dict(plan.skipped),
        "sent": 0,
    }
    if not as_json:
        for target, count in sorted(plan.into.items()):
            click.echo(printable(f"{count:,} records go to '{target}'."))
        for why, count in sorted(plan.skipped.items()):
            click.echo(printable(f"{count:,} letters are passed over: {why}."))
    if plan.into and not dry_run:
        yes or click.confirm(f"Send {plan.into.total():,} records to {brokers}?", abort=True, err=True)
        told["sent"] = _send(source, plan, to, now)
    if as_json:
        print_json(told)
    else:
        click.echo(f"{told['sent']:,} records sent{', for this was a dry run' if dry_run else ''}.")
    if not dry_run and told["sent"] < told["planned"]:
        click.echo("The rest was not sent; the same command goes on.", err=True)
        ctx.exit(1)


def _send(source: LetterTopic, plan: Any, to: str, now: bool) -> int:
    """Send what is planned, told on standard error; Ctrl-C and SIGTERM end it after the open transaction."""
    from thalweg.connector.replay import send_back

    asked: list[int] = []
    before = {number: signal.signal(number, lambda got, frame: asked.append(got)) for number in _SIGNALS}
    sent, begun, told = 0, time.monotonic(), 0.0
    try:
        for sent in send_back(source, plan, to=to, now=now, stopped=lambda: bool(asked)):
            passed = time.monotonic() - begun
            if passed - told >= 1 or sent == plan.into.total():
                told = passed
                click.echo(f"{sent:,} of {plan.into.total():,} sent, {sent / max(passed, 1e-3):,.0f}/s", err=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return sent


def _open(brokers: str, topic: str) -> LetterTopic:
    from thalweg.connector.dead_letters import LetterTopic

    return LetterTopic(brokers, topic, report=lambda text: click.echo(printable(text), err=True), **security())


def _choice(reason: str, model: str, origin: str, since: str, ids: tuple[str, ...] = ()) -> Choice:
    from thalweg.connector.dead_letters import Choice

    return Choice(reason, model, origin, _since_ms(since), frozenset(ids))


def _since_ms(text: str) -> int:
    from thalweg.udfs.engines.durations import parse_duration_ms

    if not text:
        return 0
    try:
        if "-" in text:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000)
        return int(time.time() * 1000) - parse_duration_ms(text)
    except (ValueError, OverflowError) as error:
        remedy = "Write it as '2 h', or as 2026-01-31T10:00:00Z."
        raise ConfigError([Problem("option '--since'", str(error).rstrip(".") + ".", remedy)]) from None


def _place(letter: str) -> tuple[int, int]:
    partition, _, offset = letter.partition("-")
    if not (partition.isdecimal() and offset.isdecimal()) or len(letter) > 40:
        remedy = "Write partition and offset as 'thalweg dead-letters list' does: 0-12."
        raise ConfigError([Problem(f"letter '{letter}'", "is no name of a letter.", remedy)])
    return int(partition), int(offset)
