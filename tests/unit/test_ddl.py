"""A plan's DDL may only add, and only online."""

from __future__ import annotations

import pytest

from sql.ddl import read_ddl
from sql.errors import PlanError, Refused

REFUSED = {
    "drop": "DROP TABLE a.b",
    "drop column": "ALTER TABLE a.b DROP COLUMN c",
    "rename": "ALTER TABLE a.b RENAME COLUMN c TO d",
    "retype": "ALTER TABLE a.b ALTER COLUMN c TYPE text",
    "drop default": "ALTER TABLE a.b ALTER COLUMN c DROP DEFAULT",
    "set not null": "ALTER TABLE a.b ALTER COLUMN c SET NOT NULL",
    "update": "UPDATE a.b SET c = 1",
    "delete": "DELETE FROM a.b",
    "truncate": "TRUNCATE a.b",
    "revoke": "REVOKE SELECT ON a.b FROM PUBLIC",
    "do": "DO $$ BEGIN DROP TABLE a.b; END $$",
    "select": "SELECT pg_terminate_backend(1)",
    "index under a lock": "CREATE INDEX i ON a.b (c)",
    "index without a name": "CREATE INDEX CONCURRENTLY ON a.b (c)",
    "constraint under a lock": "ALTER TABLE a.b ADD CONSTRAINT k CHECK (c > 0)",
    "constraint without a name": "ALTER TABLE a.b ADD CHECK (c > 0) NOT VALID",
    "unique column": "ALTER TABLE a.b ADD COLUMN c int UNIQUE",
    "column with a check": "ALTER TABLE a.b ADD COLUMN c int CHECK (c > 0)",
    "generated column": "ALTER TABLE a.b ADD COLUMN c int GENERATED ALWAYS AS (1) STORED",
    "identity column": "ALTER TABLE a.b ADD COLUMN c int GENERATED ALWAYS AS IDENTITY",
    "serial column": "ALTER TABLE a.b ADD COLUMN c bigserial",
    "no schema": "ALTER TABLE b ADD COLUMN c int",
    "transaction": "COMMIT",
    "schema of the session": "CREATE SCHEMA AUTHORIZATION CURRENT_USER",
    "schema of who logged in": "CREATE SCHEMA IF NOT EXISTS AUTHORIZATION SESSION_USER",
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_is_not_additive_or_not_online_is_refused(case: str) -> None:
    with pytest.raises(Refused, match=r"plan\.sql:2: ") as refused:
        read_ddl(f"CREATE SCHEMA IF NOT EXISTS s;\n{REFUSED[case]};", "plan.sql")
    assert refused.value.hint


def test_a_schema_without_a_name_has_its_roles() -> None:
    text = """CREATE SCHEMA AUTHORIZATION joe; CREATE SCHEMA IF NOT EXISTS AUTHORIZATION "Jo.e";
    CREATE SCHEMA s AUTHORIZATION joe; CREATE SCHEMA t AUTHORIZATION CURRENT_USER"""
    assert [(each.kind, each.name) for each in read_ddl(text)] == [
        ("schema", "joe"),
        ("schema", '"Jo.e"'),
        ("schema", "s"),
        ("schema", "t"),
    ]


def test_what_is_additive_is_read_with_its_line() -> None:
    statements = read_ddl(
        """-- Größe; a comment with a semicolon
CREATE TABLE s."T" (id int PRIMARY KEY);
CREATE INDEX i ON s."T" (id);  -- empty until now
ALTER TABLE s.u ADD COLUMN IF NOT EXISTS "ä" numeric(10,2) NOT NULL DEFAULT 0,
    ADD CONSTRAINT positive CHECK ("ä" >= 0) NOT VALID;
ALTER TABLE s.u VALIDATE CONSTRAINT positive;
/* built while everybody writes */
CREATE UNIQUE INDEX CONCURRENTLY j ON s.u ("ä");
COMMENT ON TABLE s.u IS 'a; b';
GRANT SELECT ON s.u TO PUBLIC;
CREATE TYPE s.mood AS ENUM ('good');
"""
    )
    assert [(each.kind, each.line) for each in statements] == [
        ("table", 2),
        ("index", 3),
        ("columns", 4),
        ("columns", 6),
        ("index", 8),
        ("note", 9),
        ("note", 10),
        ("type", 11),
    ]
    assert statements[0].text == 'CREATE TABLE s."T" (id int PRIMARY KEY)'
    assert statements[4].text == 'CREATE UNIQUE INDEX CONCURRENTLY j ON s.u ("ä")'


def test_what_is_not_sql_is_an_error_of_the_plan() -> None:
    with pytest.raises(PlanError, match=r"plan\.sql:2"):
        read_ddl("CREATE SCHEMA s;\nALTER TABEL s.u", "plan.sql")
