"""What the doctor says about the way to Kafka."""

from __future__ import annotations

from pathlib import Path

from secured import PLAIN
from thalweg.jobs.doctor import Check, Plan, examine

LOGIN = f'{PLAIN} required username="ann" password="mArker7f3a9";'
NOBODY = "127.0.0.1:1"


def look(tmp_path: Path, brokers: str = NOBODY, mode: int = 0o600, **settings: str) -> dict[str, Check]:
    file = tmp_path / "client.properties"
    file.touch()
    file.chmod(mode)
    given = {name.replace("_", "."): value for name, value in settings.items()}
    found = [check for check in examine(Plan(brokers, security=tuple(given.items()), config=str(file)))]
    assert "mArker" not in str(found)
    return {check.name: check for check in found}


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    checks = look(tmp_path, security_protocol="SSL")
    assert (checks["client config"].state, checks["transport"].state) == ("ok", "ok")
    assert (checks["broker"].state, checks["broker"].found) == ("fail", f"{NOBODY} does not answer")


def test_settings_that_do_not_hold(tmp_path: Path) -> None:
    checks = look(tmp_path, security_protocol="SASL_SSL", sasl_jaas_config=LOGIN)
    assert checks["client config"].state == "fail"
    assert "'sasl.mechanism': is missing" in checks["client config"].found
    assert "broker" not in checks


def test_secrets_that_others_may_read(tmp_path: Path) -> None:
    settings = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}
    check = look(tmp_path, mode=0o644, **settings, sasl_jaas_config=LOGIN)["client config"]
    assert (check.state, "chmod 600" in check.remedy) == ("warn", True)
    (tmp_path / "password").write_text("mArker7f3a9")
    refers = LOGIN.replace("mArker7f3a9", f"${{file:{tmp_path}/password}}")
    assert look(tmp_path, mode=0o644, **settings, sasl_jaas_config=refers)["client config"].state == "ok"


def test_what_crosses_the_network_in_the_clear(tmp_path: Path) -> None:
    settings = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_jaas_config": LOGIN}
    assert look(tmp_path, **settings)["transport"].state == "ok"  # on this machine alone
    check = look(tmp_path, "kafka.invalid:9092", **settings)["transport"]
    assert (check.state, check.remedy) == ("warn", "Use SASL_SSL or SSL.")
    assert "password" in check.found


def test_a_name_that_is_not_checked(tmp_path: Path) -> None:
    check = look(tmp_path, security_protocol="SSL", ssl_endpoint_identification_algorithm="")["transport"]
    assert (check.state, "name is not checked" in check.found) == ("warn", True)
