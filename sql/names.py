"""Qualified names as users write them: `sales."order"`, `"Lager"."Preis"."Währung"`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*')
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
_RESERVED = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization between binary bit boolean both case cast
    char check coalesce collate collation column concurrently constraint create cross current_catalog current_date
    current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc
    distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group
    grouping having ilike in initially inner inout int intersect interval into is isnull join lateral leading least
    left like limit localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric
    offset on only or order out outer overlaps overlay placing position precision primary real references returning
    right row select session_user setof similar smallint some substring symmetric system_user table tablesample then
    time timestamp to trailing treat trim true union unique user using values varchar variadic verbose when where
    window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
    xmlserialize xmltable""".split()
)


def quote(identifier: str) -> str:
    """An identifier as SQL, quoted only where PostgreSQL needs it (`order` does, `stock` does not)."""
    if _PLAIN.match(identifier) and identifier not in _RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def split(text: str) -> tuple[str, ...]:
    """The parts of a dotted SQL name, unquoted parts folded to lower case; ValueError when it is not one."""
    parts: list[str] = []
    at = 0
    while True:
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(f"not a name as in SQL: {text!r}")
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else plain.lower())
        at = match.end()
        if at == len(text):
            return tuple(parts)
        if text[at] != ".":
            raise ValueError(f"not a name as in SQL: {text!r}")
        at += 1


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A schema-qualified relation; `str()` and `.sql` quote it as SQL needs it."""

    schema: str
    relation: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read `schema.relation`; ValueError unless it has exactly two parts."""
        parts = split(text)
        if len(parts) != 2:
            raise ValueError(f"expected schema.table, got {text!r}")
        return cls(*parts)

    @property
    def sql(self) -> str:
        return f"{quote(self.schema)}.{quote(self.relation)}"

    def __str__(self) -> str:
        return self.sql


def parse_column(text: str) -> tuple[Name, str]:
    """Read `schema.table.column`; ValueError unless it has exactly three parts."""
    parts = split(text)
    if len(parts) != 3:
        raise ValueError(f"expected schema.table.column, got {text!r}")
    return Name(parts[0], parts[1]), parts[2]
