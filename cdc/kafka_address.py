"""Addresses of Kafka logs: `kafka://host:port,…?option=value` as client settings, and as text without secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, quote

from sql.errors import UsageError

SCHEME = "kafka://"
DEFAULT_PORT = 9092
RETENTION_MS = 7 * 24 * 3600 * 1000  # how far back `replay --from-time` can reach, and what a long outage may last


def _choice(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.upper() not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text.upper()

    return parse


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number from 1 up")
    return int(text)


def _retention(text: str) -> int:
    if text != "-1" and not text.isdecimal():
        raise ValueError("milliseconds, or -1 for ever")
    return int(text)


# option -> (name in kafka-python, or None where it is a setting of topics; how its text is read)
_OPTIONS: dict[str, tuple[str | None, Callable[[str], Any]]] = {
    "security_protocol": ("security_protocol", _choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")),
    "sasl_mechanism": ("sasl_mechanism", _choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")),
    "sasl_username": ("sasl_plain_username", str),
    "sasl_password": ("sasl_plain_password", str),
    "ssl_cafile": ("ssl_cafile", str),
    "ssl_certfile": ("ssl_certfile", str),
    "ssl_keyfile": ("ssl_keyfile", str),
    "ssl_password": ("ssl_password", str),
    "ssl_check_hostname": ("ssl_check_hostname", _flag),
    "replication_factor": (None, _count),
    "retention_ms": (None, _retention),
}
_SECRET = ("sasl_password", "ssl_password")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A parsed address. Its text form, and every error about it, leaves the secrets out."""

    shown: str
    client: dict[str, Any] = field(repr=False)  # settings for kafka-python, with the secrets
    replication_factor: int | None  # None: three, or the number of brokers when there are fewer
    retention_ms: int

    def __str__(self) -> str:
        return self.shown


def parse_address(address: str) -> KafkaAddress:
    """The settings behind `address`; UsageError (never quoting a value that may be secret) for what is wrong."""
    hosts, _, query = address.removeprefix(SCHEME).partition("?")
    if not address.startswith(SCHEME) or not hosts or "@" in hosts or "/" in hosts:
        raise UsageError("not an address of a Kafka log", cure="kafka://host:port[,host:port…][?option=value&…]")
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise UsageError(f"the options of {SCHEME}{hosts} cannot be read", cure="?option=value&option=value") from None
    options: dict[str, Any] = {"bootstrap_servers": [_with_port(host) for host in hosts.split(",")]}
    topics: dict[str, int] = {}
    for name, text in given.items():
        if name not in _OPTIONS:
            near = get_close_matches(name, _OPTIONS, n=1)
            raise UsageError(
                f"unknown option {name!r} in {SCHEME}{hosts}",
                cure=f"did you mean {near[0]!r}?" if near else f"options: {', '.join(sorted(_OPTIONS))}",
            )
        setting, read = _OPTIONS[name]
        try:
            value = read(text)
        except ValueError as error:
            raise UsageError(f"option {name!r} in {SCHEME}{hosts} must be {error}") from None
        if setting is None:
            topics[name] = value
        else:
            options[setting] = value
    shown = "&".join(f"{name}={quote(text, safe='/')}" for name, text in given.items() if name not in _SECRET)
    return KafkaAddress(
        shown=f"{SCHEME}{hosts}?{shown}" if shown else f"{SCHEME}{hosts}",
        client=options,
        replication_factor=topics.get("replication_factor"),
        retention_ms=topics.get("retention_ms", RETENTION_MS),
    )


def _with_port(host: str) -> str:
    bare = host.rpartition("]")[2] if host.startswith("[") else host  # [::1]:9092
    name, colon, port = bare.rpartition(":") if ":" in bare else (bare, "", "")
    if colon and not (port.isdecimal() and 0 < int(port) < 65536):
        raise UsageError(f"not a port: {port!r} in {SCHEME}{host}", cure="kafka://host:port")
    if not host.startswith("[") and ":" in name:
        raise UsageError(f"not a host: {host!r}", cure="write IPv6 addresses as kafka://[::1]:9092")
    return host if colon else f"{host}:{DEFAULT_PORT}"
