"""What a job costs when few of the keys it once knew are active: memory, checkpoint and rate, with ``state-ttl``.

Each case is a job of its own in a process of its own. A first phase teaches every key once. Then events come of the
active keys alone, for longer than ``state-ttl``; after that the rate of events is taken, a full checkpoint is made, and
memory is looked at after Java has collected its garbage. Where every key is active, ``state-ttl`` is as long as it
takes to come round twice. ``fresh_1`` is a job that never knew other keys than the active ones of ``active_1``.

Python's allocator keeps what forgotten models held: so jemalloc serves Python here, as it does in ``docker/``, where it
is installed (Debian: ``libjemalloc2``); ``allocator`` tells which it was.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

CASES = {"active_1": 0.01, "active_10": 0.10, "active_100": 1.0}
_CACHED = 50_000  # models per shard that Python keeps: with 32 shards more than the default number of keys
_TTL_S = 20.0  # the default number of keys takes longer than that to teach, so the first are forgotten by then
_SLOWEST = 2500  # events per second that this machine is expected to pass with ease
_RATE_S = 15.0
# A heap that shrinks when it is collected, so that what the system has given to Java tells what Java needs.
_JAVA = "-XX:+UseSerialGC -XX:MinHeapFreeRatio=5 -XX:MaxHeapFreeRatio=10 -Xms64m"
_EVENTS = """
CREATE TEMPORARY VIEW events AS SELECT CAST(n AS STRING) AS id,
  CAST(CASE WHEN n < {keys} THEN n ELSE MOD(n, {active}) END AS STRING) AS k,
  MOD(n * 31, 997) / 997.0E0 AS a, MOD(n * 37, 991) / 991.0E0 AS b, MOD(n * 41, 983) / 983.0E0 AS c,
  MOD(n * 31, 997) / 997.0E0 + MOD(n * 43, 977) / 977.0E0 > 1 AS y FROM numbers
"""
_MODEL = """
CREATE MODEL m INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',
  'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()', 'input-table' = 'events',
  'event-id' = 'id', 'key' = 'k', 'label' = 'y', 'order' = 'arrival', 'snapshot-every' = '1000000 events',
  'state-ttl' = '{ttl_ms} ms')
"""
_SINK = "CREATE TEMPORARY TABLE nowhere (id STRING, learned BIGINT) WITH ('connector' = 'blackhole')"


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the figures of each case; ``rows`` is the number of keys."""
    keys = rows or 1_000_000
    figures: dict[str, Any] = {"benchmark": "active_keys", "keys": keys, "allocator": _allocator()[0]}
    for name, share in {"fresh_1": CASES["active_1"], **CASES}.items():
        active = max(1, round(keys * share))
        known = active if name == "fresh_1" else keys
        _say(f"{name}: {active:,} of {known:,} keys are active")
        settings = {f"python.map-state.{way}-cache-size": str(_CACHED) for way in ("read", "write")}
        ttl_s = _TTL_S if active < known else max(_TTL_S, 2 * known / _SLOWEST)
        plan = {"keys": known, "active": active, "ttl_s": ttl_s, "settings": settings}
        found = _in_a_process_of_its_own(plan)
        _say(f"{name}: {found}")
        figures |= {f"{name}.{figure}": value for figure, value in found.items()}
    return figures


