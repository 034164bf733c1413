"""Kafka over TLS and SASL, PostgreSQL over verify-full: servers that demand it, and clients that check whom they meet.

Each kind of check has a case that must fail without it: leave a check out, and the case passes that must not.
"""

from __future__ import annotations

import gc
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from cdc import frame
from cdc.log import open_log
from sql.connection import connect, connect_replication
from sql.errors import CutoverError, Refused, Unreachable
from sql.grants import PARTS, Part, role_name
from tests.acceptance.command import Cli
from tests.integration.rig import SCHEMA, write_plan
from tests.services.certificates import Authority
from tests.services.databases import fresh_database
from tests.services.postgres import LocalPostgres
from tests.services.secured import USER, SecuredKafka, secured_postgres

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
PASSWORD = secrets.token_hex(12)
STRANGER = "some-other-secret"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server knows."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[SecuredKafka]:
    with SecuredKafka(authority, PASSWORD) as broker:
        yield broker
    gc.collect()  # sockets that kafka-python left to the collector, while their warning is still ignored


def sasl(mechanism: str, authority: Authority, password: str = PASSWORD) -> dict[str, str]:
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_username": USER,
        "sasl_password": password,
        "ssl_cafile": str(authority.own.certificate),
    }


def with_certificate(client: Authority, server: Authority) -> dict[str, str]:
    pair = client.issue("streamer")
    return {
        "security_protocol": "SSL",
        "ssl_cafile": str(server.own.certificate),
        "ssl_certfile": str(pair.certificate),
        "ssl_keyfile": str(pair.key),
    }


def use(address: str, topic: str) -> None:
    """Make a topic, append, read back: every client there is."""
    log = open_log(address)
    try:
        log.ensure_topic(topic, 1)
        writer = log.writer()
        try:
            value = frame.encode(frame.WATERMARK, lsn=7, time=1)
            assert writer.wait(writer.append(topic, 0, value), 20)
        finally:
            writer.close()
        reader = log.reader()
        try:
            reader.assign({(topic, 0): 0})
            assert [record.value for record in reader.poll(20)] == [value]
        finally:
            reader.close()
        log.delete_topic(topic)
    finally:
        log.close()


@pytest.mark.parametrize("listener", ["plain", "scram", "mtls"])
def test_kafka_lets_in_who_proves_it(listener: str, broker: SecuredKafka, authority: Authority, plan_name: str) -> None:
    options = {
        "plain": lambda: sasl("PLAIN", authority),
        "scram": lambda: sasl("SCRAM-SHA-512", authority),
        "mtls": lambda: with_certificate(authority, authority),
    }[listener]()
    address = broker.secured(listener, **options)
    use(address, f"cutover.{plan_name}.t")
    assert PASSWORD not in open_log(address).address
    # The certificate is for localhost; the same server under another name works only without the check.
    elsewhere = broker.secured(listener, "127.0.0.1", **options, ssl_check_hostname="false")
    use(elsewhere, f"cutover.{plan_name}.t")


