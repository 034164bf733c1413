"""Plans compiled against real databases: what is understood, what is found, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.console import Console

from cutover.plan import load_plan
from cutover.show_plan import blocked, document, render
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.ddl import run_ddl
from sql.errors import PlanError
from sql.model import Finding, Plan
from sql.names import Name

SCHEMA = """
CREATE SCHEMA w;
CREATE TABLE w.stock (id int PRIMARY KEY, sku text NOT NULL, price numeric(10,2), label varchar(20));
CREATE TABLE w.fact (stock_id int PRIMARY KEY, price numeric(10,2), label varchar(20));
CREATE TABLE w.hold (hold_id int PRIMARY KEY, stock_id int NOT NULL, qty int, until timestamptz, data jsonb);
"""
PLAN = """\
name = "t"
[moves.m]
target = "w.stock"
mapping = "m.sql"
key = ["id"]
rows = "existing"
"""
MAPPING = "SELECT s.id, s.sku, f.price, f.label\n  FROM w.stock s\n  LEFT JOIN w.fact f ON f.stock_id = s.id\n"


class Bench:
    """A database with a schema, and a plan's folder to change and compile."""

    def __init__(self, conn: Connection, folder: Path) -> None:
        self.conn, self.folder = conn, folder

    def run(self, text: str) -> None:
        self.conn.execute(text.encode(), prepare=False)

    def compile(self, plan: str = PLAN, mapping: str = MAPPING, *, sample: bool = False, **others: str) -> Plan:
        for name, text in {"plan.toml": plan, "m.sql": mapping, **{f"{it}.sql": others[it] for it in others}}.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        return compile_plan(self.conn, load_plan(str(self.folder)), sample=sample)

    def find(self, code: str, **compiled: Any) -> Finding:
        found = [finding for finding in self.compile(**compiled).findings if finding.code == code]
        assert len(found) == 1, [finding.code for finding in self.compile(**compiled).findings]
        return found[0]


@pytest.fixture
def bench(dsn: str, tmp_path: Path) -> Iterator[Bench]:
    with connect(dsn, "test") as conn:
        conn.execute(SCHEMA.encode(), prepare=False)
        yield Bench(conn, tmp_path)


def codes(plan: Plan, severity: str = "block") -> list[str]:
    return [finding.code for finding in plan.findings if finding.severity == severity]


def test_a_plan_is_compiled_whole(bench: Bench) -> None:
    plan = bench.compile()
    (move,) = plan.moves
    assert plan.findings == ()
    assert [column.name for column in move.key] == ["id"]
    assert [(it.name, it.type, it.own, it.exact) for it in move.columns] == [
        ("sku", "text", True, True),
        ("price", "numeric(10,2)", False, True),
        ("label", "character varying(20)", False, True),
    ]
    assert move.columns[1].depends == {Name("w", "stock"), Name("w", "fact")}
    assert move.columns[1].origin == ((Name("w", "fact"), "price"),)
    stock, fact = move.sources
    assert (stock.keys, stock.columns, stock.is_target, stock.identity) == ((("id",),), ("id",), True, "default")
    assert (fact.keys, fact.columns) == ((("stock_id",),), ("stock_id", "price", "label"))
    assert (move.unique, move.unmapped, move.mapping_sql) == (True, (), MAPPING.strip())


def test_compiling_leaves_nothing_behind_and_takes_no_strong_lock(bench: Bench, dsn: str) -> None:
    ddl = PLAN + 'ddl = "ddl.sql"\n'
    with connect(dsn, "writer") as writer, writer.transaction():
        writer.execute("LOCK w.stock, w.fact IN ROW EXCLUSIVE MODE")
        bench.compile(ddl, MAPPING.replace("f.label", "f.label, f.price AS added"),
                      ddl="ALTER TABLE w.stock ADD COLUMN added numeric(10,2);")  # fmt: skip
    row = bench.conn.execute("SELECT count(*) FROM pg_class WHERE relname = 'cutover_understood'").fetchone()
    assert row == (0,)
    assert bench.conn.info.transaction_status.name == "IDLE"


INVARIANT = """
[[moves.m.invariants]]
name = "pieces"
legacy = "SELECT sum({legacy}) FROM w.fact"
consolidated = "SELECT sum({consolidated}) FROM w.stock;"
"""


