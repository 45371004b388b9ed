"""One stream and one job through which faults are sent, and what an undisturbed run commits.

The undisturbed run is the plain River loop of ``scenario``, which knows nothing of Flink, and one learner per key that
never stops: records are compared one by one, models byte by byte.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from scenario import MODEL, START_MS, TIMEOUT_MS, Event, Loop, make_stream
from streams import as_json, kafka_table, result_tables, results, send
from thalweg.connector.client import raw_records
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, read_topic
from thalweg.connector.models import ModelTopic
from thalweg.connector.wire import encoder
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.learning import LEARN, SCORE

PARTITIONS = 4
SWAPPED, HASTY = "swapped", "hasty"
_COLUMNS = ("id", "k", "a", "b", "c", "colour")
_EVENTS = "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING"
_LABELS = (("id", "STRING", True), ("y", "BOOLEAN", True))
_STEP_MS = 1000


class Books(NamedTuple):
    """How committed records compare with those of the undisturbed run."""

    records: int
    lost: int
    duplicated: int
    changed: int

    @property
    def balanced(self) -> bool:
        return not (self.lost or self.duplicated or self.changed)

    def __add__(self, other: object) -> Books:
        assert isinstance(other, Books)
        return Books(*(mine + yours for mine, yours in zip(self, other, strict=True)))


def compare(expected: Counter[tuple[Hashable, ...]], found: Counter[tuple[Hashable, ...]]) -> Books:
    """Compare records, whose first two fields name them; of records with one name, how many there are."""
    named = [Counter[Hashable]() for _ in range(2)]
    for names, records in zip(named, (expected, found), strict=True):
        for record, count in records.items():
            names[record[:2]] += count
    lost, duplicated = (named[0] - named[1]).total(), (named[1] - named[0]).total()
    return Books(expected.total(), lost, duplicated, (expected - found).total() - lost)


class FaultStream:
    """A stream of events and labels that is sent part by part, and the job that answers it.

    Parameters
    ----------
    brokers : str
        Where its topics are made.
    prefix : str
        What the names of its topics begin with.
    events : int
        How many; one per second of the stream's own time.
    functions : bool
        Whether the job also answers each event with a model by name, which is swapped with ``swap``.
    """

    def __init__(self, brokers: str, prefix: str, events: int, functions: bool = False) -> None:
        self.brokers, self.prefix, self.functions = brokers, prefix, functions
        self._events, labels = make_stream(events)
        self._sent_ms, self._until_ms = START_MS, START_MS
        self.loop = Loop(self._events, labels, MODEL, True)
        encode = encoder(_LABELS)
        self._rows: dict[str, list[tuple[bytes | None, int]]] = {
            "events": [(as_json({name: getattr(e, name) for name in _COLUMNS}), e.ms) for e in self._events],
            "labels": [(encode({"id": x.id, "y": x.y}), x.ms) for x in labels],
        }
        self.end_ms = max(labels[-1].ms, self._events[-1].ms) + _STEP_MS
        topics = {f"{prefix}.{name}": {"partitions": PARTITIONS} for name in self._rows}
        create_topics(brokers, topics)
        self._tables = result_tables(brokers, prefix, "exactly-once")
        create_topics(brokers, {f"{prefix}.{HASTY}": {"partitions": 1}})
        self._tables += create_table(
            HASTY, "prediction", f"{prefix}.{HASTY}", brokers, guarantee="exactly-once",
            transactional_id_prefix=f"{prefix}-{HASTY}",
        ) + ";\n"  # fmt: skip
        self._versions: list[onnxruntime.InferenceSession] = []
        if functions:
            create_topics(brokers, {f"{prefix}.scored": {"partitions": PARTITIONS}})
            self._models = ModelTopic(brokers, f"{prefix}.models")
            self._models.create()
            self.swap()

    def send(self, seconds: float, whole: bool = False) -> None:
        """Send the next part of the stream; ``whole``, and let its time pass, so that all of it is answered."""
        self._until_ms = min(self._sent_ms + round(seconds * 1000), self.end_ms)
        for name, rows in self._rows.items():
            part = [row for row in rows if self._sent_ms <= row[1] < self._until_ms]
            # A record without a value carries the time on, to the millisecond before the next part: the watermark is a
            # second behind, and what bears its very time is late.
            carriers = [(None, self._until_ms + _STEP_MS - 1)] * PARTITIONS if whole else []
            send(self.brokers, f"{self.prefix}.{name}", [*part, *carriers], PARTITIONS)
        self._sent_ms = self._until_ms

    def swap(self) -> None:
        """Publish another version of the model by name."""
        number = len(self._versions)
        weights = [(0.3, -0.01, 0.2), (-0.2, 0.02, 0.5), (0.1, 0.03, -0.4)][number % 3]
        data = linear_model(weights, 0.1 * number)
        self._versions.append(onnxruntime.InferenceSession(data))
        self._models.publish(SWAPPED, data, file=f"v{number + 1}.onnx")

    def script(self, settings: Mapping[str, str], model_options: Mapping[str, str] | None = None) -> str:
        """Return the job; ``model_options`` go to the model that learns."""
        chosen = {
            "table.exec.source.idle-timeout": "0 ms",
            "execution.checkpointing.interval": "500 ms",
            "execution.checkpointing.min-pause": "200 ms",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "1000",
            "restart-strategy.fixed-delay.delay": "1 s",
            **settings,
        }
        options = {
            "provider": "river", "model": MODEL, "input-table": "events", "event-id": "id", "label-table": "labels",
            "label": "y", "key": "k", "label-timeout": f"{TIMEOUT_MS} ms", "snapshot-every": "1 events",
            **(model_options or {}),
        }  # fmt: skip
        text = "".join(f"SET '{key}' = '{value}';\n" for key, value in chosen.items())
        for name, columns, form in (("events", _EVENTS, "json"), ("labels", "id STRING, y BOOLEAN", "avro")):
            text += kafka_table(name, columns, f"{self.prefix}.{name}", self.brokers, form, bounded=False)
        said = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
        text += f"CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ({said});\n"
        text += self._tables + (self._functions() if self.functions else "")
        text += "CREATE VIEW judged AS SELECT *, b < -50 AS low FROM events;\n"
        text += f"CREATE MODEL {HASTY} INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (low BOOLEAN) WITH ("
        text += f"'provider' = 'river', 'model' = '{MODEL}', 'input-table' = 'judged', 'event-id' = 'id',"
        text += " 'label' = 'low', 'key' = 'k', 'order' = 'arrival');\n"
        return text + "".join(
            f"INSERT INTO {table} SELECT * FROM {view};\n"
            for table, view in (
                ("predictions", "keyed_predictions"),
                ("snapshots", "keyed_snapshots"),
                (HASTY, f"{HASTY}_predictions"),
            )
        )

    def _functions(self) -> str:
        place = f"{SWAPPED}?brokers={self.brokers}&topic={self.prefix}.models"
        return (
            "CREATE TEMPORARY FUNCTION onnx_predict AS 'thalweg.udfs.sql.onnx_predict' LANGUAGE PYTHON;\n"
            "CREATE TABLE scored (id STRING, score DOUBLE, version STRING, status STRING) WITH ('connector' = 'kafka',"
            f" 'topic' = '{self.prefix}.scored', 'properties.bootstrap.servers' = '{self.brokers}', 'format' = 'json',"
            " 'sink.delivery-guarantee' = 'exactly-once', 'properties.transaction.timeout.ms' = '600000',"
            f" 'sink.transactional-id-prefix' = '{self.prefix}-scored');\n"
            "INSERT INTO scored SELECT id, p.score, p.model_version, p.status FROM"
            f" (SELECT id, onnx_predict('{place}', a, b, c) AS p FROM events WHERE id IS NOT NULL);\n"
        )

    def answered(self) -> int:
        """Return how many answers are committed."""
        return len(results(self.brokers, self.prefix, ["predictions"])["predictions"])

    def due(self) -> int:
        """Return how many answers are to come of what was sent."""
        return len(self._answers())

    def books(self) -> dict[str, Books]:
        """Compare all that is committed with what it has to be of what was sent."""
        found = results(self.brokers, self.prefix, ["predictions", "snapshots"])
        told = ("event_id", "key", "score", "learned", "status")
        answers = Counter(tuple(p[name] for name in told) for p in found["predictions"])
        snapshots = Counter((s["key"], s["version"], s["chunk"], bytes(s["blob"])) for s in found["snapshots"])
        books = {
            "predictions": compare(Counter(self._answers()), answers),
            "snapshots": compare(self._snapshots(found["snapshots"]), snapshots),
            HASTY: self._counted(),
        }
        return books | ({"scored": self._scored()} if self.functions else {})

    def _answers(self) -> list[tuple[Any, ...]]:
        times = [row[4] for row in self.loop.rows if row[0] == SCORE]
        return [
            (event, *answer)
            for (event, answer), ms in zip(self.loop.answers, times, strict=True)
            if ms < self._until_ms
        ]

    def _snapshots(self, found: list[dict[str, Any]]) -> Counter[tuple[Hashable, ...]]:
        """Return what a learner of each key, which never stops, dumps after each example."""
        if not found:
            return Counter()
        spec = EngineSpec.from_json(found[0]["spec"])
        learners: dict[str, Any] = {}
        made: Counter[tuple[Hashable, ...]] = Counter()
        for kind, key, _, _, ms, truth, event in self.loop.rows:
            if kind == LEARN and ms < self._until_ms and key is not None and event.a is not None:
                learner = learners.setdefault(key, build(spec))
                learner.learn({name: getattr(event, name) for name in "abc"}, truth)
                made[(key, learner.learned, 0, learner.dump())] += 1
        return made

    def _counted(self) -> Books:
        """Count the events that were taken as they arrived, and what was learned from them."""
        sent = [event for event in self._events if event.ms < self._until_ms]
        found = [record for record, _ in read_topic(self.brokers, f"{self.prefix}.{HASTY}", "prediction")]
        ids = [Counter(event.id for event in sent), Counter(answer["event_id"] for answer in found)]
        keys = Counter(event.k for event in sent if event.k is not None and event.a is not None)
        due = Counter((key, learned) for key, events in keys.items() for learned in range(events))
        learned = Counter((answer["key"], answer["learned"]) for answer in found if answer["status"] != "refused")
        wrong = max((due - learned).total(), (learned - due).total())
        return Books(len(sent), (ids[0] - ids[1]).total(), (ids[1] - ids[0]).total(), wrong)

    def _scored(self) -> Books:
        sent = [event for event in self._events if event.ms < self._until_ms]
        numbered = {f"{n + 1}": session for n, session in enumerate(self._versions)}
        allowed = {(e.id, version, score(session, e)) for version, session in numbered.items() for e in sent}
        found = [json.loads(r.value) for r in raw_records(self.brokers, f"{self.prefix}.scored", {}) if r.value]
        ids = [Counter(event.id for event in sent), Counter(row["id"] for row in found)]
        wrong = sum((row["id"], row["version"], row["score"]) not in allowed for row in found)
        return Books(len(sent), (ids[0] - ids[1]).total(), (ids[1] - ids[0]).total(), wrong)


def linear_model(weights: tuple[float, float, float], bias: float) -> bytes:
    """Return a logistic regression over three features as an ONNX file."""
    tensors = [
        helper.make_tensor("w", TensorProto.FLOAT, [3, 1], weights),
        helper.make_tensor("b", TensorProto.FLOAT, [1], [bias]),
    ]
    nodes = [helper.make_node("Gemm", ["X", "w", "b"], ["z"]), helper.make_node("Sigmoid", ["z"], ["score"])]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def score(session: onnxruntime.InferenceSession, event: Event) -> float | None:
    """Return what the runtime itself says to an event; None where a feature is missing."""
    if event.a is None:
        return None
    (answer,) = session.run(None, {"X": np.array([[event.a, event.b, event.c]], np.float32)})
    return float(answer[0, 0])


def checkpoints(folder: Path) -> dict[str, str]:
    """Return the settings of checkpoints that stay in a folder when a job is lost."""
    return {
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