Address = Callable[[SecuredKafka, Authority, Authority], str]
# Each with what the error says, where it is the client that refuses; a busy broker may close before its answer is read.
REFUSED: dict[str, tuple[Address, str]] = {
    "a wrong password (PLAIN)": (
        lambda broker, ours, other: broker.secured("plain", **sasl("PLAIN", ours, STRANGER)), "",
    ),
    "a wrong password (SCRAM)": (
        lambda broker, ours, other: broker.secured("scram", **sasl("SCRAM-SHA-512", ours, STRANGER)), "",
    ),
    "a server of another authority": (
        lambda broker, ours, other: broker.secured("scram", **sasl("SCRAM-SHA-512", other)), "unable to get local issuer",
    ),
    "a server of another name": (
        lambda broker, ours, other: broker.secured("scram", "127.0.0.1", **sasl("SCRAM-SHA-512", ours)),
        "not valid for '127.0.0.1'",
    ),
    "no client certificate": (
        lambda broker, ours, other: broker.secured(
            "mtls", security_protocol="SSL", ssl_cafile=str(ours.own.certificate)
        ),
        "",
    ),
    "a client of another authority": (
        lambda broker, ours, other: broker.secured("mtls", **with_certificate(other, ours)), "",
    ),
    "no TLS": (
        lambda broker, ours, other: broker.secured(
            "scram", **(sasl("SCRAM-SHA-512", ours) | {"security_protocol": "SASL_PLAINTEXT"})
        ),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_kafka_and_its_clients_refuse(
    case: str,
    broker: SecuredKafka,
    authority: Authority,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error says why, and neither it nor the client's own log at its most talkative says a password."""
    caplog.set_level(logging.INFO, "kafka")
    monkeypatch.setattr("cdc.kafka_log.TIMEOUT_MS", 1_500)
    address, why = REFUSED[case]
    log = open_log(address(broker, authority, stranger))
    try:
        with pytest.raises((Refused, Unreachable)) as refused:
            log.identity()
        assert why in str(refused.value)
        for secret in (STRANGER, PASSWORD):
            assert secret not in f"{refused.value} {refused.value.cure}"
            assert secret not in caplog.text
    finally:
        log.close()
    gc.collect()


@pytest.fixture
def guarded(authority: Authority, plan_name: str) -> Iterator[LocalPostgres]:
    """PostgreSQL 15 alone: the wheel of 18 is built without TLS."""
    with secured_postgres(15, authority, role_name(plan_name, "capture")) as server:
        yield server


def test_the_whole_service_over_tls_with_roles_and_no_secret_shown(
    guarded: LocalPostgres,
    broker: SecuredKafka,
    authority: Authority,
    stranger: Authority,
    plan_name: str,
    tmp_path: Path,
) -> None:
    """PostgreSQL by verify-full, capture by its certificate, the others by SCRAM; Kafka by SCRAM over TLS."""
    kafka = broker.secured("scram", **sasl("SCRAM-SHA-512", authority))
    with fresh_database(guarded) as given:
        admin = conninfo.make_conninfo(
            given, host="localhost", sslmode="verify-full", sslrootcert=str(authority.own.certificate)
        )
        folder = write_plan(tmp_path / "plan", plan_name)
        cli = Cli(tmp_path, {"CUTOVER_DSN": admin, "CUTOVER_LOG": kafka, "CUTOVER_PLAN": str(folder)}, hatched=False)
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(SCHEMA.encode())
        said = [cli.run("prepare", "--set-identity", "--roles")]
        passwords: dict[Part, str] = {part: secrets.token_hex(12) for part in PARTS}
        with psycopg.connect(admin, autocommit=True) as conn:
            for part, password in passwords.items():
                role = sql.Identifier(role_name(plan_name, part))
                conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
        as_part = {
            part: conninfo.make_conninfo(admin, user=role_name(plan_name, part), password=passwords[part])
            for part in PARTS
        }
        pair = authority.issue(role_name(plan_name, "capture"))
        as_part["capture"] = conninfo.make_conninfo(
            as_part["capture"], sslcert=str(pair.certificate), sslkey=str(pair.key)
        )
        hidden = {PASSWORD, *passwords.values(), str(conninfo.conninfo_to_dict(admin)["password"])}
        with (
            cli.start("capture", CUTOVER_DSN=as_part["capture"], CUTOVER_VERBOSE="1") as capture,
            cli.start("consume", CUTOVER_DSN=as_part["consume"], CUTOVER_VERBOSE="1") as consume,
        ):
            capture.wait_for("capturing")
            with psycopg.connect(admin, autocommit=True) as conn:
                conn.execute(
                    "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 200);"
                    "INSERT INTO shop.item_cost SELECT id, 1.5, 'EUR', 'card-4711' FROM shop.item"
                )
                encrypted = conn.execute(
                    "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                    " WHERE a.usename LIKE 'cutover%' AND a.client_addr IS NOT NULL"
                ).fetchone()
                assert encrypted == (True,)
            said.append(cli.run("backfill", CUTOVER_DSN=as_part["consume"]))
            proof = Cli(tmp_path, {**cli.variables, "CUTOVER_DSN": as_part["reconcile"]})
            said.append(proof.eventually("reconcile", "item", "--json"))
            said += [proof.run("status"), proof.run("status", "--json"), proof.run("doctor", code=None)]
            for running in (capture, consume):
                shown = Path(f"/proc/{running.process.pid}/cmdline").read_bytes().decode()
                assert not any(secret in shown for secret in hidden)
                assert not any(secret in running.log.read_text() for secret in hidden)
                assert running.stop() == 0
        said.append(cli.run("status", CUTOVER_DSN=conninfo.make_conninfo(admin, password=STRANGER), code=6))
        with psycopg.connect(admin, autocommit=True) as conn:
            kept = conn.execute("SELECT query_to_xml('SELECT * FROM cutover.plan', true, false, '')::text").fetchone()
        hidden.add(STRANGER)
        for text in [str(kept), *(ran.out + ran.err for ran in said)]:
            assert not any(secret in text for secret in hidden)
        _refused_by_postgresql(guarded, as_part, authority, stranger)


def _refused_by_postgresql(
    server: LocalPostgres, dsns: dict[Part, str], authority: Authority, stranger: Authority
) -> None:
    """What must not connect, for a query or as a walsender, and why."""
    reconcile, capture = dsns["reconcile"], dsns["capture"]
    imposter = stranger.issue("imposter")
    other = authority.issue("somebody-else")
    cases = {
        "no encryption": conninfo.make_conninfo(reconcile, sslmode="disable"),
        "does not match host name": conninfo.make_conninfo(reconcile, host="127.0.0.1"),
        "certificate verify failed": conninfo.make_conninfo(reconcile, sslrootcert=str(stranger.own.certificate)),
        "requires a valid client certificate": conninfo.make_conninfo(capture, sslcert="", sslkey=""),
        "certificate authentication failed": conninfo.make_conninfo(
            capture, sslcert=str(other.certificate), sslkey=str(other.key)
        ),
        "unknown ca": conninfo.make_conninfo(capture, sslcert=str(imposter.certificate), sslkey=str(imposter.key)),
    }
    for why, dsn in cases.items():
        for open_it in (connect, connect_replication):
            with pytest.raises(CutoverError, match=why):
                open_it(dsn, "test")
    connect(capture, "test").close()
    connect_replication(capture, "test").finish()
