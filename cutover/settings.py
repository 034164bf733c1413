"""Where the database, the log and the plan are: flags before CUTOVER_* variables before defaults, read once."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from psycopg import ProgrammingError, conninfo
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc.log import Log, open_log
from sql.errors import UsageError

_SECRET = ("password", "secret", "token", "passphrase")


def default_log() -> str:
    """The embedded log under the current folder."""
    return f"sqlite:///{Path.cwd() / '.cutover' / 'log.db'}"


def open_settings_log(settings: Settings, *, make: bool = True) -> Log:
    """The log of the settings, as `open_log`. The folder of the embedded default is made; every other must be there."""
    if settings.log == default_log():
        Path(".cutover").mkdir(exist_ok=True)
    return open_log(settings.log, make=make)


class Settings(BaseSettings):
    """An empty `dsn` leaves everything to libpq's own PG* variables. `repr` shows no secret."""

    model_config = SettingsConfigDict(env_prefix="CUTOVER_", frozen=True, extra="ignore")

    dsn: str = Field("", repr=False)
    log: str = Field(default_factory=default_log, repr=False)
    plan: str = "soleflipper"

    @classmethod
    def read(cls, *, dsn: str | None = None, log: str | None = None, plan: str | None = None) -> Settings:
        """The settings, with flags that were given (not None) on top. UsageError when the DSN cannot be read."""
        given = {"dsn": dsn, "log": log, "plan": plan}
        settings = cls(**{name: value for name, value in given.items() if value is not None})
        _parameters(settings.dsn)
        if "log" in settings.model_fields_set:
            open_log(settings.log).close()  # its address, before anything is connected to
        return settings

    def environment(self) -> dict[str, str]:
        """These settings as variables for a child process, so that no secret shows in its command line."""
        found = {"CUTOVER_DSN": self.dsn, "CUTOVER_PLAN": self.plan}
        if "log" in self.model_fields_set:
            found["CUTOVER_LOG"] = self.log
        return found

    def secrets(self) -> frozenset[str]:
        """The values that must never be printed or logged."""
        dsn = _parameters(self.dsn)
        found = {value for name, value in dsn.items() if _is_secret(name)}
        url = urlsplit(self.log)
        found |= {value for name, value in parse_qsl(url.query) if _is_secret(name)}
        found |= {password for password in (url.password, os.environ.get("PGPASSWORD")) if password}
        return frozenset(found)


def redact(dsn: str) -> str:
    """The DSN as one may show it: libpq's key=value form with every secret starred."""
    shown = {name: "***" if _is_secret(name) else value for name, value in _parameters(dsn).items()}
    return conninfo.make_conninfo("", **shown) or "libpq's PG* variables"


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _parameters(dsn: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items() if value is not None}
    except ProgrammingError:  # its message repeats the string, which may hold a password
        raise UsageError(
            "--dsn / CUTOVER_DSN is neither a libpq string nor a postgresql:// URL",
            cure="--dsn 'host=db dbname=shop user=app' or --dsn postgresql://app@db/shop",
        ) from None
