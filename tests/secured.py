"""A real broker that asks who is there: one process with a listener for each protocol, and the certificates for it."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from thalweg.jobs.broker import Broker

PASSWORD = "mArker-'secret\"\\-7f3a9"
"""With each sign that something on the way has to quote."""

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
SHADED = "org.apache.flink.kafka.shaded."


class Authority:
    """Signs certificates, and writes them as PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key, self.name = folder, ec.generate_private_key(ec.SECP256R1()), _named(name)
        self.certificate = _sign(self.name, self.name, self._key, self._key, None)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, hosts: tuple[str, ...] = ()) -> Path:
        """Write key, certificate and this authority's own into one file, as Kafka's PEM stores want it."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(_named(name), self.name, key, self._key, hosts)
        raw = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(raw + certificate.public_bytes(serialization.Encoding.PEM) + self.file.read_bytes())
        return path


@dataclass(frozen=True)
class SecuredBroker:
    """Where a broker listens, by protocol, and what a client needs."""

    plaintext: str
    sasl_plaintext: str
    sasl_ssl: str
    mutual: str
    other_name: str
    authority: Path
    client: Path
    log: Path

    def settings(self, protocol: str, mechanism: str = "SCRAM-SHA-512", password: str | None = None) -> dict[str, str]:
        """Kafka's settings of a client that is let in."""
        found = {"security.protocol": protocol}
        if protocol.startswith("SASL"):
            quoted = (password or PASSWORD).replace("\\", "\\\\").replace('"', '\\"')
            module = PLAIN if mechanism == "PLAIN" else SCRAM
            login = f'{module} required username="ann" password="{quoted}";'
            found |= {"sasl.mechanism": mechanism, "sasl.jaas.config": login}
        if protocol.endswith("SSL"):
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.authority)}
        return found


def start_secured(folder: Path) -> tuple[Broker, SecuredBroker]:
    """Start a broker with the listeners PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, and SSL with client certificates."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder, "authority")
    server = authority.issue("server", ("localhost", "127.0.0.1"))
    stranger = authority.issue("stranger", ("elsewhere.example",))
    ports = {name: _free_port() for name in ("SASL_PLAINTEXT", "SASL_SSL", "MUTUAL", "OTHER")}
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    users = f'{PLAIN} required user_ann="{quoted}";'
    properties = {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
        "SASL_SSL:SASL_SSL,MUTUAL:SSL,OTHER:SSL",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.other.ssl.keystore.type": "PEM",
        "listener.name.other.ssl.keystore.location": str(stranger),
    }
    for listener in ("sasl_plaintext", "sasl_ssl"):
        properties[f"listener.name.{listener}.plain.sasl.jaas.config"] = users.replace("\\", "\\\\")
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = f"{SCRAM} required;"
    scram = [f'SCRAM-SHA-{bits}=[name=ann,password="{PASSWORD}"]' for bits in (256, 512)]
    options = [part for user in scram for part in ("--add-scram", user)]
    broker = Broker.start(folder / "broker", settings=properties, format_options=options)
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    client = authority.issue("client")
    return broker, SecuredBroker(
        broker.bootstrap,
        at["SASL_PLAINTEXT"],
        at["SASL_SSL"],
        at["MUTUAL"],
        at["OTHER"],
        authority.file,
        client,
        broker.log,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _sign(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...] | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=hosts is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if hosts:
        known: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts if not host[0].isdigit()]
        known += [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts if host[0].isdigit()]
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    return builder.sign(by, hashes.SHA256())
