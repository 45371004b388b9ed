"""How jobs run unless they say otherwise (cases C07, C22, C26, C27)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from thalweg.jobs.environment import PROFILES
from thalweg.udfs.engines.durations import parse_duration_ms


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_says_what_flinks_defaults_leave_to_luck(profile: str) -> None:
    settings = PROFILES[profile]
    bundle_ms = parse_duration_ms(settings["python.fn-execution.bundle.time"])
    assert bundle_ms <= {"latency": 50, "throughput": 1000}[profile]
    assert int(settings["python.fn-execution.bundle.size"]) >= int(settings["python.fn-execution.arrow.batch.size"])
    # An idle partition holds nobody back for ever, and a checkpoint comes by itself.
    assert 0 < parse_duration_ms(settings["table.exec.source.idle-timeout"]) <= 60_000
    assert parse_duration_ms(settings["execution.checkpointing.interval"]) > 0
    # State is written once per key and bundle, not at each access.
    for option in ("python.state.cache-size", "python.map-state.read-cache-size", "python.map-state.write-cache-size"):
        assert int(settings[option]) >= 1000


def test_python_functions_run_in_workers_of_their_own_as_on_a_cluster() -> None:
    """With the loopback of PyFlink they would run in this process: imports would resolve that no cluster has."""
    code = (
        "import os\n"
        "from thalweg.jobs.environment import make_environment\n"
        "try: make_environment('latency', {}, 'nobody')\n"
        "except Exception: pass\n"
        "print(os.environ['_python_worker_execution_mode'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "_python_worker_execution_mode"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.strip() == "process", done.stderr