def _in_a_process_of_its_own(plan: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_active_keys", json.dumps(plan)]
    environment = {**os.environ, "JVM_ARGS": _JAVA, **_allocator()[1]}
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


def _allocator() -> tuple[str, dict[str, str]]:
    """Return which allocator serves the small objects of Python, and the environment for that."""
    library = ctypes.util.find_library("jemalloc")
    if library is None:
        return "pymalloc", {}
    return "jemalloc", {"LD_PRELOAD": library, "PYTHONMALLOC": "malloc"}


def _case(plan: dict[str, Any]) -> dict[str, Any]:
    """Run one case and return its figures."""
    from pyflink.java_gateway import get_gateway

    from tests.cluster import free_port

    keys, active, ttl_s = plan["keys"], plan["active"], plan["ttl_s"]
    port = free_port()
    settings = {
        "rest.bind-port": str(port), "rest.port": str(port), "execution.checkpointing.interval": "1 h",
        "python.fn-execution.bundle.time": "100", "metrics.fetcher.update-interval": "1000",
        **plan.get("settings", {}),
    }  # fmt: skip
    client = _start(keys, active, round(ttl_s * 1000), settings)
    job = _Job(port, client)
    began = time.monotonic()
    job.wait_for(keys)
    taught_s = time.monotonic() - began
    _say(f"  {keys:,} keys taught in {taught_s:.0f} s; {memory()}")
    # Every active key must have come once more, and every other one must have been idle for longer than the ttl.
    idle_until = time.monotonic() + 1.5 * ttl_s if active < keys else 0.0
    job.wait_for(keys + active)
    while time.monotonic() < idle_until:
        time.sleep(1.0)
        _say(f"  {job.events():,} events; {memory()}")
    rate = job.rate()
    job.checkpoint()  # what is only cleaned when a state is written goes with this one
    size, seconds = job.checkpoint()
    get_gateway().jvm.System.gc()
    time.sleep(1.0)
    used = memory()
    client.cancel().result()
    return {
        "rss_mb": used["python_mb"] + used["java_mb"],
        "python_rss_mb": used["python_mb"],
        "checkpoint_mb": round(size / 1e6, 1),
        "checkpoint_s": round(seconds, 2),
        "events_per_s": round(rate),
    }


def _start(keys: int, active: int, ttl_ms: int, settings: dict[str, str]) -> Any:
    """Submit the job, and return its client."""
    from pyflink.common import WatermarkStrategy
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource
    from pyflink.table.expressions import col
    from thalweg.jobs.environment import make_environment
    from thalweg.udfs.flink.attach import attach

    t_env = make_environment("throughput", settings, None, 1)
    env = StreamExecutionEnvironment(t_env._j_tenv.execEnv())
    # The sequence of Flink's datagen keeps all its numbers in memory.
    numbers = env.from_source(NumberSequenceSource(0, 1 << 40), WatermarkStrategy.no_watermarks(), "Source: numbers")
    t_env.create_temporary_view("numbers", t_env.from_data_stream(numbers, col("n")))
    t_env.execute_sql(_EVENTS.format(keys=keys, active=active))
    t_env.execute_sql(_MODEL.format(ttl_ms=ttl_ms))
    attach(t_env).build(["m"])
    t_env.execute_sql(_SINK)
    return t_env.execute_sql("INSERT INTO nowhere SELECT event_id, learned FROM m_predictions").get_job_client()


class _Job:
    """A running job, asked over the REST endpoint of its mini cluster."""

    def __init__(self, port: int, client: Any) -> None:
        self._base, self._sink = f"http://127.0.0.1:{port}/jobs/{client.get_job_id()}", ""
        self._ended = client.get_job_execution_result()

    def events(self) -> int:
        """Return how many events have been answered: those that have come to the sink."""
        if not self._sink:
            for vertex in self._ask("")["vertices"]:
                place = f"/vertices/{vertex['id']}/subtasks/metrics"
                for metric in self._ask(place):
                    if "nowhere" in metric["id"] and metric["id"].endswith(".numRecordsIn"):
                        self._sink = f"{place}?get={quote(metric['id'])}"
        told = self._ask(self._sink) if self._sink else []
        return int(told[0]["sum"]) if told else 0

    def wait_for(self, events: int) -> None:
        """Return when so many events have been answered."""
        said = time.monotonic()
        while (so_far := self.events()) < events:
            if time.monotonic() - said > 10.0:
                said = time.monotonic()
                _say(f"  {so_far:,} events; {memory()}")
            time.sleep(0.3)

    def rate(self) -> float:
        """Return events per second, from the end of a bundle to that of another one: they are answered in bundles."""
        begin, since = self._next_bundle()
        while True:
            events, now = self._next_bundle()
            if now - since > _RATE_S:
                return (events - begin) / (now - since)

    def _next_bundle(self) -> tuple[int, float]:
        before = self.events()
        while (events := self.events()) == before:
            time.sleep(0.1)
        return events, time.monotonic()

    def checkpoint(self) -> tuple[int, float]:
        """Make a full checkpoint, and return its bytes and the seconds it took."""
        before = self._ask("/checkpoints")["counts"]["completed"]
        self._ask("/checkpoints", {"checkpointType": "FULL"})
        while True:
            told = self._ask("/checkpoints")
            if told["counts"]["completed"] > before:
                newest = told["latest"]["completed"]
                return newest["state_size"], newest["end_to_end_duration"] / 1000
            time.sleep(0.3)

    def _ask(self, path: str, body: Any = None) -> Any:
        if self._ended.done():
            self._ended.result()  # raises what the job has failed of
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def memory() -> dict[str, int]:
    """Return what the JVM below this process and its Python workers hold, in MB."""
    from tests.cluster import descendants

    sizes = {"python_mb": 0.0, "java_mb": 0.0}
    for pid in descendants(os.getpid()):
        try:
            program = os.readlink(f"/proc/{pid}/exe")
            held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        except (OSError, IndexError):
            continue  # it has ended
        sizes["java_mb" if program.endswith("java") else "python_mb"] += held
    return {name: round(size) for name, size in sizes.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(_case(json.loads(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)
