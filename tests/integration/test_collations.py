"""Text keys under ICU collations: ranges, bounds and equality mean the same on both sides, and no key is lost.

An ICU collation sorts what differs in case, accents or digits next to one another, and in another order than the bytes;
each is another key all the same, since a key's collation has to be deterministic. In a column that is no key 'A' may equal
'a' to the application, and is a difference here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers import backfill
from cutover.plan import load_plan
from reconcile.scope import Draw, Selection
from sql.compile import compile_plan
from sql.connection import connect
from sql.model import Finding, Plan
from tests.integration.arena import arena
from tests.integration.rig import Rig, prepared, write_plan
from tests.integration.test_key_texts import PREPARED, compiled
from tests.integration.test_key_texts import TOML as KEYS

pytestmark = pytest.mark.parametrize("server", ["pg15"], indirect=True)  # the one that is built with ICU

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE COLLATION old.counting (provider = icu, locale = 'en-u-kn-true');
CREATE COLLATION old.upper (provider = icu, locale = 'de-u-kf-upper-co-phonebk');
CREATE COLLATION old.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE old.a (id text COLLATE {source} PRIMARY KEY, v int, t text COLLATE old.blind);
CREATE TABLE old.b (id text COLLATE {source} PRIMARY KEY, w int);
CREATE TABLE new.t (id text COLLATE {target} PRIMARY KEY, v int, t text COLLATE old.blind, w int);
INSERT INTO old.a SELECT k, n, 'x' FROM unnest(ARRAY[{words}]) WITH ORDINALITY x (k, n);
INSERT INTO old.b SELECT id, -v FROM old.a WHERE v % 2 = 0;
"""
MAPPING = "SELECT a.id, a.v, a.t, b.w FROM old.a LEFT JOIN old.b ON b.id = a.id"
WORDS = [
    "", " ", "-a", "_a", "a", "A", "a ", "ä", "a\u0308", "Ä", "ae", "AE", "Æ", "á", "a1", "A1", "a2", "a02", "a10", "a9",
    "b", "B", "-b", "b-", "co-op", "coop", "Coop", "ss", "SS", "ß", "ẞ", "z", "Z", "ž", "ø", "o", "O", "1", "01", "2", "10",
    "𝔞", "ａ", "\u200ba", "a\u200b", "i", "I", "ı", "İ", "ﬁ", "fi", "Ω", "\u2126",
]  # fmt: skip
PAIRS = [
    ('"und-x-icu"', '"und-x-icu"'),
    ("old.counting", "old.counting"),
    ("old.counting", '"default"'),
    ('"default"', "old.upper"),
]
COLLATED = pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{one} {other}" for one, other in PAIRS])


@pytest.mark.parametrize("chunk", [1, 7])
@COLLATED
def test_r3_exactly_the_keys_that_differ_are_found(dsn: str, source: str, target: str, chunk: int) -> None:
    with arena(dsn, ddl(source, target), MAPPING) as it:
        it.drain()
        equal = it.reconcile(chunk_rows=chunk)
        assert (equal.verdict, equal.rows.match) == ("match", len(WORDS))
        it.run("DELETE FROM new.t WHERE id IN ('a', 'ä', 'a02')")  # others that sort beside them stay
        it.run("INSERT INTO new.t VALUES ('Fi'), ('a00'), ('B ')")
        it.run("UPDATE new.t SET v = 0 WHERE id IN ('A', 'a10', '𝔞')")
        it.run("UPDATE new.t SET t = 'X' WHERE id IN ('ß', '')")  # equal by the column's collation
        for options in (
            {"chunk_rows": chunk},
            {"chunk_rows": chunk, "side_by_side": 1},
            {"only": {"m": Selection(draw=Draw(fraction=1.0))}},
            {"only": {"m": Selection(keys=[(key,) for key in [*WORDS, "Fi", "a00", "B "]])}},
        ):
            report = it.reconcile(progress=lambda step: it.advance(), **options)
            assert {(each.key[0], each.kind, *each.cells) for each in report.differences if each.kind == "differs"} == {
                ("A", "differs", "v"), ("a10", "differs", "v"), ("𝔞", "differs", "v"),
                ("ß", "differs", "t"), ("", "differs", "t"),
            }  # fmt: skip
            assert {each.key[0] for each in report.differences if each.kind == "missing"} == {"a", "ä", "a02"}
            assert {each.key[0] for each in report.differences if each.kind == "extra"} == {"Fi", "a00", "B "}
            assert (report.rows.drift, report.rows.compared) == (11, len(WORDS) + 3)
        it.drain()
        assert it.reconcile(chunk_rows=chunk).verdict == "match"


