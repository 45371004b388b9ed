"""The targets of the fuzz campaign that people write: options, rules, orders, scripts, model texts, secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fuzz_base import Target, as_lines, as_text, use
from thalweg.connector.errors import ConfigError, SnapshotError, ThalwegError


def _script(text: str) -> Any:
    from thalweg.jobs.script import parse_script

    return [statement.kind for statement in parse_script(text, "f.sql", {"who": "O'Hara", "n": "7"})]


def _options(text: str) -> Any:
    """Read a declaration from lines ``option=value``."""
    from thalweg.udfs.engines.river_engine import RiverEngine
    from thalweg.udfs.logic.declaration import declare

    pairs = (line.partition("=") for line in text.split("\n"))
    options = {name: value for name, _, value in pairs if name}
    outputs = [("y", options.pop("TYPE", "BOOLEAN"))]
    return declare("m", [("a", "DOUBLE"), ("k", "STRING")], outputs, options, RiverEngine.OPTIONS, True).key


def _option_seeds() -> list[bytes]:
    from thalweg.udfs.logic.options import OPTIONS

    least = {"provider": "river", "model": "linear_model.LogisticRegression()", "input-table": "t", "event-id": "i"}
    labels = {"label-table": "l", "label": "y", "label-timeout": "12 h"}
    more = {
        "key": "k,a", "cadence": "500 events", "snapshot-every": "10 min", "alerts": "info: ROCAUC < 0.7 for 10 min",
        "slices": "k", "metrics": "ROCAUC, LogLoss, Precision@1%", "drift": "default", "psi": "a", "ks": "a",
        "warm-start": "topic?brokers=b:1", "state-ttl": "7 d", "label-default": "false",
        "order": "event-time",
        "prior": "global", "retrain": "stateful", "update-gate": "0.01", "metrics-window": "1000",
    }  # fmt: skip
    known = {name: value for name, value in more.items() if name in OPTIONS}
    defaults = {name: entry.default for name, entry in OPTIONS.items() if entry.default}
    wholes = [least, least | labels, least | labels | known, least | labels | defaults]
    singles = [least | labels | {name: value} for name, value in known.items()]
    return ["\n".join(f"{name}={value}" for name, value in whole.items()).encode() for whole in [*wholes, *singles]]


def _plan() -> Any:
    from thalweg.udfs.logic.comparison_plan import Arm, Plan

    return Plan("policy", (Arm("v1"), Arm("v2", 20.0), Arm("shadow", 0.0, mirror=True)), "v1")


def _order(text: str) -> Any:
    """Obey orders, one per line: the command, a tab, and its detail as JSON."""
    from thalweg.udfs.logic.experiment_commands import obey
    from thalweg.udfs.logic.promotion import Promotion

    plan = _plan()
    promotion = Promotion(plan)
    made = []
    for line in text.split("\n")[:20]:
        command, _, detail = line.partition("\t")
        made.append(obey(promotion, plan, command, detail or None, 1000, 900).action)
        shares = promotion.shares()
        assert abs(sum(shares) - 100) < 1e-6, shares
        assert all(0 <= share <= 100 for share in shares), shares
        json.dumps(promotion.state(), allow_nan=False)
    return made[:6]


def _books(data: bytes) -> Any:
    from thalweg.udfs.logic.comparison_books import Books
    from thalweg.udfs.logic.comparison_state import load_books

    return sorted(load_books(Books(_plan()), data))


def _books_seeds() -> list[bytes]:
    from thalweg.udfs.logic.comparison_books import Books
    from thalweg.udfs.logic.comparison_state import dump_books

    return [dump_books(Books(_plan()), {"now_ms": 5, "next": 6})]


def _comparison(text: str) -> Any:
    from thalweg.udfs.logic.compare_declaration import declare_comparison
    from thalweg.udfs.logic.declaration import declare

    options = {name: value for name, _, value in (line.partition("=") for line in text.split("\n")) if name}
    one = dict.fromkeys(("provider", "model", "input-table", "event-id", "label-table", "label"), "x")
    model = declare("v1", [("a", "DOUBLE")], [("y", "BOOLEAN")], one | {"label-timeout": "1 h"}, (), True)
    other = declare("v2", [("a", "DOUBLE")], [("y", "BOOLEAN")], one | {"label-timeout": "1 h"}, (), True)
    return declare_comparison("c", [], options, {"v1": model, "v2": other}, ("v1", "v2")).plan.name


def _built(kind: str, task: str, output: tuple[str, str]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        from thalweg.udfs.engines import build
        from thalweg.udfs.engines.base import EngineSpec, Field

        inputs = (Field("a", "number"), Field("b", "number"), Field("c", "string"))
        engine: Any = build(EngineSpec(kind, task, text, inputs, Field(*output)))
        return use(engine, [{"a": 1.0, "b": 2.0, "c": "x"}, {"a": -1.0, "b": 0.0, "c": "y"}], True)

    return read


MODEL_TEXTS = """
compose.Select('a', 'b') | preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.05))
compose.Select('a') + (compose.Select('c') | preprocessing.OneHotEncoder()) | tree.HoeffdingTreeClassifier(max_depth=4)
forest.ARFClassifier(n_models=3, seed=1)
compose.Select('a') | preprocessing.MinMaxScaler() | naive_bayes.GaussianNB()
compose.Select('a') | multiclass.OneVsRestClassifier(linear_model.LogisticRegression(l2=1e-3, loss=optim.losses.Log()))
"""
MODEL_WORDS = as_lines("""
preprocessing.
linear_model.
optim.SGD(
tree.
forest.
compose.Select(
n_models=
max_depth=
seed=
drift_detector=
drift.ADWIN()
1e308
-5
None
True
100000000
neighbors.KNNClassifier(n_neighbors=3)
compose.TransformerUnion(
""")
MLP_TEXTS = """
mlp(6, 5, embedding(c, 2), activation='tanh')
mlp(8, embedding(c, 3))
"""
RULES = """
critical: ROCAUC < 0.7 for 10 min min-samples 500; LogLoss > 0.5
none
info: accuracy <= 1e-3; warning: drift > 0
"""
GUARDRAILS = """
LogLoss not worse than 0.01; latency_p99 < 50 ms; failures < 1 %; slice(carrier)
none
"""
DURATIONS = """
10 min
7 d
100 s
1 ms
"""
REFERENCES = """
/models/fraud.onnx?on-null=nan&threads=2
file:///models/a%20b.onnx?sha256=00&providers=CPUExecutionProvider
fraud$3?brokers=b:9092&topic=t&session-options=a=b
"""
WARM = """
flights.snapshot.v1?brokers=127.0.0.1:9092&model=delay
/models/delay.avro
file:///models/delay.avro
"""
SCRIPT = b"""-- ${no}
SET 'a' = '${n}'; CREATE TABLE t (`x;` STRING) WITH ('topic' = '${who}-${m:-d}', 'p' = '$${x}');
EXECUTE STATEMENT SET BEGIN
INSERT INTO t SELECT ';' /* c; */ FROM u;
INSERT INTO v SELECT * FROM u; END;
"""
ORDERS = b"""promote\t{"argument":"v2","issued_by":"me","reason":"r"}
weights\t{"argument":"v2: 30"}
rollback\t{}
freeze
resume\t{"argument":"v2"}
weights\t{"argument":"v1:50,v2:50"}"""
COMPARISON = b"""provider=compare
default=v1
candidates=v2:20
metric=LogLoss
alpha=0.05
unit=key
guardrails=LogLoss not worse than 0.01
promote=auto"""


JAAS = rb'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="a\"b\101"; // c'
PROPERTIES = b"security.protocol=SASL_SSL\n# comment\nsasl.password : a\\u0041\\\n  b\nssl.truststore.password=x"


def _keys() -> list[bytes]:
    from thalweg.connector.keys import Key

    secret, private = Key("hmac-sha256", "k1", bytes(range(64))), Key("ed25519-private", "k2", bytes(range(32)))
    return [key.text().encode() for key in (secret, private, private.public())]


def text_targets() -> dict[str, Callable[[], Target]]:
    """Return the targets by name."""
    from thalweg.connector.jaas import parse_jaas
    from thalweg.connector.keys import parse_key
    from thalweg.connector.properties import parse_properties
    from thalweg.connector.redaction import redacted
    from thalweg.udfs.engines.durations import parse_duration_ms
    from thalweg.udfs.engines.model_text import parse
    from thalweg.udfs.engines.onnx_reference import parse_reference
    from thalweg.udfs.logic.alert_rules import parse_rules
    from thalweg.udfs.logic.guardrails import parse_guardrails
    from thalweg.udfs.logic.warm_source import parse_warm_source

    value, both = (ValueError,), (ThalwegError, ValueError)
    river = ("classification", ("y", "boolean"))
    return {
        "script": lambda: Target(as_text(_script), [SCRIPT], refusals=(ConfigError,)),
        "options": lambda: Target(as_text(_options), _option_seeds(), refusals=(ConfigError,)),
        "comparison": lambda: Target(as_text(_comparison), [COMPARISON], refusals=(ConfigError,)),
        "orders": lambda: Target(as_text(_order), [ORDERS], refusals=()),
        "comparison-state": lambda: Target(_books, _books_seeds(), refusals=(SnapshotError,)),
        "alert-rules": lambda: Target(as_text(parse_rules), as_lines(RULES), refusals=value),
        "guardrails": lambda: Target(as_text(parse_guardrails), as_lines(GUARDRAILS), refusals=value),
        "durations": lambda: Target(as_text(parse_duration_ms), as_lines(DURATIONS), refusals=value),
        "warm-start": lambda: Target(as_text(parse_warm_source), as_lines(WARM), refusals=both),
        "model-reference": lambda: Target(as_text(lambda t: parse_reference(t).options), as_lines(REFERENCES)),
        "model-text": lambda: Target(as_text(lambda t: repr(parse(t))[:40]), as_lines(MODEL_TEXTS), MODEL_WORDS),
        "model-river": lambda: Target(as_text(_built("river", *river)), as_lines(MODEL_TEXTS), MODEL_WORDS),
        "model-mlp": lambda: Target(as_text(_built("neural", *river)), as_lines(MLP_TEXTS)),
        "jaas": lambda: Target(as_text(lambda t: sorted(parse_jaas(t).options)), [JAAS], refusals=value),
        "keys": lambda: Target(as_text(lambda t: parse_key(t).id), _keys(), refusals=value),
        "properties": lambda: Target(as_text(lambda t: len(parse_properties(t))), [PROPERTIES], refusals=value),
        "redaction": lambda: Target(as_text(lambda t: len(redacted(t)) > 0), [SCRIPT, PROPERTIES, JAAS]),
    }
