"""What a job needs of the machine, checked before it runs. Each check says what it found and what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from thalweg.connector.errors import ThalwegError
from thalweg.jobs.broker import answers
from thalweg.jobs.doctor_security import look_at_security
from thalweg.jobs.jars import check_connector, connector_version, find_jars, pins
from thalweg.jobs.java import JAVA_FLOOR, java_command, java_major

__all__ = ["WORKER_BYTES", "Check", "Plan", "examine"]

WORKER_BYTES = 420 * 2**20
"""Resident memory of a Python worker that runs Thalweg's stages, without models (measured, Linux)."""


class Check(NamedTuple):
    """What one check found.

    Attributes
    ----------
    name : str
        What was looked at.
    state : str
        ``ok``; ``warn``, it may be meant so; ``fail``, jobs will not run.
    found : str
        The facts.
    remedy : str
        What to do; empty when ``ok``.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


class Plan(NamedTuple):
    """What the job is going to be.

    Attributes
    ----------
    brokers : str
        ``host:port``, comma separated; empty: none is asked.
    target : str
        ``host:port`` of a Flink cluster's REST interface; empty: none is asked.
    slots : int
        Python workers on this machine.
    keys : int
        Models that a worker keeps at hand: the size of its state cache.
    model_bytes : int
        Size of one model.
    security : tuple of (str, str)
        Kafka's security settings for the brokers; none: they are asked in plain text.
    config : str
        The file with these.
    """

    brokers: str = ""
    target: str = ""
    slots: int = 1
    keys: int = 1000
    model_bytes: int = 10_000
    security: tuple[tuple[str, str], ...] = ()
    config: str = ""


def examine(plan: Plan) -> Iterator[Check]:
    """Yield the checks one by one, in the order in which their remedies make sense; none of them raises."""
    yield from map(_safely, (_python, _packages, _river, _java, _maven, _job_jars, _broker_jars, _time_zone))
    yield _memory(plan)
    brokers = [part.strip() for part in plan.brokers.split(",") if part.strip()]
    if plan.security or plan.config:
        yield from (Check(*found) for found in look_at_security(brokers, dict(plan.security), plan.config))
    else:
        yield from map(_broker, brokers)
    if plan.target:
        yield _cluster(plan.target)


def _safely(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ThalwegError as error:
        what, _, remedy = str(error).partition(": ")
        return Check(check.__name__.strip("_").replace("_", " "), "fail", what, remedy)


def _python() -> Check:
    wanted = Requirement(f"python{distribution('thalweg').metadata['Requires-Python'] or ''}")
    version = platform.python_version()
    if wanted.specifier.contains(version, prereleases=True):
        return Check("python", "ok", version)
    return Check("python", "fail", version, f"Use a Python {wanted.specifier}.")


def _packages() -> Check:
    problems, count = _unmet("thalweg")
    if problems:
        remedy = "Install again into a fresh environment: pip install -c constraints.txt thalweg."
        return Check("packages", "fail", "; ".join(problems), remedy)
    return Check("packages", "ok", f"{count} agree")


def _unmet(root: str) -> tuple[list[str], int]:
    """Return what ``root`` and all it needs, directly or not, lack here; and how many packages were looked at."""
    problems: list[str] = []
    seen: dict[str, Distribution] = {}
    waiting = [(root, root)]
    while waiting:
        name, wanted_by = waiting.pop()
        if canonicalize_name(name) in seen:
            continue
        try:
            seen[canonicalize_name(name)] = found = distribution(name)
        except PackageNotFoundError:
            problems.append(f"{wanted_by} needs {name}, which is not installed")
            continue
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            waiting.append((requirement.name, name))
            version = _version(requirement.name)
            if version and not requirement.specifier.contains(version, prereleases=True):
                problems.append(f"{name} needs {requirement.name}{requirement.specifier}, but {version} is installed")
    return sorted(problems), len(seen)


def _version(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return ""


def _river() -> Check:
    from thalweg.udfs.engines.river_names import MODULES

    missing = []
    for module in MODULES:
        try:
            import_module(f"river.{module}")
        except ImportError as error:
            missing.append(f"river.{module} ({error})")
    if missing:
        remedy = "Some releases of River were incomplete: pip install --force-reinstall river==0.23.0."
        return Check("river", "fail", "; ".join(missing), remedy)
    return Check("river", "ok", f"{_version('river')}, {len(MODULES)} modules")


def _java() -> Check:
    command = java_command()
    major = java_major(command)
    if major < JAVA_FLOOR:
        return Check("java", "fail", f"{major} ({command})", f"Install a Java {JAVA_FLOOR} runtime, or set JAVA_HOME.")
    return Check("java", "ok", f"{major} ({command})")


def _maven() -> Check:
    found = shutil.which("mvn")
    if found is not None:
        return Check("maven", "ok", found)
    remedy = "Install Maven 3.8 or newer, or name a folder of jars in THALWEG_JARS."
    # It only fetches jars; who has them does not need it.
    return Check("maven", "ok" if find_jars("job") and find_jars("broker") else "warn", "not installed", remedy)


def _job_jars() -> Check:
    jars = find_jars("job")
    if not jars:
        missing = ", ".join(f"{artifact}-{version}.jar" for artifact, version in pins("job"))
        remedy = "'thalweg run' resolves them where Maven is; or put them into 'pipeline.jars' yourself."
        return Check("job jars", "warn", f"not resolved yet: {missing}", remedy)
    check_connector(jars)
    kafka = next(jar for jar in jars if "connector-kafka" in jar.name)
    names = ", ".join(jar.name for jar in jars if jar != kafka)
    return Check("job jars", "ok", f"Kafka connector {connector_version(kafka)}, {names} in {kafka.parent}")


def _broker_jars() -> Check:
    jars = find_jars("broker")
    if not jars:
        return Check("broker jars", "warn", "not resolved yet", "Needed for 'thalweg broker' and 'thalweg demo' only.")
    return Check("broker jars", "ok", f"{len(jars)} in {jars[0].parent}")


def _time_zone() -> Check:
    offsets = {time.timezone, time.altzone if time.daylight else time.timezone}
    name = os.environ.get("TZ") or "/".join(dict.fromkeys(time.tzname))
    if offsets == {0}:
        return Check("time zone", "ok", name)
    remedy = (
        "Put SET 'table.local-time-zone' = 'UTC'; first in the SQL file: TIMESTAMP_LTZ values reach Python shifted."
    )
    return Check("time zone", "warn", name, remedy)


def _memory(plan: Plan) -> Check:
    models = plan.keys * plan.model_bytes
    needed = plan.slots * (WORKER_BYTES + models)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = (
        f"about {needed / 2**20:,.0f} MiB for {plan.slots} Python worker(s): {WORKER_BYTES / 2**20:.0f} MiB each "
        f"and {plan.keys} models of {plan.model_bytes} bytes; this machine has {there / 2**20:,.0f} MiB in all"
    )
    if needed < there / 2:
        return Check("memory", "ok", found)
    remedy = "Lower 'python.state.cache-size' or the number of slots, or take smaller models."
    return Check("memory", "warn", found, remedy)


def _broker(bootstrap: str) -> Check:
    if answers(bootstrap):
        return Check("broker", "ok", bootstrap)
    remedy = (
        "Start it ('thalweg broker start'), or correct --brokers; give --client-config where it wants TLS or a login."
    )
    return Check("broker", "fail", f"{bootstrap} does not answer", remedy)


def _cluster(target: str) -> Check:
    remedy = "Start the cluster, or correct --target to the host:port of its web interface."
    try:
        # The scheme is fixed: nothing but HTTP is opened.
        with urllib.request.urlopen(f"http://{target}/overview", timeout=5) as reply:
            facts = json.load(reply)
        version, slots = str(facts["flink-version"]), int(facts["slots-total"])
    except (OSError, ValueError, KeyError) as error:
        return Check("cluster", "fail", f"{target} does not answer as Flink does ({error})", remedy)
    found = f"Flink {version} at {target}, {slots} slot(s), {facts.get('slots-available', '?')} free"
    ours = _version("apache-flink")
    if version.split(".")[:2] != ours.split(".")[:2]:
        return Check("cluster", "fail", found, f"Use a cluster of Flink {ours}: job and cluster have to agree.")
    if not slots:
        return Check("cluster", "fail", found, "Start a TaskManager (taskmanager.sh start): no slot can take the job.")
    return Check("cluster", "ok", found)
