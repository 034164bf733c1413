"""Settings: flags before variables before defaults, and no secret in what is shown."""

from __future__ import annotations

import pytest

from cutover.settings import Settings, redact
from sql.errors import UsageError


def test_flags_win_over_variables_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_DSN", "dbname=from_variable")
    monkeypatch.setenv("CUTOVER_PLAN", "variable")
    monkeypatch.delenv("CUTOVER_LOG", raising=False)
    settings = Settings.read(plan="flag")
    assert (settings.dsn, settings.plan) == ("dbname=from_variable", "flag")
    assert settings.log.startswith("sqlite:////")
    assert settings.log.endswith("/.cutover/log.db")


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://app:s3cret@db/shop?sslpassword=s3cret", "host=db user=app password=s3cret dbname=shop"],
)
def test_no_secret_is_shown(dsn: str) -> None:
    settings = Settings.read(dsn=dsn, log="kafka://k:9092?sasl_username=u&sasl_password=t0psecret")
    assert settings.secrets() >= {"s3cret", "t0psecret"}
    shown = redact(dsn) + repr(settings) + str(settings)
    assert "s3cret" not in shown
    assert "host=db" in shown
    assert "password=***" in shown


def test_a_broken_dsn_is_not_repeated() -> None:
    with pytest.raises(UsageError) as raised:
        Settings.read(dsn="postgresql://app:s3cret@db/%zz")
    assert "s3cret" not in str(raised.value)
    assert "CUTOVER_DSN" in str(raised.value)
