"""The HTML report of a reconciliation with every kind of finding, read in a browser as a person reads it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.acceptance.command import Cli
from tests.services.missing import ServiceMissing

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
# Nothing of a browser's own may go to the network.
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DAMAGE = """
UPDATE "Lager".product SET title = '' WHERE sku = 'A-7';
UPDATE "Lager".product SET places = NULL WHERE sku = 'A-8';
UPDATE "Lager".product SET title = title || '  ' WHERE sku = 'A-10';
UPDATE "Lager".product SET title = '<script>alert(1)</script>' WHERE sku = 'A-11';
UPDATE "Lager".product SET quantity = quantity + 5 WHERE sku = 'A-12';
DELETE FROM "Lager".product WHERE sku = 'A-9';
INSERT INTO "Lager".product (tenant, sku, title, quantity) VALUES ('nord', 'ghost', '', 0);
INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)
SELECT plan, move, ARRAY['nord', 'A-13'], 0, 1, '22003', 'numeric field overflow' FROM cutover.move;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium of this machine."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise ServiceMissing("the report is read in Chromium, and there is none (apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    yield page
    page.close()


def row(page: Page, text: str) -> str:
    """The text of the table row that has this text."""
    return page.locator("tr", has_text=text).first.inner_text()


@ONE
def test_the_report_says_everything_and_loads_nothing(tour: Cli, dsn: str, tmp_path: Path, page: Page) -> None:
    file = tmp_path / "report.html"
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        conn.execute(DAMAGE.encode())
        conn.execute("""UPDATE "Lager".product SET title = 'for a while' WHERE sku = 'A-14'""")
        tour.run("reconcile", code=4)
        conn.execute("""UPDATE "Lager".product SET title = 'Artikel 14' WHERE sku = 'A-14'""")
        document = tour.run("reconcile", "--json", "--html", str(file), code=4).document
        assert service.stop() == 0

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert page.title().endswith(": drift")

    headings = [each.inner_text() for each in page.locator("h3").all()]
    assert headings == [
        "What was covered", "Keys by kind and column", "Invariants", "What differs", "Differences that are gone",
        "Legacy tables: one-to-many, orphans, duplicates", "What was left out", "Legacy columns", "The last 3 runs",
    ]  # fmt: skip
    covered = page.locator("dl").first.inner_text()
    (move,) = document["moves"]
    for figure in (f"{move['rows']['legacy']:,} legacy", "exact: every key", move["snapshot_lsn"], "cutover 0."):
        assert figure in covered
    assert "DRIFT product: the sides differ" in " ".join(page.locator(".verdict").inner_text().split())
    assert row(page, "pieces in stock").split("\t")[1].startswith("NO")

    assert "'' (empty)" in row(page, "A-7")
    assert "NULL" in row(page, "A-8")
    assert "Artikel 10··" in row(page, "A-10")
    assert "<script>alert(1)</script>" in row(page, "A-11")
    assert "missing" in row(page, "A-9")
    assert "extra" in row(page, "ghost")
    assert "ago" in row(page, "A-7")
    assert row(page, "A-14").split("\t")[1:3] == ["differs", "drift"]
    assert row(page, "rows not in the mapping")
    assert row(page, '"Lager"."Bestand"\t').split("\t")[1:5] == ["1,000", "500", "500", "2"]
    shown = page.locator("tr", has_text="A-7").first
    shown.locator("summary").click()
    statement = shown.locator("pre").inner_text()
    with psycopg.connect(dsn) as conn:
        sides = [found[0] for found in conn.execute(statement.encode()).fetchall()]
    assert sides == ["legacy", "consolidated"]
    assert "1: cutover dead-letters list" in page.locator("main").inner_text()
    assert "waived\ta product shows its stock in total" in row(page, '"Lager"."Bestand".id')
    assert page.locator("svg").count() == 2

    for width in (1400, 400):  # nothing hangs over the edge of the page, however narrow it is
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@ONE
def test_a_file_that_cannot_be_written_is_said_before_the_work(tour: Cli, tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.html", "there is no folder")):
        assert said in tour.run("reconcile", "--html", str(path), code=2).said
