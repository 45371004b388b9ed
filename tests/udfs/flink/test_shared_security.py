"""A warm start logs in as the table of its model does, and nothing shows with what."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pyflink.table import EnvironmentSettings, StreamTableEnvironment
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.flink.attach import _declaration
from thalweg.udfs.flink.served_models import place_of
from thalweg.udfs.flink.shared_security import with_table_security
from thalweg.udfs.flink.tables import Declared
from thalweg.udfs.logic.declaration import Declaration

pytestmark = pytest.mark.cluster
MARKER = "mArker7f3a9"


@pytest.fixture(scope="module")
def t_env() -> StreamTableEnvironment:
    made = StreamTableEnvironment.create(environment_settings=EnvironmentSettings.in_streaming_mode())
    kafka = "WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json', 'properties.bootstrap.servers' = 'a:1, b:2'"
    made.execute_sql(f"CREATE TABLE plain (id STRING, x DOUBLE, y BOOLEAN) {kafka})")
    secured = f"'properties.security.protocol' = 'SSL', 'properties.ssl.key.password' = '{MARKER}'"
    made.execute_sql(f"CREATE TABLE `odd name` (id STRING, x DOUBLE, y BOOLEAN) {kafka}, {secured})")
    made.execute_sql("CREATE TEMPORARY VIEW seen AS SELECT 'a' AS id, 1.0 AS x, TRUE AS y")
    return made


def model(table: str, warm: str) -> Declaration:
    options = {"input-table": table, "event-id": "id", "label": "y", "warm-start": warm, "provider": "river"}
    options |= {"model": "linear_model.LogisticRegression()"}
    return _declaration("m", Declared([("x", "DOUBLE")], [("y", "BOOLEAN")], options))


def test_the_tables_settings_are_taken_for_the_same_brokers(t_env: StreamTableEnvironment) -> None:
    found = with_table_security(t_env, model("odd name", "s?brokers=b:2,c:3"))
    assert found.warm_start is not None
    assert dict(found.warm_start.security) == {"security.protocol": "SSL", "ssl.key.password": MARKER}
    assert MARKER not in repr(found) + str(found) + f"{found.warm_start}"
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("table", "warm"),
    [
        ("odd name", "s?brokers=c:3"),
        ("odd name", "s?brokers=b:2&kafka-config=/etc/client.properties"),
        ("odd name", "/models/delay.avro"),
        ("plain", "s?brokers=b:2"),
        ("seen", "s?brokers=b:2"),
        ("nobody", "s?brokers=b:2"),
    ],
)
def test_otherwise_nothing_is_taken(t_env: StreamTableEnvironment, table: str, warm: str) -> None:
    declared = model(table, warm)
    assert with_table_security(t_env, declared) == declared


def test_workers_take_the_file_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, default: str) -> str:
        return default

    file = tmp_path / "client.properties"
    file.write_text(f"security.protocol=SSL\nssl.key.password={MARKER}\nacks=all\n")
    monkeypatch.delenv("THALWEG_CLIENT_CONFIG", raising=False)
    place = place_of(parse_reference("fraud?brokers=here:1"), nothing)
    assert place.security() == {}
    monkeypatch.setenv("THALWEG_CLIENT_CONFIG", str(file))
    assert place.security() == {"security.protocol": "SSL", "ssl.key.password": MARKER}
    own = place_of(parse_reference("fraud?brokers=here:1&kafka-config=/nowhere/x"), nothing)
    with pytest.raises(ConfigError, match="option 'kafka-config': '/nowhere/x' cannot be read"):
        own.security()
