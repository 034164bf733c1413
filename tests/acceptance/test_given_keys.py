"""Keys on the command line in another spelling than PostgreSQL's: they are the keys that they mean, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.integration.rig import write_plan

pytestmark = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"]
)
SCHEMA = """
CREATE SCHEMA k;
CREATE TABLE k.report (station text, "Day Of" date, "Amount Due" int, PRIMARY KEY (station, "Day Of"));
CREATE TABLE k.now (LIKE k.report INCLUDING ALL);
INSERT INTO k.report SELECT 'St C', date '2026-01-31' + n, n FROM generate_series(1, 9) n;
"""
FILES = {
    "plan.toml": """
name = "{name}"

[moves.report]
target  = "k.now"
mapping = "report.sql"
key     = ["station", '"Day Of"']
rows    = "all"
""",
    "report.sql": 'SELECT r.station, r."Day Of", r."Amount Due" FROM k.report r\n',
}
DAMAGE = """UPDATE k.now SET "Amount Due" = -1 WHERE "Day Of" = '2026-02-01'"""


@pytest.fixture
def report(tmp_path: Path, dsn: str, log_address: str, plan_name: str) -> Iterator[Cli]:
    write_plan(tmp_path / "plan", plan_name, FILES)
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA.encode())
    own = {"CUTOVER_DSN": dsn, "CUTOVER_LOG": log_address, "CUTOVER_PLAN": str(tmp_path / "plan")}
    cli = Cli(tmp_path, own | {"CUTOVER_RECONCILE_SHARE": "0"})
    cli.run("prepare")
    with cli.start("run") as service:
        service.wait_for("capturing")
        cli.run("backfill")
        cli.eventually("reconcile")
        yield cli
        assert service.stop() == 0


def test_another_spelling_of_a_key_is_that_key(report: Cli, dsn: str) -> None:
    """A repair by it mends the key, and makes no dead letter of another."""
    file = report.folder / "keys"
    file.write_text("St C,2026-02-01\nSt C,1 Feb 2026\nSt C,2026-2-2\n")
    with psycopg.connect(dsn, autocommit=True) as conn:
        for given in (("--key", "St C,2026-2-1"), ("--keys", str(file))):
            conn.execute(DAMAGE.encode())
            found = report.run("reconcile", "report", *given, "--json", code=4).document["moves"][0]
            assert [each["key"] for each in found["differences"]] == [["St C", "2026-02-01"]]
            assert found["rows"]["compared"] == (1 if given[0] == "--key" else 2)
            assert report.run("reconcile", "report", *given, "--repair", "--json").document["repaired"] == {"report": 1}
        assert report.run("dead-letters", "list", "--json").document["dead_letters"] == []
        for parts in (("St C,20260201",), ("St C", "2026-2-1")):
            known = report.run("history", "report", *parts, "--json").document
            assert (known["key"], len(known["versions"]) > 0) == (["St C", "2026-02-01"], True)
        conn.execute(DAMAGE.encode())
        done = report.run("replay", "report", "--from-start", "--key", "St C,2026-2-1", "--json").document
        assert (done["keys"], done["changed"]) == (1, 1)


def test_what_the_key_cannot_be_is_a_slip_of_the_flag(report: Cli) -> None:
    for arguments in (
        ("reconcile", "report", "--key", "St C,{}"),
        ("reconcile", "report", "--repair", "--key", "St C,{}"),
        ("replay", "report", "--from-start", "--key", "St C,{}"),
        ("history", "report", "St C", "{}"),
    ):
        for text, why in (("2026-02-31", "out of range"), ("quatsch", "invalid input syntax for type date")):
            said = report.run(*(word.format(text) for word in arguments), code=2).said
            assert f"""St C,{text}: "Day Of" is of type date, which does not take '{text}': """ in said
            assert why in said


def test_columns_are_named_as_in_sql(report: Cli, dsn: str) -> None:
    """On the terminal, in HTML and in the history of a key; scripts read the bare name."""
    page = report.folder / "report.html"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(DAMAGE.encode())
    out = report.run("reconcile", "report", "--columns", '"Amount Due"', "--html", str(page), code=4).out
    words = " ".join(out.split())
    for said in ('columns "Amount Due"', 'in "Amount Due" alone', '"Amount Due" 1', 'differs "Amount Due" 1 -1'):
        assert said in words, said
    html = page.read_text()
    for said in ("<dd>{}</dd>", '<th class="number">{}</th>', "<td>{}</td>"):
        assert said.format("&#34;Amount Due&#34;") in html, said
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("""UPDATE k.report SET "Amount Due" = 5 WHERE "Day Of" = '2026-02-02'""")
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
    assert '"Amount Due": 5' in report.run("history", "report", "St C,2026-02-02", COLUMNS="200").out
    (found,) = report.run("reconcile", "report", "--json", code=4).document["moves"][0]["differences"]
    assert list(found["cells"]) == ["Amount Due"]
    assert 'has 2 parts: station,"Day Of"' in report.run("reconcile", "report", "--key", "x", code=2).said
