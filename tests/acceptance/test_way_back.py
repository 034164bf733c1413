"""The way back stands open, and the way forward does not, when the plan's files or the target are not as prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cutover.facade import replace
from sql.facade import Facade
from tests.acceptance.command import Cli

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


Edit = Callable[[Path], None]


def write(file: str, old: str, new: str) -> Edit:
    """An edit of one file of the plan."""

    def edit(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return edit


BACK = "cutover flip product --to legacy"
# Each edit of the plan's files; `prepare` understands some of them, and says to those that the way back comes first.
EDITS: dict[str, tuple[Edit, str | None]] = {
    "another value": (write("product.sql", "coalesce(b.quantity, 0)", "coalesce(b.quantity, 1)"), BACK),
    "a column less": (write("product.sql", ", b.places\n", "\n"), None),
    "columns in another order": (
        write("product.sql", 'a."Bezeichnung" AS title, p."Betrag" AS price', 'p."Betrag" AS price, a."Bezeichnung" AS title'),
        BACK,
    ),
    "a column more": (write("product.sql", ", b.places\n", ", b.places, 1 AS neu\n"), None),
    "a column renamed": (write("product.sql", ", b.places\n", ", b.places AS orte\n"), None),
    "SQL that does not parse": (write("product.sql", "LEFT JOIN (", "LEFT JOIN (("), None),
    "TOML that does not parse": (write("plan.toml", "[moves.product]", "[moves.product"), None),
    "a file that is gone": (lambda folder: (folder / "product.sql").unlink(), None),
    "the facade renamed": (write("plan.toml", "product_current", "product_now"), BACK),
    "the facade removed": (write("plan.toml", "facade ", "# facade "), BACK),
    "the move renamed": (write("plan.toml", "moves.product", "moves.article"), BACK),
}  # fmt: skip


@contextmanager
def edited(folder: Path, edit: Edit) -> Iterator[None]:
    """The plan's folder with an edit, and afterwards as it was."""
    before = {file: file.read_bytes() for file in folder.iterdir()}
    edit(folder)
    yield
    for file, content in before.items():
        file.write_bytes(content)


def side(conn: psycopg.Connection[tuple[object, ...]]) -> str:
    """What the facade is now, by the view itself."""
    row = conn.execute("SELECT pg_get_viewdef('\"Lager\".product_current'::regclass)").fetchone()
    assert row is not None
    return "legacy" if "cutover.map_" in str(row[0]) else "consolidated"


