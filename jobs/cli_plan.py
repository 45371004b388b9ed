"""``thalweg plan FILE.sql``: what a job would cost, measured on its models, and the traps in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.client_config import client_config_option, security
from thalweg.jobs.output import json_option, print_json, print_table
from thalweg.jobs.root_cause import root_cause
from thalweg.jobs.run import variables
from thalweg.jobs.script import read_script
from thalweg.jobs.table_security import with_security

__all__ = ["plan_command"]


@click.command("plan")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-D", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of ${NAME} in the file.")
@click.option(
    "--profile",
    type=click.Choice(["latency", "throughput"]),
    default="latency",
    show_default=True,
    help="As for 'thalweg run'.",
)
@click.option("--parallelism", type=click.IntRange(1), help="Of the job; default: what the file sets, or 1.")
@click.option("--keys", type=click.IntRange(1), default=1000, show_default=True, help="Keys that have a model.")
@click.option(
    "--active",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the keys that learns between two checkpoints.",
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="EVENTS", help="Events per second.")
@click.option("--latency-goal", type=click.IntRange(1), metavar="MS", help="From an event to its answer.")
@click.option(
    "--examples", type=click.IntRange(1), default=1000, show_default=True, help="Examples that a key has learned."
)
@click.option(
    "--example",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Real events, a JSON object per line; without it rows are made up from the declaration.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 if a trap is severe.")
@client_config_option
@json_option
@click.pass_context
def plan_command(context: click.Context, /, strict: bool, as_json: bool, **chosen: Any) -> None:
    """Estimate what a SQL file costs, and warn of known traps; nothing runs, no broker is asked.

    Each model is built from its declaration and taught sample rows, and its state is weighed; the rest is multiplied.

    \b
    Example:
      thalweg plan fraud.sql -D brokers=kafka:9092 --keys 1000000 --active 0.01
      thalweg plan fraud.sql -D brokers=kafka:9092 --rate 5000 --latency-goal 200 --strict
    """
    told = _examine(**chosen)
    if as_json:
        print_json(told)
    else:
        _tell(told)
    context.exit(1 if strict and any(trap["severe"] for trap in told["traps"]) else 0)


def _examine(
    file: Path,
    pairs: tuple[str, ...],
    profile: str,
    parallelism: int | None,
    keys: int,
    active: float,
    rate: float | None,
    latency_goal: int | None,
    examples: int,
    example: Path | None,
) -> dict[str, Any]:
    statements = with_security(read_script(file, variables(pairs)), security())
    # Flink and River are imported only now: a mistake in the file is told at once.
    from thalweg.jobs.cost_traps import latency_traps, memory_traps, model_traps
    from thalweg.jobs.environment import PROFILES, make_environment
    from thalweg.jobs.job_cost import Load, model_load, python_bytes, waits_ms
    from thalweg.jobs.model_cost import measure
    from thalweg.jobs.plan import plan_of
    from thalweg.jobs.plan_traps import traps_of
    from thalweg.jobs.sample_rows import sample_rows
    from thalweg.jobs.session import initial_settings, prepare
    from thalweg.jobs.setting_traps import setting_traps
    from thalweg.udfs.flink.attach import attach
    from thalweg.udfs.flink.python_stages import python_stages

    settings = {**PROFILES[profile], **initial_settings(statements)}
    traps = [*traps_of(statements), *setting_traps(statements, settings)]
    # What a run would refuse is among the traps, and the rest is told all the same.
    statements = [s for s in statements if not (s.kind == "SET" and "python.execution-mode" in s.text)]
    t_env = make_environment(profile, initial_settings(statements), None, parallelism)
    inserts = prepare(t_env, statements)
    names = [model["model"] for model in plan_of(statements).models if model["provider"] != "compare"]
    attached = attach(t_env)
    declarations = [attached.declaration(name) for name in names]
    try:
        stages = python_stages(t_env, inserts)
    except Exception as error:
        raise ConfigError([Problem(str(file), f"cannot be planned: {root_cause(error)}", "")]) from error
    load = Load(keys, active, rate, parallelism or int(settings.get("parallelism.default", 1)))
    costs = {}
    for d in declarations:
        with Console(stderr=True).status(f"teaching model {d.name} {examples} examples"):
            costs[d.name] = measure(d, sample_rows(d, examples, example))
    loads = {d.name: model_load(d, costs[d.name], load, settings) for d in declarations}
    workers, python = python_bytes(stages.total, load.parallelism, loads)
    for d in declarations:
        traps += model_traps(d, costs[d.name], loads[d.name], load, settings)
    traps += memory_traps(list(loads.values()), python, load, settings)
    if latency_goal is not None:
        traps += latency_traps(statements, declarations, latency_goal, stages.longest, settings)
    return {
        "models": [
            {
                "model": name,
                **asdict(loads[name]),
                "model_bytes": costs[name].last.model,
                "live_bytes": costs[name].last.live,
                "row_bytes": costs[name].row,
                "grows": costs[name].grows,
                "sizes": [asdict(size) for size in costs[name].sizes],
            }
            for name in names
        ],
        "job": {
            "parallelism": load.parallelism,
            "checkpoint_bytes": sum(one.checkpoint_bytes for one in loads.values()),
            "changed_bytes": sum(one.changed_bytes for one in loads.values()),
            "label_bytes": _sum(one.label_bytes for one in loads.values()),
            "python_workers": workers,
            "python_bytes": python,
            "python_stages": {**stages._asdict(), "total": stages.total},
            "wait_ms": waits_ms(stages.longest, settings),
        },
        "traps": [trap._asdict() for trap in traps],
    }


def _sum(parts: Any) -> int | None:
    known = list(parts)
    return None if None in known else sum(known)


def _tell(told: Mapping[str, Any]) -> None:
    from thalweg.jobs.cost_traps import size_text

    def size(value: float | None, unknown: str = "give --rate") -> str:
        return unknown if value is None else size_text(value)

    print_table(
        ("model", "keys", "one key", "live", "checkpoint", "changed", "in a worker", "labels wait", "grows"),
        [
            (
                m["model"], f"{m['keys']:,}", size(m["state_bytes"] if m["keys"] else 0), size(m["live_bytes"]),
                size(m["checkpoint_bytes"]), size(m["changed_bytes"]), size(m["cached_bytes"]), size(m["label_bytes"]),
                " -> ".join(size(s["model"]) for s in m["sizes"]) if m["grows"] else "no",
            )
            for m in told["models"]
        ],
    )  # fmt: skip
    job, stages = told["job"], told["job"]["python_stages"]
    crossing = f"{stages['batched']} in Arrow batches, {stages['blocks']} in blocks, {stages['single']} row by row"
    click.echo()
    print_table(
        ("of the job", "figure"),
        [
            ("checkpoint, full", f"{size(job['checkpoint_bytes'])} of models"),
            ("checkpoint, incremental", f"{size(job['changed_bytes'])} of models"),
            ("state of events that wait for labels", size(job["label_bytes"])),
            ("Python workers", f"{job['python_workers']}, up to {size(job['python_bytes'])} together"),
            ("Python stages", crossing),
            ("crossings into Python per event", f"{stages['longest']} on the longest way"),
            ("longest wait in bundles and buffers", f"{job['wait_ms']} ms"),
        ],
    )
    click.echo()
    if not told["traps"]:
        click.echo("No known trap.")
        return
    print_table(
        ("trap", "where", "what", "remedy"),
        [("severe" if t["severe"] else "look", t["where"], t["what"], t["remedy"]) for t in told["traps"]],
    )
