"""Alerts are brought to real commands and to a real web server on this machine."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.jobs.alert_delivery import DeliveryError, command_sender, webhook_sender

ALERT = {"model": "fraud", "alert": "drift; rm -rf $HOME", "reason": 'über "all"'}
QUICK = (0.0, 0.0)


class Hook(HTTPServer):
    """Answers with the codes in ``answers``, then with 204, and keeps what came."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.came: list[tuple[str, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/models?token=secret"


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.came.append((self.path, json.loads(body)))
        code = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_gets_the_alert(hook: Hook) -> None:
    webhook_sender(hook.url)(ALERT)
    assert hook.came == [("/hooks/models?token=secret", ALERT)]


def test_what_may_pass_is_tried_again_and_then_it_is_an_error(hook: Hook) -> None:
    send = webhook_sender(hook.url, pauses_s=QUICK)
    hook.answers = [503, 429]
    send(ALERT)
    assert len(hook.came) == 3
    hook.answers = [500, 502, 503, 504]
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 answered 503") as told:
        send(ALERT)
    assert len(hook.came) == 6
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("code", [400, 401, 404, 302])
def test_what_stays_wrong_is_not_tried_again(hook: Hook, code: int) -> None:
    hook.answers = [code]
    with pytest.raises(DeliveryError, match=f"answered {code}"):
        webhook_sender(hook.url, pauses_s=QUICK)(ALERT)
    assert len(hook.came) == 1


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_no_proxy_of_the_environment_is_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1/")
    monkeypatch.delenv("no_proxy", raising=False)
    webhook_sender(hook.url, pauses_s=QUICK)(ALERT)
    assert len(hook.came) == 1


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(DeliveryError, match="cannot be reached"):
        webhook_sender("http://127.0.0.1:1/x", pauses_s=QUICK)(ALERT)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x", "http://127.0.0.1.example.org/", "ftp://127.0.0.1/x", "file:///etc/passwd", "nothing",
        "http://user:pass@127.0.0.1/", "http://", "http://[::1", "http://127.0.0.1:99999/",
    ],
)  # fmt: skip
def test_other_hosts_and_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--webhook"):
        webhook_sender(url)


def test_a_host_that_is_named_is_allowed() -> None:
    webhook_sender("https://Example.org/x", ["example.org"])
    webhook_sender("http://[::1]:8080/x")
    webhook_sender("http://localhost/x")


def test_a_command_gets_the_alert_on_its_input_and_no_shell_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "an alert; touch x"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    command_sender(f'{sys.executable} -c "{code}" "{out}"', 30)(ALERT)
    assert json.loads(out.read_text()) == ALERT


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(DeliveryError, match="ended with 3: no letterbox"):
        command_sender(f"{sys.executable} -c \"import sys; print('no letterbox', file=sys.stderr); sys.exit(3)\"", 30)(
            ALERT
        )
    with pytest.raises(DeliveryError, match="cannot be run"):
        command_sender("/no/such/command", 30)(ALERT)
    with pytest.raises(DeliveryError, match="did not end within"):
        command_sender(f'{sys.executable} -c "import time; time.sleep(60)"', 0.2)(ALERT)


@pytest.mark.parametrize("line", ["", "   ", 'echo "'])
def test_a_command_that_is_none_is_refused_at_once(line: str) -> None:
    with pytest.raises(ConfigError, match="--exec"):
        command_sender(line, 1)
