"""``thalweg keys``, and commands that sign and check with what it made."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from test_cli_models import line
from test_cli_snapshots import engine_of, snapshot_of
from thalweg.connector.kafka import create_topics, read_topic
from thalweg.connector.keys import Key, parse_key
from thalweg.connector.orders import check_order
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import Snapshot
from thalweg.connector.snapshot_file import snapshot_from_file, snapshot_to_file
from thalweg.jobs.cli import main


def thalweg(*words: str | Path, **variables: str) -> Result:
    result = CliRunner(env=variables).invoke(main, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def made(folder: Path, *words: str, name: str = "signing.key") -> Key:
    assert thalweg("keys", "generate", "ci-2026", "--out", folder / name, *words).exit_code == 0
    return parse_key((folder / name).read_text())


def test_a_pair_is_written_for_its_owner_alone_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    out = tmp_path / "signing.key"
    result = thalweg("keys", "generate", "ci-2026", "--out", out, "--json")
    facts = json.loads(result.stdout)
    private, public = (parse_key(Path(file).read_text()) for file in facts["files"])
    assert (private.kind, public.kind, public.id) == ("ed25519-private", "ed25519-public", "ci-2026")
    assert facts["fingerprint"] == private.fingerprint == public.fingerprint
    assert public.verifies(b"m", private.sign(b"m"))
    assert {stat.S_IMODE(Path(file).stat().st_mode) for file in facts["files"]} == {0o600}
    shown = thalweg("keys", "show", out, f"{out}.pub", "--json")
    assert [(row["kind"], row["signs"]) for row in json.loads(shown.stdout)] == [
        ("ed25519-private", True),
        ("ed25519-public", False),
    ]
    table = thalweg("keys", "show", out)
    assert private.fingerprint in table.stdout
    assert private.text().rpartition(":")[2] not in result.output + shown.output + table.output


def test_a_secret_is_one_file(tmp_path: Path) -> None:
    key = made(tmp_path, "--algorithm", "hmac-sha256")
    assert key.kind == "hmac-sha256"
    assert [path.name for path in tmp_path.iterdir()] == ["signing.key"]


@pytest.mark.parametrize("there", ["signing.key", "signing.key.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("old")
    result = thalweg("keys", "generate", "ci-2026", "--out", tmp_path / "signing.key")
    assert (result.exit_code, "never overwritten" in result.stderr) == (2, True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "old")]


def test_what_is_no_key_and_no_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("hunter2")
    for words in (
        ("show", tmp_path / "other"),
        ("show", tmp_path / "none"),
        ("generate", "a b", "--out", tmp_path / "x"),
    ):
        result = thalweg("keys", *words)
        assert result.exit_code == 2, result.output
        assert "hunter2" not in result.output


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Snapshot]:
    """What lies in the topic ``t`` of a broker that nobody runs; ``trust`` decides as the real topic does."""
    found: dict[tuple[str, str], Snapshot] = {}

    class Topic:
        def __init__(self, brokers: str, topic: str, trust: Trust | None) -> None:
            self._trust = trust

        def latest(self) -> dict[tuple[str, str], Snapshot]:
            return found

    monkeypatch.setattr("thalweg.connector.kafka.SnapshotTopic", Topic)
    found["fraud", ""] = snapshot_of(engine_of())
    return found


@pytest.mark.usefixtures("stored")
def test_a_snapshot_is_signed_on_its_way_into_a_file(tmp_path: Path) -> None:
    key, out = made(tmp_path), tmp_path / "fraud.avro"
    words = ("snapshots", "export", "fraud", "--topic", "t", "--format", "river", "--out", out)
    trust = Trust([key.public()], required=True)
    assert thalweg(*words, "--signing-key", f"file:{tmp_path}/signing.key").exit_code == 0
    assert snapshot_from_file(out.read_bytes(), trust=trust).model == "fraud"
    assert thalweg(*words, THALWEG_SIGNING_KEY=f"file:{tmp_path}/signing.key").exit_code == 0
    assert snapshot_from_file(out.read_bytes(), trust=trust).model == "fraud"
    assert thalweg(*words).exit_code == 0
    assert snapshot_from_file(out.read_bytes()).signature == ""


def test_a_literal_key_is_refused_and_not_shown(tmp_path: Path, stored: Any) -> None:
    text = made(tmp_path).text()
    result = thalweg("snapshots", "export", "fraud", "--topic", "t", "--out", tmp_path / "x", "--signing-key", text)
    assert result.exit_code == 2
    assert "write env:NAME or file:/path" in result.stderr
    assert text.rpartition(":")[2] not in result.output


def test_an_import_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / "fraud.avro"
    path.write_bytes(snapshot_to_file(snapshot_of(engine_of())))
    keys = ("--trusted-keys", f"file:{tmp_path}/signing.key.pub", "--require-signature")
    for words, code, says in (
        (keys, 1, "it is not signed"),
        (("--require-signature",), 2, "no key is trusted"),
        (("--trusted-keys", f"file:{tmp_path}/signing.key"), 2, "needs its public half"),
    ):
        result = thalweg("snapshots", "import", path, "--topic", "t", "--brokers", "127.0.0.1:1", *words)
        assert (result.exit_code, says in result.stderr) == (code, True), result.output


def test_a_claim_is_told_as_one(tmp_path: Path, stored: dict[tuple[str, str], Snapshot]) -> None:
    from thalweg.connector.snapshot_signature import sign_snapshot

    stored["fraud", ""] = sign_snapshot(stored["fraud", ""], made(tmp_path))
    words = ("snapshots", "list", "--topic", "t", "--json")
    assert [row["signed_by"] for row in json.loads(thalweg(*words).stdout)] == ["ci-2026 (not checked)"]
    checked = thalweg(*words, "--trusted-keys", f"file:{tmp_path}/signing.key.pub")
    assert [row["signed_by"] for row in json.loads(checked.stdout)] == ["ci-2026"]


@pytest.mark.cluster
def test_orders_and_models_are_signed_on_a_broker(broker: str, topic_name: str, tmp_path: Path) -> None:
    key, where = made(tmp_path), ("--brokers", broker, "--topic", topic_name)
    trust = Trust([key.public()], required=True)
    signing = {"THALWEG_SIGNING_KEY": f"file:{tmp_path}/signing.key"}
    keys = ("--trusted-keys", f"file:{tmp_path}/signing.key.pub", "--require-signature")
    (tmp_path / "m.onnx").write_bytes(line())
    for note, variables in (("signed", signing), ("not signed", {})):
        published = thalweg("models", "publish", "m", tmp_path / "m.onnx", "--note", note, *where, **variables)
        assert published.exit_code == 0, published.output
    listed = thalweg("models", "list", "--json", *where, *keys)
    assert [(row["name"], row["serving"], row["versions"]) for row in json.loads(listed.stdout)] == [("m", 1, [1])]
    assert listed.stderr.count("it is not signed") == 2
    assert json.loads(thalweg("models", "list", "--json", *where).stdout)[0]["serving"] == 2
    assert thalweg("models", "rollback", "m", *where, **signing).exit_code == 0
    refused = thalweg("models", "show", "m", "2", *where, *keys)
    assert (refused.exit_code, "there is no such version" in refused.stderr) == (2, True)

    orders = f"{topic_name}-orders"
    create_topics(broker, {orders: {}})
    where = ("--brokers", broker, "--topic", orders, "--reason", "why", "--by", "me")
    for variables in (signing, {}):
        assert thalweg("experiment", "freeze", "delay", *where, **variables).exit_code == 0
    signed, plain = (record for record, _ in read_topic(broker, orders, "control"))
    assert check_order(signed, trust).key_id == "ci-2026"
    assert plain["issued_by"] == "me"
