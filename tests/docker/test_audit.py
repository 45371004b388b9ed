"""``make audit``: what it makes of a database that knows something, knows nothing, or cannot be asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docker_scripts import docker_script

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "affected": [
        {
            "package": {"name": "six", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.18.0"}]}],
        }
    ],
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    return docker_script("audit")


@pytest.fixture
def database() -> Iterator[tuple[str, dict[str, Any]]]:
    """A database that speaks the protocol of osv.dev, and knows what a test puts in."""
    known: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(known.get(asked["package"]["name"], {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", known
    server.shutdown()
    server.server_close()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("# pins\nsix==1.17.0\nidna==3.20 ; python_version >= '3.8'\n")
    return path


def run(audit: ModuleType, pins: Path, url: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = audit.main(["--vulnerability-service", "osv", "--osv-url", url, "--timeout", "10"], pins)
    return code, capsys.readouterr().out


def test_what_is_known_is_told_with_the_version_that_mends_it(
    audit: ModuleType, pins: Path, database: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, known = database
    assert run(audit, pins, url, capsys) == (0, "Nothing is known against 2 pinned packages.\n")
    known["six"] = {"vulns": [KNOWN]}
    assert run(audit, pins, url, capsys) == (1, "six 1.17.0: PYSEC-2026-1, CVE-2026-1; mended in 1.18.0.\n")


def test_a_machine_without_a_way_to_the_database_does_not_pass_for_a_clean_one(
    audit: ModuleType, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run(audit, pins, "http://127.0.0.1:1/v1/query", capsys)
    assert code == 3
    assert told.startswith("The vulnerability database cannot be asked from here")
    assert "Traceback" not in told
    assert told.count("\n") == 1


def test_a_database_that_does_not_know_the_packages_has_not_found_them_clean(audit: ModuleType) -> None:
    clean, skipped = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    bad = {"name": "c", "version": "2", "vulns": [{"id": "X", "fix_versions": []}]}
    assert audit.verdict([clean, skipped]) == (3, "1 of 2 packages could not be looked up: b.\n")
    assert audit.verdict([skipped])[0] == 3
    assert audit.verdict([])[0] == 3
    code, told = audit.verdict([bad, skipped])
    assert (code, told.splitlines()[0]) == (1, "c 2: X; mended in no version yet.")
