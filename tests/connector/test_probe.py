"""Whoever answers where a broker should be: the probe says what is wrong, and neither hangs nor fills the memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from thalweg.connector.probe import AccessError, check_access, plain_hint

LOGIN = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "ann",
    "sasl_plain_password": "mArker7f3a9",
}


@pytest.fixture
def says() -> Iterator[object]:
    """Starts a server that sends the same bytes to whoever asks, then closes."""
    servers: list[socket.socket] = []

    def start(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.recv(100)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(100):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0"]
)
def test_an_answer_that_is_none_of_kafkas(says: object, answer: bytes) -> None:
    with pytest.raises(AccessError, match="closes the connection before the login") as told:
        check_access([says(answer)], LOGIN)  # type: ignore[operator]
    assert "mArker" not in str(told.value)


def test_a_server_that_is_not_there_is_left_to_the_client() -> None:
    for server in ("127.0.0.1:1", "nowhere.invalid:9092", "no-port", "[::1]:1"):
        check_access([server], LOGIN)
        assert plain_hint([server]) == ""
    check_access(["127.0.0.1:1"], {})


def test_what_kafka_python_does_itself_is_left_to_it(says: object) -> None:
    silent = says(b"")  # type: ignore[operator]
    check_access([silent], LOGIN | {"security_protocol": "SASL_SSL", "ssl_cafile": "/etc/ca.pem"})
    check_access([silent], LOGIN | {"security_protocol": "PLAINTEXT"})


def test_one_server_that_lets_us_in_is_enough(says: object) -> None:
    answers = (
        b"\0\0\0\x08\0\0\0\x01\0\0\0\0"
        + b"\0\0\0\x0a\0\0\0\x02\0\0\0\0\0\0"
        + b"\0\0\0\x0c\0\0\0\x03\0\0\xff\xff\0\0\0\0"
    )
    good, bad = says(answers), says(b"")  # type: ignore[operator]
    check_access([bad, good], LOGIN)
    check_access([good, bad], LOGIN)


def test_what_a_port_wants(says: object) -> None:
    assert "speaks TLS" in plain_hint([says(b"\x15\x03\x03\0\x02\x02\x50")])  # type: ignore[operator]
    assert "may want a login" in plain_hint([says(b"\0\0\0\x0c")])  # type: ignore[operator]
    assert plain_hint([says(b"HTTP/1.1")]) == ""  # type: ignore[operator]
