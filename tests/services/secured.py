"""Servers that demand what production demands: Kafka over TLS with SASL or client certificates, PostgreSQL over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import chown
from urllib.parse import quote

import psycopg

from cutover.embedded import free_port
from tests.services.certificates import Authority, Pair
from tests.services.kafka import LocalKafka
from tests.services.postgres import LocalPostgres

USER = "streamer"
_MODULE = "org.apache.kafka.common.security"


class SecuredKafka(LocalKafka):
    """A broker whose listeners PLAIN, SCRAM and MTLS each demand TLS and their own proof of who asks.

    It is `localhost` in its certificate, and nothing else; the plain listener is the tests' own, to see it start.
    """

    def __init__(self, authority: Authority, password: str) -> None:
        self._authority, self._password = authority, password
        self._server = authority.issue("localhost", server=True)
        self.ports = {name: free_port() for name in ("plain", "scram", "mtls")}
        super().__init__()

    def secured(self, listener: str, host: str = "localhost", **options: str) -> str:
        """The address of a listener, with these options."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"kafka://{host}:{self.ports[listener]}?{query}"

    def _settings(self, controller: int) -> dict[str, str]:
        settings = super()._settings(controller)
        ours = ",".join(f"{name.upper()}://localhost:{port}" for name, port in self.ports.items())
        key_store = self._folder / "server.pem"
        key_store.write_text(_pkcs8(self._server) + self._server.certificate.read_text())
        plain = f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{self._password}";'
        return settings | {
            "listeners": f"{settings['listeners']},{ours.replace('localhost', '127.0.0.1')}",
            "advertised.listeners": f"{settings['advertised.listeners']},{ours}",
            "listener.security.protocol.map": (
                f"{settings['listener.security.protocol.map']},PLAIN:SASL_SSL,SCRAM:SASL_SSL,MTLS:SSL"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(key_store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authority.own.certificate),
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plain.plain.sasl.jaas.config": plain,
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{_MODULE}.scram.ScramLoginModule required;",
        }

    def _users(self) -> list[str]:
        return ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={self._password}]"]


def _pkcs8(pair: Pair) -> str:
    text = pair.key.read_text()
    assert "BEGIN PRIVATE KEY" in text, "Kafka reads PKCS #8 only"
    return text


@contextmanager
def secured_postgres(version: int, authority: Authority, by_certificate: str) -> Iterator[LocalPostgres]:
    """PostgreSQL that refuses every connection without TLS; the role `by_certificate` proves itself by a client's
    certificate alone, every other one by a password (SCRAM)."""
    pair = authority.issue("localhost", server=True)
    with LocalPostgres(version) as server:
        data = server.folder / "data"
        for source, name in (
            (pair.certificate, "server.crt"),
            (pair.key, "server.key"),
            (authority.own.certificate, "root.crt"),
        ):
            _hand_over(source, data / name)
        rules = (
            "hostnossl all all all reject",
            f"hostssl all {by_certificate} all cert",
            "hostssl all all all scram-sha-256",
        )
        hba = data / "pg_hba.conf"
        hba.write_text("local all postgres trust\n" + "".join(f"{rule}\n" for rule in rules))
        socket = f"postgresql://postgres@/postgres?host={server.folder}&port={server.port}"
        with psycopg.connect(socket, autocommit=True) as conn:
            for name, value in (("ssl", "on"), ("ssl_ca_file", "root.crt")):
                conn.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            conn.execute("SELECT pg_reload_conf()")
        yield server


def _hand_over(source: Path, target: Path) -> None:
    """A copy that the server's user owns, as the folder that it is in."""
    target.write_bytes(source.read_bytes())
    target.chmod(0o600)
    owner = target.parent.stat()
    chown(target, owner.st_uid, owner.st_gid)