def consolidate(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    """As after a flip, whose gate is none of these tests' concern."""
    update = "UPDATE cutover.move SET side = 'consolidated', percent = 100 RETURNING plan, target, facade_forms"
    row = conn.execute(update.encode()).fetchone()
    assert row is not None
    forms: dict[str, Any] = row[2]  # type: ignore[assignment]
    replace(conn, str(row[0]), "product", str(row[1]), Facade(**forms), 100)
    assert side(conn) == "consolidated"


@ONE
def test_the_way_back_depends_on_no_file_of_the_plan(tour: Cli, dsn: str, plan_name: str) -> None:
    """Whatever was edited: prepare and the way back do not wait for each other."""
    folder = tour.folder / "plan"
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        for name, (edit, said) in EDITS.items():
            consolidate(conn)
            with edited(folder, edit):
                if said is not None:
                    assert said in tour.run("prepare", code=5).said, name
                back = tour.run("flip", "product", "--to", "legacy", "--json").document
                assert (back["from"], back["from_percent"], back["percent"]) == ("consolidated", 100, 0), name
                assert side(conn) == "legacy", name
                assert conn.execute('SELECT count(*) FROM "Lager".product_current').fetchone() == (1000,)
        consolidate(conn)
        with edited(folder, EDITS["TOML that does not parse"][0]):  # a step back towards legacy is one, too
            fewer = ("flip", "product", "--to", "consolidated", "--percent", "10", "--json")
            assert tour.run(*fewer).document["percent"] == 10
            assert tour.run("flip", "product", "--to", "legacy", "--dry-run", "--json").document["percent"] == 0
            ended = tour.run("flip", "product", "--to", "legacy").out
            assert "went from a canary (10 % of the sessions read the consolidated side) to legacy" in ended
            assert "already is where it should be: legacy" in tour.run("flip", "product", "--to", "legacy").out
            assert "plan.toml" in tour.run("flip", "product", "--to", "consolidated", code=2).said
        consolidate(conn)
        given = f"{BACK} --plan {plan_name}"
        with edited(folder, write("plan.toml", plan_name, "another")):
            assert given in tour.run("flip", "product", "--to", "legacy", code=5).said
        folder.rename(tour.folder / "away")
        assert given in tour.run("flip", "product", "--to", "legacy", code=5).said
        assert side(conn) == "consolidated"
        tour.run(*given.split()[1:])
        assert side(conn) == "legacy"


@ONE
def test_the_way_back_makes_a_facade_that_was_dropped(tour: Cli, dsn: str) -> None:
    """While prepare wants the way back first, as the mapping has changed."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        consolidate(conn)
        conn.execute('DROP VIEW "Lager".product_current')
        conn.execute('GRANT SELECT ON "Lager".product TO pg_monitor')
        with edited(tour.folder / "plan", EDITS["another value"][0]):
            assert BACK in tour.run("prepare", code=5).said
            tour.run(*BACK.split()[1:])
            assert side(conn) == "legacy"
            may = "SELECT has_table_privilege('pg_monitor', '\"Lager\".product_current', 'SELECT')"
            assert conn.execute(may.encode()).fetchone() == (True,)
            assert "has changed" in tour.run("flip", "product", "--to", "consolidated", code=5).said
            tour.run("prepare")
        # Another shape, or another's view, is told with its cure.
        tour.run("prepare")
        consolidate(conn)
        conn.execute('ALTER VIEW "Lager".product_current RENAME COLUMN price TO cost')
        assert "cutover prepare product" in tour.run(*BACK.split()[1:], code=5).said
        tour.run("prepare", "product")
        tour.run(*BACK.split()[1:])
        assert conn.execute(may.encode()).fetchone() == (True,)
        consolidate(conn)
        conn.execute('DROP VIEW "Lager".product_current; CREATE VIEW "Lager".product_current AS SELECT 1 AS mine')
        assert "is not the facade" in tour.run(*BACK.split()[1:], code=5).said


@ONE
def test_a_facade_that_is_made_anew_keeps_its_grants(tour: Cli, dsn: str) -> None:
    """Columns in another order are another view to PostgreSQL; whoever reads it was told of none."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute('GRANT SELECT ON "Lager".product_current TO pg_monitor')
        EDITS["columns in another order"][0](tour.folder / "plan")
        tour.run("prepare")
        may = "SELECT has_table_privilege('pg_monitor', '\"Lager\".product_current', 'SELECT')"
        assert conn.execute(may.encode()).fetchone() == (True,)
        third = "SELECT column_name FROM information_schema.columns WHERE table_name = 'product_current' AND ordinal_position = 3"
        assert conn.execute(third.encode()).fetchone() == ("price",)


@ONE
def test_flip_says_where_reads_are_behind_a_closed_gate_too(tour: Cli) -> None:
    """In every document the same fields; and in words the side that it is, not the one that was asked for."""
    tour.run("prepare", "--set-identity")
    for more in ((), ("--dry-run",)):
        closed = tour.run("flip", "product", "--to", "consolidated", "--json", *more, code=5).document
        wanted = {"move": "product", "from": "legacy", "from_percent": 0, "to": "consolidated", "percent": 0}
        wanted |= {"attempts": 0, "lock_ms": 0.0, "steps": [], "dry_run": bool(more)}
        assert {name: closed[name] for name in wanted} == wanted
        assert not all(each["ok"] for each in closed["gate"])
    same = tour.run("flip", "product", "--to", "consolidated", "--percent", "0").out
    assert "product already is where it should be: legacy" in same


@ONE
def test_a_target_that_is_gone_is_named_and_what_was_proven_is_void(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute('DROP TABLE "Lager".product CASCADE')
        cures = {each["cure"] for each in tour.run("doctor", "--json", code=5).document["problems"]}
        assert "cutover prepare\ncutover backfill product" in cures
        for command in (("reconcile",), ("flip", "product", "--to", "consolidated")):
            assert "is not there" in tour.run(*command, code=5).said
        tour.run("prepare", "--set-identity")
        assert "gate" in tour.run("flip", "product", "--to", "consolidated", code=5).said
        tour.run("backfill", code=None)
        tour.run("heal")
        tour.eventually("reconcile")
        tour.eventually("flip", "product", "--to", "consolidated")
