"""A broker that wants TLS and a login: our clients, commands and whole jobs get in, and nothing they say has a secret.

The password has each sign in it that something on the way has to quote.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import lacking
from onnx import TensorProto, helper
from secured import PASSWORD, PLAIN, SCRAM, SecuredBroker, start_secured
from streams import as_json, publish, results
from thalweg.connector.ddl import create_table, quote_text
from thalweg.connector.errors import SetupError
from thalweg.connector.kafka import count_records, create_topics, wait_for_broker
from thalweg.connector.model_feed import ModelFeed
from thalweg.connector.models import ModelTopic
from thalweg.connector.probe import AccessError
from thalweg.jobs.cli import main

pytestmark = pytest.mark.cluster
ROWS = 300
TRACES = ("7f3a9", "mArker")
"""What is left of the password however it is quoted."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    from thalweg.jobs.jars import broker_jars
    from thalweg.jobs.java import java_command

    try:
        java_command()
        broker_jars()
    except SetupError as error:
        lacking(str(error))
    running, secured = start_secured(tmp_path_factory.mktemp("secured"))
    with running:
        create_topics(secured.plaintext, {"known": {}})
        yield secured


@pytest.fixture
def client_config(kafka: SecuredBroker, tmp_path: Path) -> Path:
    """Kafka's own file, with the password in another one."""
    secret, path = tmp_path / "password", tmp_path / "client.properties"
    secret.write_text(PASSWORD + "\n")
    login = f'{SCRAM} required username="ann" password="${{file:{secret}}}";'
    settings = {**kafka.settings("SASL_SSL"), "sasl.jaas.config": login, "client.id": "shop"}
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


def lets_in(servers: str, settings: dict[str, str]) -> bool:
    return count_records(servers, "known", **settings) == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_right_password_is_let_in(kafka: SecuredBroker, mechanism: str) -> None:
    assert lets_in(kafka.sasl_plaintext, kafka.settings("SASL_PLAINTEXT", mechanism))
    assert lets_in(kafka.sasl_ssl, kafka.settings("SASL_SSL", mechanism))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_one_sentence_at_once(kafka: SecuredBroker, mechanism: str) -> None:
    for servers, protocol in ((kafka.sasl_plaintext, "SASL_PLAINTEXT"), (kafka.sasl_ssl, "SASL_SSL")):
        with pytest.raises(AccessError, match=rf"refuses the login with {mechanism}\. Check user name") as told:
            # Would go on for a minute, were it not told that trying again is of no use.
            wait_for_broker(servers, 60, **kafka.settings(protocol, mechanism, "not-the-password"))
        assert "not-the-password" not in str(told.value)


def test_certificates_are_checked(kafka: SecuredBroker) -> None:
    settings = kafka.settings("SSL")
    with pytest.raises(AccessError, match=r"certificate of .* is refused .*address mismatch.* Use the name"):
        lets_in(kafka.other_name, settings)
    assert lets_in(kafka.other_name, {**settings, "ssl.endpoint.identification.algorithm": ""})
    with pytest.raises(AccessError, match="Put the authority that signed it into"):
        lets_in(kafka.other_name, {"security.protocol": "SSL"})


def test_a_client_shows_its_certificate(kafka: SecuredBroker) -> None:
    settings = kafka.settings("SSL")
    with pytest.raises(AccessError, match="want a client certificate"):
        lets_in(kafka.mutual, settings)
    assert lets_in(kafka.mutual, {**settings, "ssl.keystore.type": "PEM", "ssl.keystore.location": str(kafka.client)})
    key, _, chain = kafka.client.read_text().partition("-----END PRIVATE KEY-----\n")
    texts = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": f"{key}-----END PRIVATE KEY-----",
        "ssl.keystore.certificate.chain": chain,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": kafka.authority.read_text(),
    }
    assert lets_in(kafka.mutual, {"security.protocol": "SSL", **texts})


