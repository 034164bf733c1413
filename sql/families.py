"""Which types make a key, and for which types equality says that two values are the very same."""

from __future__ import annotations

from sql.catalog import Types
from sql.model import Column

_TEXT = frozenset({25, 1043})  # text, varchar
_NUMERIC, _BPCHAR, _NAME = 1700, 1042, 19
_FAMILIES = {
    16: "bool", 17: "bytea", 20: "int", 21: "int", 23: "int", 25: "text", 1043: "text", 869: "inet", 1082: "date",
    1114: "timestamp", 1184: "timestamptz", 2950: "uuid",
}  # fmt: skip
# bool, bytea, "char", int8, int2, int4, oid, cidr, inet, macaddr, macaddr8, date, time, timestamp, timestamptz, uuid
_EXACT = frozenset({16, 17, 18, 20, 21, 23, 26, 650, 869, 829, 774, 1082, 1083, 1114, 1184, 2950})


def family(column: Column, types: Types) -> str | None:
    """A word that two columns share exactly when equal values have equal text; None: not fit for a key."""
    base = types.types.get(column.type_oid)
    if base is None or column.collation in types.nondeterministic:
        return None
    if base.kind == "e":
        return f"enum {base.oid}"
    typmod = column.typmod if column.typmod >= 0 else base.typmod
    if base.oid == _NUMERIC and typmod >= 0:
        return f"numeric of scale {_scale(typmod)}"
    return _FAMILIES.get(base.oid)


def exact(column: Column, types: Types) -> bool:
    """Whether equal values of the column have equal bytes, so that IS DISTINCT FROM sees every difference (R3)."""
    base = types.types.get(column.type_oid)
    if base is None or column.collation in types.nondeterministic:
        return False
    typmod = column.typmod if column.typmod >= 0 else base.typmod
    if base.oid in (_NUMERIC, _BPCHAR):
        return typmod >= 0
    return base.kind == "e" or base.oid in _EXACT or base.oid in _TEXT or base.oid == _NAME


def _scale(typmod: int) -> int:
    """The scale in a numeric's modifier: 11 bits, signed (numeric_typmod_scale in numeric.c)."""
    return (((typmod - 4) & 0x7FF) ^ 1024) - 1024