def test_an_invariant_that_postgresql_does_not_take_is_an_error_of_the_plan(bench: Bench) -> None:
    assert bench.compile(PLAN + INVARIANT.format(legacy="price", consolidated="price")).moves
    for legacy, consolidated, side in (("prise", "price", "legacy"), ("price", "prise", "consolidated")):
        with pytest.raises(PlanError, match=f"invariant 'pieces', {side}.*prise") as caught:
            bench.compile(PLAN + INVARIANT.format(legacy=legacy, consolidated=consolidated))
        last = len((PLAN + INVARIANT).splitlines())
        assert caught.value.line == (last - 1 if side == "legacy" else last)  # its own line


def test_an_invariant_may_read_what_the_ddl_adds(bench: Bench) -> None:
    plan = PLAN + 'ddl = "ddl.sql"\n' + INVARIANT.format(legacy="price", consolidated="pieces")
    assert bench.compile(plan, ddl="ALTER TABLE w.stock ADD COLUMN pieces int;").moves


@pytest.mark.parametrize(
    ("ddl", "line", "message", "cure"),
    [
        ("ALTER TABLE w.stock\n  ADD COLUMN a int,\n  ADD COLUMN b nummeric(10,2);", 3, 'w.stock.b: type "nummeric"', "numeric"),
        ("CREATE TABLE w.other (\n  id int PRIMARY KEY,\n  at timestampz);", 3, 'w.other.at: type "timestampz"', "timestamptz"),
        ("-- ü\nALTER TABLE w.stock ADD COLUMN a numeric(1001,2);", 2, "NUMERIC precision 1001", "takes it"),
        ("ALTER TABLE w.stock ADD COLUMN a int DEFAULT 'x';", 1, "invalid input syntax", "takes it"),
        ('ALTER TABLE w.stock ADD COLUMN a text COLLATE "de_XY";', 1, 'collation "de_XY"', "takes it"),
        ("CREATE SCHEMA x;\nCREATE DOMAIN x.d AS smalint;", 2, 'type "smalint"', "smallint"),
        ("ALTER TABLE w.stock\n  DROP COLUMN label;", 1, "is not additive", "by hand"),
        ('DROP TABLE "Wetter Amt"."Bericht  x";', 1, 'DROP TABLE "Wetter Amt"."Bericht  x" is not additive', "by hand"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_ddl_blocks_with_file_line_and_cure(
    bench: Bench, ddl: str, line: int, message: str, cure: str
) -> None:
    finding = bench.find("ddl", plan=PLAN + 'ddl = "ddl.sql"\n', ddl=ddl)
    assert (finding.severity, finding.file, finding.line) == ("block", "ddl.sql", line)
    assert message in finding.message
    assert finding.cure is not None
    assert cure in finding.cure


def test_what_the_ddl_itself_makes_is_taken_for_right(bench: Bench) -> None:
    ddl = "CREATE TYPE w.mood AS ENUM ('up');\nALTER TABLE w.stock ADD COLUMN mood w.mood, ADD COLUMN at timestamptz DEFAULT now();"
    plan = bench.compile(PLAN + 'ddl = "ddl.sql"\n', ddl=ddl)
    assert [finding.code for finding in plan.findings if finding.severity == "block"] == []


def test_columns_that_the_ddl_adds_are_known(bench: Bench) -> None:
    plan = bench.compile(
        PLAN + 'ddl = "ddl.sql"\n', MAPPING.replace("f.label", "f.label, f.price AS cost"),
        ddl="ALTER TABLE w.stock ADD COLUMN IF NOT EXISTS cost numeric(12,4) NOT NULL DEFAULT 0;",
    )  # fmt: skip
    assert plan.moves[0].columns[-1].type == "numeric(12,4)"
    assert codes(plan) == []
    assert codes(plan, "warn") == ["other-modifier"]


def test_A9_a_mapping_may_read_the_column_that_its_ddl_adds(bench: Bench) -> None:
    plan = bench.compile(
        PLAN + 'ddl = "ddl.sql"\n', MAPPING.replace("f.label", "f.label, coalesce(f.price, s.cost) AS cost"),
        ddl="ALTER TABLE w.stock ADD COLUMN cost numeric(10,2);",
    )  # fmt: skip
    assert codes(plan) == []
    assert not plan.moves[0].columns[-1].own
    assert plan.moves[0].sources[0].columns == ("id",)  # the catalog has no other yet


def test_a_target_that_the_ddl_creates(bench: Bench) -> None:
    plan = bench.compile(
        PLAN.replace("w.stock", "w.whole").replace("existing", "all") + 'ddl = "ddl.sql"\n',
        "SELECT s.id, s.sku, s.price, s.label FROM w.stock s",
        ddl="CREATE TABLE w.whole (id int PRIMARY KEY, sku text NOT NULL, price numeric(10,2), label varchar(20));",
    )
    assert (codes(plan), plan.moves[0].target_oid, plan.moves[0].key[0].type) == ([], 0, "integer")


def test_C12_a_move_cannot_read_what_another_one_writes(bench: Bench) -> None:
    """The service's own writes are not captured, so the second move would never hear of the first."""
    bench.run("CREATE TABLE w.label (id int PRIMARY KEY, price numeric(10,2))")
    second = '[moves.second]\ntarget = "w.label"\nmapping = "second.sql"\nkey = ["id"]\nrows = "all"\n'
    found = bench.find("chained-moves", plan=PLAN + second, second="SELECT id, price FROM w.stock")
    assert (found.severity, found.move) == ("block", "second")
    assert "price" in found.message


@pytest.mark.parametrize("column", ["price", "label"])
def test_an_annotation_that_a_mapping_reads_is_refused(bench: Bench, column: str) -> None:
    """What the service writes itself is passed over in the stream: the target would never learn of it."""
    mark = f"UPDATE w.fact f SET {column} = DEFAULT FROM unnest(:keys) k(id) WHERE f.stock_id = k.id"
    mapping = "SELECT s.id, s.sku, f.price FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id"
    plan = PLAN + 'annotate = "mark.sql"\n[moves.m.waive]\n"w.fact.label" = "marked"\n'
    bench.folder.joinpath("mark.sql").write_text(mark)
    found = [it.message for it in bench.compile(plan=plan, mapping=mapping).findings if it.code == "chained-moves"]
    if column == "label":
        assert found == []
    else:
        (message,) = found
        assert "price of w.fact, which the move m reads, is written by the annotation of m" in message


def test_a_column_of_the_target_that_was_renamed_is_missing(bench: Bench) -> None:
    """Whatever the CREATE TABLE says that once made it: the table is there."""
    ddl = "CREATE TABLE IF NOT EXISTS w.stock (id int PRIMARY KEY, sku text, price numeric(10,2), label varchar(20));"
    plan = PLAN + 'ddl = "ddl.sql"\n'
    assert codes(bench.compile(plan, ddl=ddl)) == []
    bench.run("ALTER TABLE w.stock RENAME COLUMN label TO labelled")
    assert "label" in bench.find("missing-target-column", plan=plan, ddl=ddl).message
    added = ddl + "ALTER TABLE w.stock ADD COLUMN IF NOT EXISTS label varchar(20);"
    assert codes(bench.compile(plan, ddl=added)) == []


def test_a_missing_target_column_is_refused_with_the_statement(bench: Bench) -> None:
    found = bench.find("missing-target-column", mapping=MAPPING.replace("f.label", "f.label, f.price AS cost"))
    assert (found.severity, found.file, found.line, found.move) == ("block", "m.sql", 1, "m")
    assert "ALTER TABLE w.stock ADD COLUMN IF NOT EXISTS cost numeric(10,2);" in (found.cure or "")


def test_an_incompatible_type_is_refused_with_the_cast(bench: Bench) -> None:
    mapping = MAPPING.replace("f.price", "f.label AS price")
    found = bench.find("incompatible-type", mapping=mapping)
    assert found.cure == "cast it in the mapping: (…)::numeric(10,2) AS price"
    assert bench.find("other-modifier", mapping=MAPPING.replace("f.price", "f.price * 2 AS price")).severity == "warn"


def test_a_cure_never_cuts_a_text(bench: Bench) -> None:
    """A cast to a length does, without a word. What the cure says instead is taken, and what is too long fails."""
    found = bench.find("incompatible-type", mapping=MAPPING.replace("f.label", "f.price::text AS label"))
    assert "(…)::varchar AS label" in (found.cure or "")
    assert "would cut it silently" in (found.cure or "")
    mapping = MAPPING.replace("f.label", "f.price::text::varchar AS label")
    found = bench.find("other-modifier", mapping=mapping)
    assert found.severity == "warn"
    assert (found.cure or "").startswith("widen the target, or let what is too long become a dead letter")
    assert "(…)" not in (found.cure or "")
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        bench.run("INSERT INTO w.stock SELECT 1, '', 0, repeat('x', 21)::varchar")


def test_keys_of_another_type_are_refused(bench: Bench) -> None:
    bench.run("ALTER TABLE w.fact ALTER stock_id TYPE numeric(10,0)")
    assert {"untraceable-key", "one-to-many"} == set(codes(bench.compile()))
    stated = PLAN + '[moves.m.sources]\n"w.fact" = "stock_id"\n'
    found = bench.find("key-type", plan=stated)
    assert "w.fact.stock_id is numeric(10,0), the target's key id is integer" in found.message


def test_a_key_without_one_text_per_value_is_refused(bench: Bench) -> None:
    bench.run("CREATE TABLE w.f (id float8 PRIMARY KEY); CREATE TABLE w.g (id float8 PRIMARY KEY)")
    plan = bench.compile(PLAN.replace("w.stock", "w.f"), "SELECT f.id FROM w.f f")
    assert "key-type" in codes(plan)


def test_C4_C5_replica_identity_is_refused_with_the_exact_statements(bench: Bench) -> None:
    bench.run("ALTER TABLE w.fact DROP CONSTRAINT fact_pkey, ADD UNIQUE (stock_id), ALTER stock_id DROP NOT NULL")
    found = bench.find("replica-identity")
    assert "UPDATE and DELETE on it fail" in found.message
    assert (found.cure or "").startswith("ALTER TABLE w.fact REPLICA IDENTITY FULL;")
    mapping = (
        "SELECT s.id, s.sku, s.price, s.label, (SELECT sum(h.qty) FROM w.hold h WHERE h.stock_id = s.id) AS n,"
        " (SELECT max(until) FROM w.hold h WHERE h.stock_id = s.id) AS u,"
        " (SELECT max(data::text) FROM w.hold h WHERE h.stock_id = s.id) AS d FROM w.stock s"
    )
    bench.run("ALTER TABLE w.stock ADD n bigint, ADD u timestamptz, ADD d text")
    found = bench.find("replica-identity", mapping=mapping)
    statements = (found.cure or "").splitlines()[:2]
    assert statements == [
        "CREATE UNIQUE INDEX CONCURRENTLY hold_cutover_identity ON w.hold (stock_id, hold_id);",
        "ALTER TABLE w.hold REPLICA IDENTITY USING INDEX hold_cutover_identity;",
    ]
    for statement in statements:
        bench.run(statement)
    plan = bench.compile(mapping=mapping)
    assert "replica-identity" not in codes(plan)
    assert plan.moves[0].sources[1].columns == ("hold_id", "stock_id", "qty", "until", "data")
    bench.run("ALTER TABLE w.hold REPLICA IDENTITY FULL")
    full = bench.compile(mapping=mapping).moves[0].sources[1]
    assert (full.identity, full.column_list, full.columns) == ("full", False, ("stock_id", "qty", "until", "data"))


def test_an_unmapped_column_needs_a_waiver(bench: Bench) -> None:
    bench.run('ALTER TABLE w.fact ADD "Größe" int')
    found = bench.find("unmapped-column")
    assert 'w.fact."Größe"' in found.message
    waived = PLAN + '[moves.m.waive]\n\'w.fact."Größe"\' = "nobody reads it"\n'
    plan = bench.compile(waived)
    assert (codes(plan), plan.moves[0].unmapped) == ([], ())
    found = bench.find("unknown-waiver", plan=waived.replace("Größe", "Grösse"))
    assert (found.file, found.line) == ("plan.toml", 8)
    assert 'did you mean w.fact."Größe"?' in (found.cure or "")


def test_sources_that_cannot_be_streamed_are_refused(bench: Bench) -> None:
    bench.run("ALTER TABLE w.fact SET UNLOGGED")
    assert bench.find("unsuitable-source").cure == "ALTER TABLE w.fact SET LOGGED"
    bench.run("DROP TABLE w.fact; CREATE VIEW w.fact AS SELECT id AS stock_id, price, label FROM w.stock")
    assert "is a view" in bench.find("unsuitable-source").message


def test_a_static_source_is_told_and_not_streamed(bench: Bench) -> None:
    bench.run("CREATE TABLE w.rate (price numeric(10,2) PRIMARY KEY, label varchar(20))")
    mapping = MAPPING.replace("f.label", "r.label") + "LEFT JOIN w.rate r ON r.price = s.price"
    assert "untraceable-key" in codes(bench.compile(mapping=mapping))
    plan = bench.compile(
        PLAN + '[moves.m.waive]\n"w.fact.label" = "x"\n[moves.m.sources]\n"w.rate" = "static"\n', mapping
    )
    assert codes(plan) == []
    assert codes(plan, "info") == ["static-source"]
    assert {source.name.relation for source in plan.moves[0].sources} == {"stock", "fact"}


def test_functions_are_judged_by_what_the_catalog_says_of_them(bench: Bench) -> None:
    bench.run(
        "CREATE FUNCTION w.coin(numeric) RETURNS numeric LANGUAGE sql VOLATILE AS 'SELECT $1 * random()::numeric';"
        "CREATE FUNCTION w.rate(numeric) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT max(price) FROM w.fact';"
        "CREATE FUNCTION w.twice(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'"
    )
    for name, code in (("coin", "volatile-function"), ("rate", "opaque-function")):
        mapping = MAPPING.replace("f.price", f"w.{name}(f.price)::numeric(10,2) AS price")
        found = bench.find(code, mapping=mapping)
        assert (found.severity, found.line) == ("block", 1)
    assert codes(bench.compile(mapping=MAPPING.replace("f.price", "w.twice(f.price)::numeric(10,2) AS price"))) == []


def test_what_depends_on_the_time_zone_is_told(bench: Bench) -> None:
    bench.run("ALTER TABLE w.fact ADD at timestamptz; ALTER TABLE w.stock ADD day date")
    assert bench.find("session-dependent", mapping=MAPPING.replace("f.label", "f.label, f.at::date AS day"))
    steady = MAPPING.replace("f.label", "f.label, (f.at AT TIME ZONE 'UTC')::date AS day")
    assert bench.compile(mapping=steady).findings == ()


def test_A10_the_clock_and_its_refresh(bench: Bench) -> None:
    mapping = MAPPING.replace("f.price", "CASE WHEN now() > '2020-01-01' THEN f.price END AS price")
    assert bench.find("undeclared-clock", mapping=mapping).line == 1
    plan = PLAN + '[moves.m.refresh]\nevery = "5s"\nkeys = "due.sql"\n'
    due = "SELECT stock_id FROM w.hold WHERE until > :since AND until <= :until"
    compiled = bench.compile(plan, mapping, due=due)
    assert codes(compiled) == []
    refresh = compiled.moves[0].refresh
    assert refresh is not None
    assert (refresh.every, refresh.keys_sql) == (5.0, due)
    assert bench.find("refresh-window", plan=plan, mapping=mapping, due=due.replace(":since", "'-infinity'"))
    assert bench.find("refresh-keys", plan=plan, mapping=mapping, due=due.replace("stock_id", "until", 1))
    with pytest.raises(PlanError, match=r"due.sql:1: column .*stok_id.* does not exist"):
        bench.compile(plan, mapping, due=due.replace("stock_id", "stok_id"))


def test_A8_one_to_many_is_refused(bench: Bench) -> None:
    mapping = MAPPING.replace("f.price", "h.qty AS price") + "LEFT JOIN w.hold h ON h.stock_id = s.id"
    found = bench.find("one-to-many", mapping=mapping)
    assert (found.severity, found.line) == ("block", 4)
    assert "w.hold" in found.message


def test_A7_duplicate_and_NULL_keys_are_counted(bench: Bench) -> None:
    bench.run(
        "CREATE TABLE w.old (id int PRIMARY KEY, ext text, label text);"
        "CREATE TABLE w.new (ext text UNIQUE, label text);"
        "INSERT INTO w.old VALUES (1, 'a', ''), (2, 'a', ''), (3, 'b', ''), (4, NULL, ''), (5, NULL, '')"
    )
    plan = PLAN.replace("w.stock", "w.new").replace('"id"', '"ext"').replace("existing", "add")
    compiled = bench.compile(plan, "SELECT o.ext, o.label FROM w.old o", sample=True)
    warned = {finding.code: finding.message for finding in compiled.findings if finding.severity == "warn"}
    assert set(warned) == {"not-unique", "duplicate-keys", "null-keys"}
    assert warned["duplicate-keys"].startswith("1 key")
    assert warned["null-keys"].startswith("2 rows")


def test_A9_json_hit_rates_and_values_that_NULL_would_replace(bench: Bench) -> None:
    bench.run(
        "CREATE TABLE w.doc (id int PRIMARY KEY, data jsonb); ALTER TABLE w.stock ADD a text;"
        "INSERT INTO w.stock VALUES (1, 'x', 1, 'l', 'good'), (2, 'y', 1, 'l', NULL), (3, 'z', 1, 'l', 'good');"
        """INSERT INTO w.doc VALUES (1, '{"b": 1}'), (2, '{"a": 1}'), (3, '{"a": 1}')"""
    )
    mapping = "SELECT s.id, d.data ->> 'a' AS a FROM w.stock s LEFT JOIN w.doc d ON d.id = s.id"
    plan = bench.compile(mapping=mapping, sample=True)
    found = {finding.code: finding.message for finding in plan.findings}
    assert "found in 2 of 3 rows (67%)" in found["json-hit-rate"]
    assert "would replace 1 values" in found["json-overwrite"]
    kept = bench.compile(mapping=mapping.replace("d.data ->> 'a'", "coalesce(d.data ->> 'a', s.a)"), sample=True)
    assert [finding.code for finding in kept.findings] == ["json-hit-rate"]


@pytest.mark.parametrize(
    ("plan", "mapping", "code"),
    [
        ("existing", "SELECT f.stock_id AS id, f.price, f.label FROM w.fact f", "target-not-a-source"),
        ("add", "SELECT s.id, s.sku, s.price, s.label FROM w.stock s", "target-decides-rows"),
        ("all", "SELECT f.stock_id AS id, f.price, f.label FROM w.fact f", "missing-value"),
    ],
)
def test_how_target_and_rows_fit_is_checked(bench: Bench, plan: str, mapping: str, code: str) -> None:
    assert code in codes(bench.compile(PLAN.replace("existing", plan), mapping))


def test_the_target_needs_a_unique_index_on_the_key(bench: Bench) -> None:
    plan = PLAN.replace('"id"', '"sku"')
    mapping = "SELECT s.sku, f.price FROM w.stock s LEFT JOIN w.fact f ON f.label = s.sku"
    found = bench.find("no-key-constraint", plan=plan, mapping=mapping)
    assert "CREATE UNIQUE INDEX CONCURRENTLY ON w.stock (sku)" in (found.cure or "")


def test_generated_columns_are_neither_written_nor_keys(bench: Bench) -> None:
    bench.run("ALTER TABLE w.stock ADD twice numeric GENERATED ALWAYS AS (price * 2) STORED")
    assert bench.find("generated-target", mapping=MAPPING.replace("f.label", "f.label, f.price::numeric AS twice"))
    bench.run("ALTER TABLE w.hold ADD g int GENERATED ALWAYS AS (stock_id) STORED")
    bench.run("ALTER TABLE w.stock ADD n bigint")
    mapping = MAPPING.replace("f.label", "f.label, (SELECT sum(qty) FROM w.hold h WHERE h.g = s.id) AS n")
    assert "generated-key" in codes(bench.compile(mapping=mapping))


def test_partitioned_sources_are_published_under_one_name(bench: Bench) -> None:
    bench.run(
        "DROP TABLE w.fact; CREATE TABLE w.fact (stock_id int PRIMARY KEY, price numeric(10,2), label varchar(20))"
        " PARTITION BY RANGE (stock_id); CREATE TABLE w.fact1 PARTITION OF w.fact FOR VALUES FROM (0) TO (10)"
    )
    plan = bench.compile()
    assert (codes(plan), codes(plan, "info")) == ([], ["partitioned-source"])
    assert "is a partition" in bench.find("unsuitable-source", mapping=MAPPING.replace("w.fact f", "w.fact1 f")).message


@pytest.mark.parametrize(
    ("plan", "mapping", "says"),
    [
        (PLAN, MAPPING.replace("w.fact", "w.fakt"), r"m.sql:3: no table w.fakt\n.*did you mean w.fact\?"),
        (PLAN, MAPPING.replace("f.label", "f.lable"), r"m.sql:1: no column f.lable\n.*did you mean label\?"),
        (PLAN, MAPPING.replace("f.price", "\n f.price + f.label AS price"), r"m.sql:2: operator does not exist"),
        (PLAN.replace("w.stock", "w.stok"), MAPPING, r"plan.toml:3: no table w.stok\n.*did you mean w.stock\?"),
        (
            PLAN,
            MAPPING.replace("w.fact", "ww.fact"),
            r"m.sql:3: no schema ww, and so no table ww.fact\n.*did you mean w\?",
        ),
        (
            PLAN.replace("w.stock", "ww.x"),
            MAPPING,
            r"plan.toml:3: no schema ww, and so no table ww.x\n.*did you mean w\?",
        ),
        (PLAN.replace('["id"]', '["idd"]'), MAPPING, r"plan.toml:5: w.stock has no column idd"),
        (PLAN + '[moves.m.sources]\n"w.fakt" = "x"', MAPPING, r"plan.toml:8: w.fakt is no source.*\n.*w.fact\?"),
        (PLAN + '[moves.m.sources]\n"w.fact" = "stok_id"', MAPPING, r"plan.toml:8: .*no column stok_id\n.*stock_id\?"),
    ],
)
def test_unknown_names_are_errors_with_file_line_and_the_nearest_word(
    bench: Bench, plan: str, mapping: str, says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        bench.compile(plan, mapping)


def test_another_schema_composite_text_key_and_quoted_names(bench: Bench) -> None:
    bench.run("""
        CREATE SCHEMA "Lager";
        CREATE TABLE "Lager"."Teil" ("Land" text, "Teil-Nr" varchar(30), "order" int, PRIMARY KEY ("Land", "Teil-Nr"));
        CREATE TABLE "Lager"."Preis" ("Land" text, nr text, "Währung" char(3), amount numeric(12,2),
                                      PRIMARY KEY ("Land", nr));
        CREATE TABLE "Lager"."Bestand" (id bigint PRIMARY KEY, land text NOT NULL, nr text NOT NULL, menge int,
                                        UNIQUE (land, nr));
        ALTER TABLE "Lager"."Bestand" REPLICA IDENTITY USING INDEX "Bestand_land_nr_key";
        ALTER TABLE "Lager"."Teil" ADD "Währung" char(3), ADD "Preis" numeric(12,2), ADD menge int;
    """)
    plan = bench.compile(
        """name = "lager"
[moves.teil]
target = '"Lager"."Teil"'
mapping = "m.sql"
key = ['"Land"', '"Teil-Nr"']
rows = "existing"
facade = '"Lager"."Teil jetzt"'
[moves.teil.waive]
'"Lager"."Bestand".id' = "surrogate"
""",
        """SELECT t."Land", t."Teil-Nr", t."order", p."Währung", p.amount AS "Preis", b.menge
  FROM "Lager"."Teil" t
  LEFT JOIN "Lager"."Preis" p ON (p."Land", p.nr) = (t."Land", t."Teil-Nr")
  LEFT JOIN "Lager"."Bestand" b ON b.land = t."Land" AND b.nr = t."Teil-Nr"
""",
        sample=True,
    )
    assert plan.findings == ()
    (move,) = plan.moves
    assert {source.name.relation: source.keys for source in move.sources} == {
        "Teil": (("Land", "Teil-Nr"),),
        "Preis": (("Land", "nr"),),
        "Bestand": (("land", "nr"),),
    }
    assert move.unique
    assert [column.own for column in move.columns] == [True, False, False, False]


def test_the_shipped_plan_compiles_with_nothing_blocking_but_replica_identity(bench: Bench) -> None:
    bench.run(files("sql").joinpath("soleflipper", "legacy.sql").read_text(encoding="utf-8"))
    plan = compile_plan(bench.conn, load_plan("soleflipper"), sample=True)
    assert set(codes(plan)) == {"replica-identity"}
    stock = plan.move("stock")
    assert {source.name.relation: source.keys for source in stock.sources if not source.is_target} == {
        "stock_financial": (("stock_id",),),
        "stock_lifecycle": (("stock_id",),),
        "stock_metrics": (("stock_id",),),
        "stock_reservation": (("stock_id",),),
    }
    assert stock.unique
    assert plan.move("order").sources[0].keys == (("external_id",),)


def test_it_is_shown_to_people_and_to_scripts(bench: Bench) -> None:
    bench.run("ALTER TABLE w.fact ADD extra int")
    plan = bench.compile()
    out = StringIO()
    render(plan, Console(file=out, width=160))
    text = out.getvalue()
    assert "move m  → w.stock  key (id)" in text
    assert "w.fact.price" in text
    assert "block unmapped-column m.sql:1 [m]" in text
    shown = document(plan)
    assert shown["blocked"] is blocked(plan) is True
    assert shown["moves"][0]["sources"][1] == {
        "table": "w.fact", "keys": [["stock_id"]], "columns": ["stock_id", "price", "label"],
        "identity": "default", "is_target": False,
    }  # fmt: skip
    assert shown["moves"][0]["unmapped"] == ["w.fact.extra"]
    assert shown["findings"][0]["code"] == "unmapped-column"


TWO = """name = "t"
[moves.a]
target = "n.a"
mapping = "a.sql"
ddl = "a_ddl.sql"
key = ["id"]
rows = "all"
facade = "v.a"

[moves.b]
target = "n.b"
mapping = "b.sql"
ddl = "b_ddl.sql"
key = ["id"]
rows = "all"
facade = "w.b"
"""


def test_a_schema_that_nothing_makes_is_found_with_file_and_line(bench: Bench) -> None:
    """prepare runs the ddl of one move after the other, and makes the facades after all of them."""

    def found(a: str, b: str) -> list[tuple[str | None, str | None, int | None]]:
        one, two = "SELECT id FROM w.stock", "SELECT stock_id AS id FROM w.fact"
        plan = bench.compile(TWO, a=one, b=two, a_ddl=a, b_ddl=b)
        missing = [finding for finding in plan.findings if finding.code == "missing-schema"]
        assert all(finding.severity == "block" and "CREATE SCHEMA" in (finding.cure or "") for finding in missing)
        return [(finding.move, finding.file, finding.line) for finding in missing]

    a, b = "CREATE TABLE n.a (id int PRIMARY KEY);", "CREATE TABLE n.b (id int PRIMARY KEY);"
    everywhere = [("a", "a_ddl.sql", 1), ("b", "b_ddl.sql", 1), ("a", "plan.toml", 8)]
    assert found(a, b) == everywhere
    assert found(a, f"{b}\nCREATE SCHEMA v;") == everywhere[:2]
    assert found(a, f"CREATE SCHEMA n;\n{b}") == [everywhere[0], everywhere[2]]
    assert found(f"{a}\nCREATE SCHEMA n;", b) == [everywhere[0], everywhere[2]]
    assert found(f"CREATE SCHEMA n; CREATE SCHEMA v;\n{a}", b) == []
    bench.run("CREATE SCHEMA n; CREATE SCHEMA v")
    assert found(a, b) == []


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_an_extension_makes_the_schemas_of_its_control_file(bench: Bench) -> None:
    """And of what it requires. The server writes the control files itself, wherever it runs."""
    (place,) = (
        bench.conn.execute("SELECT current_setting('data_directory') || '/extensions_of_a_test'").fetchone() or ()
    )
    files = {
        "thing.control": "default_version = '2'\nrequires = 'base'",
        "thing--2.control": "schema = 'of thing'",
        "thing--1.sql": "",
        "thing--2.sql": "",
        "base.control": "default_version = '1'\nschema = 'of_base'",
        "base--1.sql": "",
    }
    for name, text in files.items():
        program = f"mkdir -p {place}/extension && cat > {place}/extension/{name}"
        bench.conn.execute(f"COPY (SELECT unnest(string_to_array($${text}$$, E'\\n'))) TO PROGRAM '{program}'".encode())
    try:
        bench.run(f"SET extension_control_path = '{place}'")
        tables = 'CREATE TABLE of_base.t (); CREATE TABLE "of thing".t ();'

        def missing(ddl: str) -> list[str]:
            plan = PLAN + 'ddl = "ddl.sql"\n'
            found = bench.compile(plan, ddl=ddl + tables).findings
            return [finding.message.partition(" is to")[0] for finding in found if finding.code == "missing-schema"]

        assert missing("") == ["of_base.t", '"of thing".t']
        assert missing("CREATE EXTENSION thing VERSION '1' CASCADE;") == ['"of thing".t']
        assert missing("CREATE EXTENSION thing CASCADE;") == []
        nowhere = "CREATE EXTENSION base; CREATE EXTENSION thing VERSION '1' SCHEMA \"no where\";"
        assert missing(nowhere) == ["the extension thing", '"of thing".t']
        assert missing('CREATE SCHEMA "no where"; ' + nowhere) == ['"of thing".t']
        assert len(run_ddl(bench.conn, "CREATE EXTENSION thing CASCADE;" + tables)) == 3
        assert missing(nowhere) == []  # it is there, and is not made
    finally:
        bench.conn.execute(f"COPY (SELECT) TO PROGRAM 'rm -r {place}'".encode())