def test_settings_that_do_not_fit_the_port(kafka: SecuredBroker) -> None:
    wrong = [
        (kafka.plaintext, "SSL", "may speak no TLS there"),
        (kafka.sasl_ssl, "SASL_PLAINTEXT", "may speak TLS there"),
        (kafka.plaintext, "SASL_PLAINTEXT", "does not ask for a login there"),
    ]
    for servers, protocol, says in wrong:
        with pytest.raises(AccessError, match=says):
            lets_in(servers, kafka.settings(protocol))


def test_without_settings_the_error_says_what_the_port_wants(kafka: SecuredBroker) -> None:
    for servers, says in ((kafka.sasl_ssl, "speaks TLS"), (kafka.sasl_plaintext, "may want a login")):
        with pytest.raises(SetupError, match=says):
            wait_for_broker(servers, 1)


def test_who_follows_models_is_told_of_a_wrong_password_at_once(kafka: SecuredBroker) -> None:
    feed = ModelFeed(kafka.sasl_ssl, "shop.models", **kafka.settings("SASL_SSL", password="not-the-password"))
    with pytest.raises(AccessError, match="refuses the login"):
        feed.models(120)
    feed.unwatch("m", lambda state: None)


def test_kafka_python_says_nothing_at_debug(kafka: SecuredBroker, caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("kafka").addHandler(handler)
    caplog.set_level(logging.DEBUG)
    try:
        create_topics(kafka.sasl_ssl, {"known": {}}, **kafka.settings("SASL_SSL", "PLAIN"))
    finally:
        logging.getLogger("kafka").removeHandler(handler)
    said = stream.getvalue() + caplog.text
    assert "Starting KafkaAdminClient with configuration" in said
    assert "SaslAuthenticate" in said
    assert not [trace for trace in TRACES if trace in said]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


COMMANDS = (
    ("sample", "edges", "--rows", 3),
    ("models", "list", "--topic", "shop.models"),
    ("watch", "--metrics", "known", "--once"),
    ("doctor",),
    ("models", "show", "m", "--topic", "shop.models", "--json"),
    ("models", "show", "none", "--topic", "shop.models"),
    ("snapshots", "list", "--topic", "known"),
    ("experiment", "freeze", "likes", "--reason", "a test", "--topic", "orders"),
    ("experiment", "status", "likes", "--decisions", "known", "--metrics", "known"),
    ("alerts", "watch", "--topic", "known", "--once"),
    ("report", "--metrics", "known", "--out", "{folder}/report.html"),
    ("dead-letters", "list", "--topic", "known"),
    ("run", "{folder}/none.sql"),
    ("run", "{folder}/refers.sql", "--dry-run", "--json"),
    ("run", "{folder}/unknown_option.sql"),
    ("run", "{folder}/no_sql.sql"),
    ("run", "{folder}/fails.sql"),
    ("bundle", "{folder}/thalweg.zip"),
)


def test_no_command_shows_a_secret(
    kafka: SecuredBroker,
    client_config: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with the right password and with a wrong one; it lies in a file, in SQL, and in the environment."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    monkeypatch.setenv("THALWEG_CLIENT_CONFIG", "")  # put back after: 'run' sets it for its workers
    create_topics(kafka.plaintext, {name: {} for name in ("shop.events", "shop.predictions", "shop.scores", "orders")})
    create_topics(kafka.plaintext, {"shop.snapshots": {"compact": True}})
    publish(kafka.plaintext, "shop.one", [(as_json({"id": "0", "x": 1, "y": True}), 0)])
    model = tmp_path / "m.onnx"
    model.write_bytes(doubled())
    literal = "".join(f", 'properties.{k}' = {quote_text(v)}" for k, v in kafka.settings("SASL_SSL", "PLAIN").items())
    insert = "INSERT INTO events (id, x, y) SELECT id, x, y FROM events;\n"
    (tmp_path / "refers.sql").write_text(job(kafka))
    (tmp_path / "unknown_option.sql").write_text(events(kafka.sasl_ssl, literal + ", 'formatt' = 'x'") + insert)
    (tmp_path / "no_sql.sql").write_text(events(kafka.sasl_ssl, literal) + "INSERT INTO '${env:SHOP_PASSWORD}' x;")
    at = ("--brokers", kafka.sasl_ssl, "--client-config", client_config)
    said = call("models", "publish", "m", model, "--topic", "shop.models", *at)
    assert said.exit_code == 0, said.output
    wrong = tmp_path / "wrong.properties"
    wrong.write_text(client_config.read_text().replace('"ann"', '"bob"').replace(".file:", PASSWORD))
    (tmp_path / "fails.sql").write_text(
        "SET 'restart-strategy.type' = 'none';\n"
        + events(kafka.sasl_ssl, literal).replace("shop.events", "shop.one")
        + "CREATE TABLE scores (id STRING, score DOUBLE) WITH ('connector' = 'print');\n"
        "CREATE FUNCTION onnx_score AS 'thalweg.udfs.sql.onnx_score' LANGUAGE PYTHON;\n"
        f"INSERT INTO scores SELECT id, onnx_score('m?brokers={kafka.sasl_ssl}&topic=shop.models&kafka-config={wrong}',"
        " x) FROM events;\n"
    )
    shown, codes = [said], {}
    for file, commands in ((client_config, COMMANDS), (wrong, COMMANDS[:3])):
        for command in commands:
            full = [str(part).format(folder=tmp_path) for part in command]
            if command[0] not in ("run", "bundle"):
                full += ["--brokers", kafka.sasl_ssl]
            if command[0] != "bundle":
                full += ["--client-config", str(file)]
            told = call(*full)
            assert told.exit_code in (0, 1, 2, 3), (command, told.output)
            assert told.exception is None or isinstance(told.exception, SystemExit), (command, told.exc_info)
            shown.append(told)
            codes[(file.stem, *full[:2])] = told.exit_code
    for told in shown:
        assert not found_in(told.output + str(told.exception)), told.output
    assert not found_in(caplog.text)
    assert not found_in((tmp_path / "thalweg.zip").read_bytes().decode("latin-1"))
    # What was shown is an answer with the one file, and the sentence about the login with the other.
    assert codes["client", "sample", "edges"] == codes["client", "models", "list"] == 0
    assert codes["wrong", "sample", "edges"] == codes["wrong", "models", "list"] == 3
    assert codes["client", "run", str(tmp_path / "fails.sql")] == 1
    assert "refuses the login with SCRAM-SHA-512" in next(told.output for told in shown if told.exit_code == 1)
    refused = call("models", "list", "--brokers", kafka.sasl_ssl, "--client-config", wrong)
    assert refused.output.count("\n") == 1
    assert "refuses the login" in refused.output


def test_a_job_with_a_wrong_password_is_refused_before_it_starts(kafka: SecuredBroker, tmp_path: Path) -> None:
    wrong = {**kafka.settings("SASL_SSL", password="not-the-password"), "ssl.truststore.location": "/elsewhere/ca.pem"}
    file = tmp_path / "job.sql"
    for settings, code, says in (
        (kafka.settings("SASL_SSL", password="not-the-password"), 3, "refuses the login with SCRAM-SHA-512"),
        ({**wrong, "sasl.mechanism": "SCRAM"}, 2, "'sasl.mechanism': 'SCRAM' is none"),
    ):
        more = "".join(f", 'properties.{name}' = {quote_text(value)}" for name, value in settings.items())
        file.write_text(events(kafka.sasl_ssl, more) + "INSERT INTO events (id) SELECT id FROM events;")
        told = call("run", file)
        assert (told.exit_code, says in told.output) == (code, True), told.output
        assert "not-the-password" not in told.output
        assert "Traceback" not in told.output


def doubled() -> bytes:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", info[:1], info[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def events(servers: str, more: str) -> str:
    return (
        "CREATE TABLE events (id STRING, x DOUBLE, y BOOLEAN, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK"
        f" FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'shop.events', 'properties.bootstrap.servers' ="
        f" '{servers}', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' ="
        f" 'json'{more});\n"
    )


def job(kafka: SecuredBroker) -> str:
    """Learns, and scores with a model by name: a table with PLAIN, one with a certificate, one that is given SCRAM."""
    login = f'{PLAIN} required username="ann" password="${{env:SHOP_PASSWORD}}";'
    own = {**kafka.settings("SASL_SSL", "PLAIN"), "sasl.jaas.config": login}
    more = "".join(f", 'properties.{name}' = {quote_text(value)}" for name, value in own.items())
    shown = kafka.settings("SSL") | {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(kafka.client)}
    certificate = "".join(f", 'properties.{name}' = {quote_text(value)}" for name, value in shown.items())
    return (
        "SET 'pipeline.name' = 'shop';\nSET 's3.secret-key' = '${env:SHOP_PASSWORD}';\n"
        + events(kafka.sasl_ssl, more)
        + create_table("predictions", "prediction", "shop.predictions", kafka.sasl_ssl)
        + ";\nCREATE TABLE scores (id STRING, score DOUBLE, version STRING) WITH ('connector' = 'kafka', 'topic' ="
        f" 'shop.scores', 'properties.bootstrap.servers' = '{kafka.mutual}', 'format' = 'json'{certificate});\n"
        "CREATE FUNCTION onnx_predict AS 'thalweg.udfs.sql.onnx_predict' LANGUAGE PYTHON;\n"
        "CREATE MODEL likes INPUT (x DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'input-table' = 'events',"
        " 'event-id' = 'id', 'label' = 'y', 'model' = 'preprocessing.StandardScaler() |"
        f" linear_model.LogisticRegression()', 'warm-start' = 'shop.snapshots?brokers={kafka.sasl_ssl}');\n"
        "INSERT INTO predictions SELECT * FROM likes_predictions;\n"
        f"INSERT INTO scores SELECT id, p.score, p.model_version FROM (SELECT id, onnx_predict('m?brokers="
        f"{kafka.sasl_ssl}&topic=shop.models', x) AS p FROM events);\n"
    )


def test_a_job_learns_and_scores_over_sasl_ssl(kafka: SecuredBroker, client_config: Path, tmp_path: Path) -> None:
    records = [(as_json({"id": str(n), "x": n % 7, "y": n % 7 > 3}), 1_000 * n) for n in range(ROWS)]
    publish(kafka.plaintext, "shop.events", records)
    create_topics(kafka.plaintext, {"shop.predictions": {}, "shop.scores": {}, "shop.snapshots": {"compact": True}})
    models = ModelTopic(kafka.plaintext, "shop.models")
    models.create()
    models.publish("m", doubled(), file="m.onnx")
    file, logs = tmp_path / "shop.sql", tmp_path / "logs"
    file.write_text(job(kafka))
    logs.mkdir()
    command = [sys.executable, "-m", "thalweg.jobs", "run", str(file), "--client-config", str(client_config)]
    ran = subprocess.run(
        [*command, "--parallelism", "1"],
        env={**os.environ, "SHOP_PASSWORD": PASSWORD, "FLINK_LOG_DIR": str(logs)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = results(kafka.plaintext, "shop", ("predictions",))["predictions"]
    assert len({row["event_id"] for row in told}) == ROWS
    with_score = [json.loads(record.value) for record in raw(kafka, "shop.scores")]
    assert sorted(row["score"] for row in with_score) == sorted(2.0 * (n % 7) for n in range(ROWS))
    for path in logs.rglob("*"):
        assert not found_in(path.read_text("utf-8", "replace")), path
    assert any(logs.rglob("*"))
    assert not found_in(ran.stdout + ran.stderr)


def raw(kafka: SecuredBroker, topic: str) -> list[object]:
    from thalweg.connector.client import raw_records

    return list(raw_records(kafka.sasl_ssl, topic, kafka.settings("SASL_SSL")))


def found_in(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]
