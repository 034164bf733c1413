"""Addresses of logs: what they mean, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaConfigurationError

from cdc.kafka_address import RETENTION_MS, parse_address
from cdc.kafka_log import KafkaLog
from cdc.log import open_log
from cdc.sqlite_file import parse_path
from sql.errors import UsageError

SECRET = "hunter2/&é"
QUOTED = "hunter2%2F%26%C3%A9"
SASL = f"kafka://a:1,b?security_protocol=sasl_ssl&sasl_mechanism=PLAIN&sasl_username=me&sasl_password={QUOTED}"


def test_kafka_address_with_options() -> None:
    address = parse_address(SASL + "&ssl_cafile=/etc/ca.pem&ssl_check_hostname=false&replication_factor=2")
    assert address.client == {
        "bootstrap_servers": ["a:1", "b:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": SECRET,
        "ssl_cafile": "/etc/ca.pem",
        "ssl_check_hostname": False,
    }
    assert address.replication_factor == 2
    assert address.retention_ms == RETENTION_MS


def test_kafka_address_with_ipv6_and_retention() -> None:
    address = parse_address("kafka://[::1]:9093,[fe80::1]?retention_ms=-1")
    assert address.client == {"bootstrap_servers": ["[::1]:9093", "[fe80::1]:9092"]}
    assert address.retention_ms == -1


def test_secrets_are_never_shown() -> None:
    log = open_log(SASL)
    assert isinstance(log, KafkaLog)
    assert log.address == "kafka://a:1,b?security_protocol=sasl_ssl&sasl_mechanism=PLAIN&sasl_username=me"
    for shown in (str(log), repr(log), str(log._address), repr(log._address)):
        assert "hunter2" not in shown


def test_kafka_python_does_not_log_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """KafkaAdminClient writes every setting at DEBUG."""
    caplog.set_level(logging.DEBUG, "kafka")
    with pytest.raises(KafkaConfigurationError):
        KafkaAdminClient(sasl_plain_password=SECRET, unknown=1)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (SASL + "&sasl_pasword=x", "did you mean 'sasl_password'"),
        (SASL + "&retention=1", "retention_ms"),
        (SASL + "&zzz=1", "options: "),
        (SASL + "&retention_ms=week", "milliseconds"),
        (SASL + "&replication_factor=0", "from 1 up"),
        (SASL + "&ssl_check_hostname=maybe", "true or false"),
        (SASL.replace("sasl_ssl", "tls"), "SASL_SSL"),
        (SASL + "&broken", "cannot be read"),
        (SASL.replace("a:1", "a:port"), "not a port"),
        (SASL.replace("a:1", "fe80::1"), "IPv6"),
        ("kafka://me:hunter2@a:1", "kafka://host:port"),
        ("kafka:hunter2", "kafka://host:port"),
        ("kafka://", "kafka://host:port"),
    ],
)
def test_wrong_kafka_addresses_say_what_is_wrong_and_no_secret(address: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_log(address)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_sqlite_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_path("sqlite:///log.db") == tmp_path / "log.db"
    assert parse_path("sqlite:////var/lib/a%20log.db") == Path("/var/lib/a log.db")


@pytest.mark.parametrize("address", ["sqlite://log.db", "sqlite:///", "sqlite:///folder/", "sqlite:///log.db?mode=ro"])
def test_wrong_sqlite_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        open_log(address)
