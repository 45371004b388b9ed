"""``thalweg recipes`` and ``thalweg sample``: ready-made jobs, listed, shown, written out, tried."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.client_config import brokers_option
from thalweg.jobs.output import json_option, print_json, print_table

__all__ = ["recipes", "sample"]

_SHOWN = 5  # records of each topic after a trial

_topic_option = click.option(
    "--topic", "topics", multiple=True, metavar="TABLE=TOPIC", help="A topic of your own, by the name of its table."
)
_rows_option = click.option(
    "--rows", type=click.IntRange(1), default=5000, show_default=True, help="How many sample events."
)
_seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Another one, another sample.")
_keep_option = click.option(
    "--keep", is_flag=True, help="Leave the broker and its topics up, and say how to look at them."
)


@click.group()
def recipes() -> None:
    """Ready-made jobs: pick one, point it at your topics, run it.

    \b
    Example:
      thalweg recipes list
      thalweg recipes try edges
      thalweg recipes init edges --topic edges=net.flows
    """


@recipes.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the recipes.

    \b
    Example:
      thalweg recipes list
    """
    from thalweg.jobs.recipe_catalog import list_recipes

    found = [{"recipe": r.name, "does": r.title, "reached": r.sections.get("Reached", "")} for r in list_recipes()]
    if as_json:
        print_json(found)
    else:
        print_table(["recipe", "does"], [(row["recipe"], row["does"]) for row in found])


@recipes.command()
@click.argument("name")
@click.option("--sql", is_flag=True, help="Print the SQL as well.")
@json_option
def show(name: str, sql: bool, as_json: bool) -> None:
    """Say what a recipe needs, gives, and has reached.

    \b
    Example:
      thalweg recipes show edges --sql
    """
    from thalweg.jobs.recipe_catalog import find_recipe

    recipe = find_recipe(name)
    facts: dict[str, Any] = {"recipe": recipe.name, "does": recipe.title}
    facts |= {section.lower(): text for section, text in recipe.sections.items() if section != "Runs"}
    facts["topics"] = recipe.topics
    if as_json:
        print_json({**facts, "sql": recipe.text})
        return
    facts["topics"] = "\n".join(f"{table}: {topic}" for table, topic in recipe.topics.items())
    print_table(["", recipe.name], list(facts.items())[1:])
    if sql:
        click.echo(f"\n{recipe.text}", nl=False)


@recipes.command()
@click.argument("name")
@_topic_option
@click.option("--out", type=click.Path(path_type=Path), help="File to write, - for the screen; default: NAME.sql.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(name: str, topics: tuple[str, ...], out: Path | None, force: bool) -> None:
    """Write a recipe out as a SQL file with your topics.

    The brokers stay a variable, ${brokers}.

    \b
    Example:
      thalweg recipes init edges --topic edges=net.flows --topic edge_alerts=net.alerts --out flows.sql
    """
    from thalweg.jobs.recipe_catalog import find_recipe

    text = find_recipe(name).with_topics(_pairs(topics))
    out = out or Path(f"{name}.sql")
    if str(out) == "-":
        click.echo(text, nl=False)
        return
    if out.exists() and not force:
        raise ConfigError([Problem(str(out), "is there already.", "Name another file with --out, or give --force.")])
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(out), f"cannot be written: {error.strerror}.", "Name another file.")]) from error
    click.echo(f"{out}: run it with\n  thalweg run {out} -D brokers=127.0.0.1:9092")


@recipes.command(name="try")
@click.argument("name")
@_rows_option
@_seed_option
@_keep_option
@json_option
def try_command(name: str, rows: int, seed: int, keep: bool, as_json: bool) -> None:
    """Run a recipe on its sample events: a broker of its own, the job, and a table of what came out.

    \b
    Example:
      thalweg recipes try anomaly --rows 2000
    """
    _trial(name, rows, seed, keep, as_json)


@click.command()
@click.argument("name")
@brokers_option
@_rows_option
@_seed_option
@_topic_option
@click.option("--run", "run_it", is_flag=True, help="Run the recipe on them, too, with a broker of its own.")
@click.option("--print", "on_screen", is_flag=True, help="Print the events as JSON lines, and publish nothing.")
@json_option
def sample(
    name: str,
    brokers: str,
    rows: int,
    seed: int,
    topics: tuple[str, ...],
    run_it: bool,
    on_screen: bool,
    as_json: bool,
) -> None:
    """Publish sample events for a recipe; all its topics are created.

    \b
    Example:
      thalweg sample edges --brokers 127.0.0.1:9092
      thalweg sample edges --rows 3 --print
      thalweg sample edges --run
    """
    from thalweg.jobs.recipe_catalog import find_recipe
    from thalweg.jobs.recipe_trial import publish_sample

    recipe, moved = find_recipe(name), _pairs(topics)
    if run_it:
        _trial(name, rows, seed, False, as_json)
        return
    if on_screen:
        import json

        for topic, key, value, time_ms in recipe.sample()(rows, seed):
            click.echo(json.dumps({"topic": topic, "key": key, "time_ms": time_ms, "value": value}))
        return
    sent = publish_sample(brokers, recipe, rows, seed, moved)
    if as_json:
        print_json(dict(sent))
    else:
        print_table(["topic", "events"], sorted(sent.items()))


def _trial(name: str, rows: int, seed: int, keep: bool, as_json: bool) -> None:
    from thalweg.jobs.broker import Broker
    from thalweg.jobs.recipe_catalog import find_recipe
    from thalweg.jobs.recipe_trial import publish_sample, results, run_recipe

    recipe = find_recipe(name)
    recipe.sample()  # before a broker is started for nothing
    console = Console(stderr=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix=f"thalweg-{name}-"))
    broker = Broker.start(folder, detached=keep)
    try:
        sent = publish_sample(broker.bootstrap, recipe, rows, seed, {})
        with console.status("publishing") as status:
            run_recipe(broker.bootstrap, recipe, {}, status.update, {})
        found = results(broker.bootstrap, recipe, {})
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            broker.stop()
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json({"published": dict(sent), "written": found})
        return
    print_table(["topic", "sent"], sorted(sent.items()))
    for topic, records in found.items():
        click.echo(f"\n{topic}: {len(records):,} records{f', the last {_SHOWN}' if len(records) > _SHOWN else ''}")
        if records:
            print_table(list(records[0]), [[_cell(value) for value in row.values()] for row in records[-_SHOWN:]])
    if keep:
        click.echo(f"\nThe broker is up at {broker.bootstrap}. Stop it: thalweg broker stop --state {folder}")


def _pairs(topics: tuple[str, ...]) -> dict[str, str]:
    problems = [
        Problem("--topic", f"'{pair}' is not table=topic.", "Write --topic TABLE=TOPIC.")
        for pair in topics
        if not re.fullmatch(r"[^=]+=[^=]+", pair)
    ]
    if problems:
        raise ConfigError(problems)
    return dict(pair.split("=", 1) for pair in topics)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
