"""Sample events into topics, a recipe run on them as a user would run it, and what came out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from thalweg.connector.client import open_client, raw_records
from thalweg.connector.errors import ThalwegError
from thalweg.connector.kafka import create_topics
from thalweg.jobs.client_config import security, without_client_config
from thalweg.jobs.recipe_catalog import Recipe
from thalweg.jobs.script import parse_script

__all__ = ["publish_sample", "results", "run_recipe"]

_TAIL = 2000  # characters of a job's log that are shown where it failed


def publish_sample(brokers: str, recipe: Recipe, n: int, seed: int, topics: Mapping[str, str]) -> Counter[str]:
    """Create all topics of a recipe and send its sample events; return how many went into each.

    Parameters
    ----------
    brokers : str
        ``host:port``.
    recipe : Recipe
        One with a sample.
    n, seed : int
        As of ``rows`` in its module.
    topics : mapping of str to str
        Other topics, by the names of the tables.

    Raises
    ------
    ConfigError
        There is no sample, or no such table.
    SetupError
        No broker answers.
    """
    from kafka import KafkaProducer

    rows = recipe.sample()
    text, moved, wanted = recipe.with_topics(topics), {}, {}
    for given in _variables(recipe):
        for (_, before, compact), (_, after, _) in zip(_tables(recipe.text, given), _tables(text, given), strict=True):
            moved[before] = after
            wanted[after] = {"compact": compact}
    create_topics(brokers, wanted, **security())
    sent: Counter[str] = Counter()
    with open_client(KafkaProducer, brokers, security(), linger_ms=50, batch_size=1 << 18) as producer:
        for topic, key, value, time_ms in rows(n, seed):
            name = moved.get(topic, topic)
            producer.send(name, json.dumps(value).encode(), key=key.encode(), timestamp_ms=time_ms, partition=0)
            sent[name] += 1
        producer.flush()
    return sent


def run_recipe(
    brokers: str, recipe: Recipe, topics: Mapping[str, str], say: Callable[[str], None], values: Mapping[str, str]
) -> None:
    """Run a recipe to the end of what its topics hold now: each of its runs, in a process of its own.

    Raises
    ------
    ThalwegError
        A job failed; with the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="thalweg-recipe-") as scratch:
        file = Path(scratch, f"{recipe.name}.sql")
        file.write_text(recipe.with_topics(topics), "utf-8")
        for name, given in recipe.runs or [(recipe.name, {})]:
            say(f"running {name}: half a minute goes into starting Flink")
            variables = {"brokers": brokers, "bounded": "latest-offset", **given, **values}
            command = [sys.executable, "-m", "thalweg.jobs", "run", str(file), "--profile", "throughput"]
            # The topics have one partition: a second reader would never hear the time.
            command += ["--parallelism", "1", *chain(*(("-D", f"{key}={value}") for key, value in variables.items()))]
            _run(command, Path(scratch, "job.log"))


def _run(command: list[str], log: Path) -> None:
    with open(log, "wb") as out:
        env = without_client_config()
        job = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, env=env)  # noqa: S603
        try:
            job.wait()
        finally:
            if job.poll() is None:
                os.kill(job.pid, signal.SIGTERM)
                job.wait()
    if job.returncode:
        raise ThalwegError("The job failed: " + log.read_text("utf-8", "replace").strip()[-_TAIL:])


def results(brokers: str, recipe: Recipe, topics: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return what the recipe wrote: the records of each topic that it inserts into, those of JSON.

    Of a compacted topic it is the last record of each key.
    """
    text = recipe.with_topics(topics)
    found: dict[str, list[dict[str, Any]]] = {}
    for given in _variables(recipe):
        for topic, compact in _written(text, {"brokers": brokers, **given}):
            records = list(raw_records(brokers, topic, {}))
            if compact:
                records = list({record.key: record for record in records}.values())
            found[topic] = [json.loads(record.value) for record in records if record.value is not None]
    return found


def _variables(recipe: Recipe) -> list[dict[str, str]]:
    return [given for _, given in recipe.runs] or [{}]


def _written(text: str, given: Mapping[str, str]) -> Iterable[tuple[str, bool]]:
    from thalweg.jobs.plan import plan_of

    targets = {insert["into"] for insert in plan_of(parse_script(text, "recipe", given)).inserts}
    return [(topic, compact) for table, topic, compact in _tables(text, given) if table in targets]


def _tables(text: str, given: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Return name, topic and compaction of each Kafka table, with the variables of one run."""
    from thalweg.jobs.plan import plan_of

    statements = parse_script(text, "recipe", {"brokers": "127.0.0.1:9092", "frozen": "none", **given})
    compacted = {s.where for s in statements if "'upsert-kafka'" in s.text}
    kinds = [s.where in compacted for s in statements if s.kind == "CREATE TABLE"]
    return [
        (table["table"], table["where"].removeprefix("topic "), compact)
        for table, compact in zip(plan_of(statements).tables, kinds, strict=True)
        if table["where"].startswith("topic ")
    ]