def ddl(source: str, target: str) -> str:
    return DDL.format(source=source, target=target, words=", ".join(f"'{word}'" for word in WORDS))


TOML = """
name = "{name}"

[moves.m]
target  = "new.t"
mapping = "m.sql"
key     = ["id"]
rows    = "all"
backfill = "rows"
"""


@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
@pytest.mark.parametrize("by", ["rows", "keys"])
@COLLATED
def test_a_backfill_in_small_steps_touches_every_key(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str,
    by: str,
) -> None:  # fmt: skip
    """It goes from key to key in one order over both sides, whatever theirs is; so does the stream, by equality."""
    monkeypatch.setattr(backfill, "CHUNK", 4)
    monkeypatch.setattr(backfill, "ROWS_CHUNK", 4)
    files = {"plan.toml": TOML.replace('"rows"', f'"{by}"'), "m.sql": MAPPING}
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, ddl(source, target), files)) as rig:
        rig.conn.execute(
            "INSERT INTO new.t (id, v) SELECT k, 0 FROM unnest(ARRAY['Fi', 'a00', 'B ', 'ä', 'a', 'a10']) k"
        )
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        assert rig.differences() == {}
        rig.conn.execute("UPDATE old.a SET v = -1, t = 'X' WHERE id IN ('ä', 'a02', 'ß', 'a')")
        rig.conn.execute("DELETE FROM old.a WHERE id IN ('A', 'SS', 'Ä')")
        rig.drain()
        assert rig.differences() == {}


JOINED = "SELECT s.id, coalesce(o.v, s.v) AS v FROM k.source s LEFT JOIN k.other o ON o.id = s.id"
LOOSE = {
    "the target's key": ("ALTER TABLE k.now ALTER id TYPE text COLLATE k.blind", JOINED),
    "the source's key": ("ALTER TABLE k.source ALTER id TYPE text COLLATE k.blind", JOINED),
    "another source's key": ("ALTER TABLE k.other ALTER id TYPE text COLLATE k.blind", JOINED),
    "the order of the two": (
        'ALTER TABLE k.source ALTER id TYPE text COLLATE k.counting; ALTER TABLE k.now ALTER id TYPE text COLLATE "C"',
        "SELECT id, v FROM k.source",
    ),
    "the mapping's key": ("SELECT", JOINED.replace("s.id,", "s.id COLLATE k.blind AS id,")),
}


@pytest.mark.parametrize("where", LOOSE)
def test_a_key_that_equals_another_text_is_refused_with_a_cure(dsn: str, tmp_path: Path, where: str) -> None:
    """Wherever the collation is: two texts of one key would be two keys in the log, and one under the unique index.

    So is a key that sorts by two collations: PostgreSQL does not say whether two of its values are equal.
    """
    alter, mapping = LOOSE[where]
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
        conn.execute("CREATE COLLATION k.counting (provider = icu, locale = 'en-u-kn-true')")
        assert blocking(compiled(dsn, tmp_path, "text", JOINED)) == []
        conn.execute(alter.encode(), prepare=False)
        folder = write_plan(tmp_path / "plan", "keys", {"plan.toml": KEYS, "m.sql": mapping})
        found = blocking(compile_plan(conn, load_plan(str(folder))))
    assert {each.code for each in found} & {"key-type", "key-collation", "untraceable-key"}
    assert [each for each in found if not each.cure] == []


def blocking(plan: Plan) -> list[Finding]:
    return [each for each in plan.findings if each.severity == "block"]
