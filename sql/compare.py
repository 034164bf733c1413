"""When do two values of a column differ: by value where the type's equality says it all, else by their bytes (R3).

`IS DISTINCT FROM` is enough for a type whose equal values have equal bytes. For every other one (numeric with its
scale, float with -0, jsonb with the scale of its numbers, interval, arrays, composites; json, xml and others that have
no equality at all) `*<>` compares the stored image (PostgreSQL documentation, chapter 9.25.5 "Composite Type
Comparison").

The mapping may yield a column without the target's modifier. Writing it then rounds a numeric or a timestamp, and so
does the comparison; but writing never shortens a text or a bit string, so these are compared without their length.
"""

from __future__ import annotations

from collections.abc import Iterable

from sql.model import TargetColumn
from sql.names import quote

_FIRST_USER_OID = 16384  # FirstNormalObjectId: everything below comes with PostgreSQL

# Types whose cast to a length cuts silently: what to cast to instead. The length of a bpchar is padding, nothing else.
_WITHOUT_LENGTH = {
    1042: "pg_catalog.bpchar::pg_catalog.text",
    1043: "pg_catalog.varchar",
    1560: 'pg_catalog."bit"',
    1562: "pg_catalog.varbit",
    1014: "pg_catalog.text[]",
    1015: "pg_catalog.varchar[]",
    1561: 'pg_catalog."bit"[]',
    1563: "pg_catalog.varbit[]",
}
_TEXT = frozenset({19, 25, 1042, 1043})


def comparable(column: TargetColumn, value: str) -> str:
    """`value`, an SQL expression of either side, as the target would store it; ready to be compared or hashed."""
    if column.type_oid >= _FIRST_USER_OID:
        return f"({value})"  # the plan's check holds the mapping to the same type; a cast to a domain could cut
    kind = _WITHOUT_LENGTH.get(column.type_oid, column.type)
    collate = ' COLLATE "C"' if column.type_oid in _TEXT else ""
    return f"({value})::{kind}{collate}"


def differs(column: TargetColumn, left: str, right: str) -> str:
    """SQL that is true when two expressions of the column's type are not the very same value; never NULL."""
    left, right = comparable(column, left), comparable(column, right)
    if _by_value(column):
        return f"({left} IS DISTINCT FROM {right})"
    return f"(ROW({left})::record OPERATOR(pg_catalog.*<>) ROW({right})::record)"


def any_differs(columns: Iterable[TargetColumn], left: str, right: str) -> str:
    """SQL that is true when any of the columns differs between the relations called `left` and `right`.

    All columns that are compared by image share one comparison: a third faster than one each.
    """
    columns = tuple(columns)
    tests = [
        differs(column, f"{left}.{quote(column.name)}", f"{right}.{quote(column.name)}")
        for column in columns
        if _by_value(column)
    ]
    images = [column for column in columns if not _by_value(column)]
    if images:
        sides = (image(images, left), image(images, right))
        tests.append(f"({sides[0]} OPERATOR(pg_catalog.*<>) {sides[1]})")
    return f"({' OR '.join(tests)})" if tests else "false"


def image(columns: Iterable[TargetColumn], relation: str) -> str:
    """One record of the columns of the relation called `relation`, as the target would store them."""
    values = ", ".join(comparable(column, f"{relation}.{quote(column.name)}") for column in columns)
    return f"ROW({values})::record"


def _by_value(column: TargetColumn) -> bool:
    return column.exact or column.type_oid in _TEXT
