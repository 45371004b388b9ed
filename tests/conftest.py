"""What all tests share: one real broker for the whole run, and the rule for what the machine lacks."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings
from thalweg.connector.errors import SetupError

# No test is about time: a machine that is busy with something else must not fail one.
settings.register_profile("thalweg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("thalweg")

# The jobs of tests are short: a JVM that starts fast beats one that ends fast. Whoever sets it has their way.
os.environ.setdefault("JVM_ARGS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let two processes share the run: one has the broker and all of Flink, and begins first; the other the rest."""
    for item in items:
        shared = item.get_closest_marker("cluster") or "broker" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("cluster" if shared else item.path.name))
    items.sort(key=lambda item: "cluster" not in [str(mark.args[0]) for mark in item.iter_markers("xdist_group")])


def lacking(what: str) -> NoReturn:
    """A test that cannot run says so; where everything must be there (CI=true) it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, and the environment lacks something: {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ``host:port`` of a real Kafka broker, started on first use and shared by all tests."""
    from thalweg.jobs.broker import Broker
    from thalweg.jobs.jars import broker_jars
    from thalweg.jobs.java import java_command

    try:
        java_command()
        broker_jars()
    except SetupError as error:
        lacking(str(error))
    with Broker.start(tmp_path_factory.mktemp("broker")) as running:
        yield running.bootstrap


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """What a test makes a secret is so for that test alone: another one's output may have the same text in it."""
    from thalweg.connector import redaction

    before = dict(redaction._known)
    yield
    redaction._known.clear()
    redaction._known.update(before)


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A prefix for topics that no other test has."""
    test = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name).strip("-")
    return f"{test[:80]}-{uuid.uuid4().hex[:8]}"
