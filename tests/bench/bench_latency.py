"""From Kafka to Kafka at 1,000 events a second: how long after it was sent an event's answer is there.

Three jobs. One scores with ``onnx_score``; one, ``swap``, does so with a model by name of which a new version is
published every two seconds; one is a model that learns, one per key, from labels that follow their events by a second.
The first and the last run with the profiles ``latency`` and ``throughput``. An event carries the time at which it was
sent; the consumer takes the time at which the answer reached it. Broker, producer, consumer and job are processes of
their own. What the broker and the two clients alone take is measured first, as ``broker.*``.

``p99_ms`` is over all events of the run; ``typical_p99_ms`` is the median of the 99th percentiles of each second, which
a machine that is busy with something else for a moment does not move. ``stall_ms`` is the longest time in which no
answer came: what a swap costs is the difference between ``swap.stall_ms`` and ``stall_ms``.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from statistics import median
from typing import Any

RATE = 1000
KEYS = 1000
WARM_UP_S = 15.0
LABEL_AFTER_S = 1.0
RUNS = (
    ("score", "latency"),
    ("swap", "latency"),
    ("score", "throughput"),
    ("learn", "latency"),
    ("learn", "throughput"),
)
"""Jobs and their profiles, in the order in which they run: those whose figures are compared one after the other."""
SWAP_EVERY_S = 2.0
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
TABLE = (
    "CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',"
    " 'properties.bootstrap.servers' = '{brokers}', 'scan.startup.mode' = 'earliest-offset');\n"
)
SCORE = (
    "CREATE TEMPORARY FUNCTION onnx_score AS 'thalweg.udfs.sql.onnx_score' LANGUAGE PYTHON;\n"
    "INSERT INTO answers SELECT id, onnx_score('{path}', a, b, c) FROM events;\n"
)
SWAP = (
    "CREATE TEMPORARY FUNCTION onnx_predict AS 'thalweg.udfs.sql.onnx_predict' LANGUAGE PYTHON;\n"
    "INSERT INTO answers SELECT CONCAT(id, '-', p.model_version), p.score FROM"
    " (SELECT id, onnx_predict('swapped?brokers={brokers}', a, b, c) AS p FROM events);\n"
)
LEARN = (
    "CREATE MODEL m INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
    f" 'model' = '{MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'key' = 'k', 'label-table' = 'labels',"
    " 'label' = 'y', 'label-timeout' = '1 min', 'order' = 'arrival');\n"
    "INSERT INTO answers SELECT event_id, score FROM m_predictions;\n"
)
_START_RATE = 10
_WAIT_S = 600.0
_processes = multiprocessing.get_context("spawn")


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the percentiles; ``rows`` is the number of events that are measured in each of the four runs."""
    from thalweg.jobs.broker import Broker

    from tests.bench.bench_inference import make_model

    events = rows or 30 * RATE
    found: dict[tuple[str, str], Sequence[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-") as folder:
        path = Path(folder, "mlp.onnx")
        path.write_bytes(make_model("mlp"))
        with Broker.start(Path(folder, "broker")) as broker:
            alone = _measured(broker.bootstrap, "alone", None, "", 5 * RATE, 3.0)
            _say("broker and clients alone", alone)
            for job, profile in RUNS:
                sql = {"learn": LEARN, "score": SCORE, "swap": SWAP}[job]
                if job != "learn":
                    sql = sql.format(path=path, brokers=broker.bootstrap)
                made = _measured(broker.bootstrap, f"{job}.{profile}", profile, sql, events, WARM_UP_S)
                _say(f"{job}, profile {profile}", made)
                found[job, profile] = made
            versions = len({name.split("-")[2] for name in _names(broker.bootstrap, "swap.latency.answers")})
    swapped = {"swap.versions": versions}
    return {"benchmark": "latency", "rate": RATE, "events": events, **figures(alone, found), **swapped}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def summary(latencies: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the percentiles in ms of (sent, taken), both in seconds."""
    seconds: dict[int, list[float]] = {}
    for sent, taken in latencies:
        seconds.setdefault(int(sent), []).append(taken)
    taken_all = [taken for _, taken in latencies]
    arrived = sorted(sent + taken for sent, taken in latencies)
    found = {
        "p50_ms": percentile(taken_all, 0.5),
        "p99_ms": percentile(taken_all, 0.99),
        "typical_p99_ms": median(percentile(part, 0.99) for part in seconds.values()),
        "stall_ms": max((later - earlier for earlier, later in pairwise(arrived)), default=0.0),
    }
    return {name: round(1000 * value, 1) for name, value in found.items()}


def figures(
    alone: Sequence[tuple[float, float]], found: Mapping[tuple[str, str], Sequence[tuple[float, float]]]
) -> dict[str, float]:
    """Return the JSON: the profile ``latency`` of the scoring job has its figures without a name."""
    out = {f"broker.{name}": value for name, value in summary(alone).items()}
    for (job, profile), latencies in found.items():
        names = [{"score": "", "learn": "learning"}.get(job, job), "" if profile == "latency" else profile]
        prefix = "".join(f"{name}." for name in names if name)
        out |= {f"{prefix}{name}": value for name, value in summary(latencies).items()}
    return out


def _measured(
    brokers: str, prefix: str, profile: str | None, sql: str, count: int, warm_up_s: float
) -> list[tuple[float, float]]:
    """Return (sent, taken) of ``count`` events; without a profile there is no job, and the events are the answers."""
    from thalweg.connector.kafka import create_topics

    topics = {name: f"{prefix}.{name}" for name in ("events", "labels", "answers")}
    create_topics(brokers, {topic: {} for topic in topics.values()})
    running, stop, (mine, theirs) = _processes.Event(), _processes.Event(), _processes.Pipe(duplex=False)
    labels = topics["labels"] if sql == LEARN else None
    producer = _processes.Process(target=_produce, args=(brokers, topics["events"], labels, running, stop))
    source = topics["answers" if profile else "events"]
    consumer = _processes.Process(target=_consume, args=(brokers, source, count, warm_up_s, running, theirs))
    started = [producer, consumer]
    if "'swapped?" in sql:
        started.append(_processes.Process(target=_publish, args=(brokers, _first_version(brokers), running, stop)))
    if profile is not None:
        script = "".join(
            TABLE.format(name=name, columns=columns, topic=topics[name], brokers=brokers)
            for name, columns in (
                ("events", "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE"),
                ("labels", "id STRING, y BOOLEAN"),
                ("answers", "id STRING, score DOUBLE"),
            )
        )
        started.append(_processes.Process(target=_job, args=(script + sql, profile, stop)))
    try:
        for process in started:
            process.start()
        deadline = time.monotonic() + _WAIT_S + count / RATE
        while not mine.poll(1):
            ended = [process for process in started if process.exitcode is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{prefix}: {ended[0]} has ended" if ended else f"{prefix}: the job does not keep up"
                )
        answers: list[tuple[float, float]] = mine.recv()
    finally:
        stop.set()
        for process in started:
            if process.pid is not None:
                process.join(0 if process is consumer else 60)
                process.kill()
                process.join()
    return answers


def _produce(brokers: str, events: str, labels: str | None, running: Any, stop: Any) -> None:
    """Send events at an even pace; the id has the time, in microseconds."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=0)
    waiting: deque[tuple[float, bytes]] = deque()
    due, n = time.time(), 0
    while not stop.is_set():
        # While the job starts there are few events, so that it does not start behind.
        due += 1 / (RATE if running.is_set() else _START_RATE)
        while (now := time.time()) < due:
            time.sleep(due - now)
        a, b, c = (n * 31 % 997) / 997.0, (n * 37 % 991) / 991.0, (n * 41 % 983) / 983.0
        name = f"{time.time_ns() // 1000}-{n}"
        event = {"id": name, "k": str(n * 7919 % KEYS), "a": a, "b": b, "c": c}
        producer.send(events, json.dumps(event).encode())
        if labels is not None:
            truth = a + (n * 43 % 977) / 977.0 > 1
            waiting.append((now + LABEL_AFTER_S, json.dumps({"id": name, "y": truth}).encode()))
            while waiting[0][0] <= now:
                producer.send(labels, waiting.popleft()[1])
        n += 1
    producer.close()


def _first_version(brokers: str) -> Mapping[str, bytes]:
    """Publish the first version of the model that is swapped, and return the files that take turns from then on."""
    from thalweg.connector.models import ModelTopic

    from tests.bench.bench_inference import make_model

    files = {f"{name}.onnx": make_model(name) for name in ("mlp", "trees")}
    models = ModelTopic(brokers, "thalweg.models.v1")
    models.create()
    models.publish("swapped", files["mlp.onnx"], file="mlp.onnx")
    return files


def _publish(brokers: str, files: Mapping[str, bytes], running: Any, stop: Any) -> None:
    """Publish versions, the files in turn, once answers come and until the end."""
    from thalweg.connector.models import ModelTopic

    models = ModelTopic(brokers, "thalweg.models.v1")
    while not running.wait(1):
        if stop.is_set():
            return
    for file in cycle(reversed(files)):
        if stop.wait(SWAP_EVERY_S):
            return
        models.publish("swapped", files[file], file=file)


def _consume(brokers: str, topic: str, count: int, warm_up_s: float, running: Any, answers: Any) -> None:
    """Send back (sent, taken) of the events that were sent in the time that is measured."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(topic, bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
    arrived: list[tuple[int, list[Any]]] = []
    begin = 0
    while True:
        records = [record for part in consumer.poll(1000).values() for record in part]
        now = time.time_ns() // 1000
        if not records:
            continue
        last = sent_us(records[-1].value)
        running.set()
        begin = begin or now + int(warm_up_s * 1_000_000)
        end = begin + count * 1_000_000 // RATE
        if now >= begin:
            arrived.append((now, records))
            # Answers come in the order of their events, or nearly so: a second later none is on its way.
            if last > end + 1_000_000:
                break
    consumer.close()
    times = [(sent_us(record.value), now) for now, records in arrived for record in records]
    answers.send([(sent / 1e6, (now - sent) / 1e6) for sent, now in times if begin <= sent < end])


def _names(brokers: str, topic: str) -> list[str]:
    """Return the ids of all answers in a topic."""
    from thalweg.connector.client import raw_records

    return [json.loads(record.value)["id"] for record in raw_records(brokers, topic, {})]


def sent_us(value: bytes) -> int:
    """Return when the event was sent, in microseconds of the epoch, from its id."""
    return int(json.loads(value)["id"].partition("-")[0])


def _job(sql: str, profile: str, stop: Any) -> None:
    from tests.streams import start

    client = start(sql, {}, 1, profile)
    ended = client.get_job_execution_result()
    while not stop.wait(1):
        if ended.done():
            ended.result()
            raise RuntimeError("the job has ended")
    client.cancel().result()


def _say(what: str, latencies: Sequence[tuple[float, float]]) -> None:
    told = ", ".join(f"{name} {value:,}" for name, value in summary(latencies).items())
    print(f"{what}: {len(latencies):,} answers, {told}", file=sys.stderr, flush=True)
