"""What a SELECT is made of once its names are resolved: places of tables, joins, conditions, outputs. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pglast import parser

from sql.errors import PlanError
from sql.names import Name
from sql.parsetree import ast

JoinKind = Literal["inner", "left", "right", "full"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the analysis needs to know of a table.

    `families`: column -> a word that is equal exactly for types whose equal values have equal text; a column without
    one equals no other. `unique`: sets of columns that a complete, immediate unique index covers.
    """

    columns: tuple[str, ...]
    unique: tuple[frozenset[str], ...] = ()
    families: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def plain(cls, *columns: str, unique: Iterable[Iterable[str]] = ()) -> Shape:
        """A table whose columns are all of one family."""
        return cls(columns, tuple(frozenset(it) for it in unique), dict.fromkeys(columns, "any"))


@dataclass(slots=True, eq=False)
class Column:
    """One column of one place in the query (a table read twice has two)."""

    name: str
    family: str | None
    leaf: Leaf | None  # None: the merged column of a FULL JOIN
    merged: tuple[Column, Column] | None = None

    def __repr__(self) -> str:
        return f"{self.leaf.alias if self.leaf else 'merged'}.{self.name}"


@dataclass(slots=True, eq=False)
class Window:
    """What a window function is computed over."""

    partition: list[Expression]
    order: list[Expression]
    function: str


@dataclass(slots=True, eq=False)
class Expression:
    """What an expression reads. `column`: it is that column and nothing else."""

    location: int = 0
    column: Column | None = None
    reads: list[Column] = field(default_factory=list)
    subqueries: list[Leaf] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    aggregate: bool = False
    multiplies: bool = False  # a set-returning function among the outputs
    bare_window: bool = False  # one window function and nothing around it
    json: bool = False
    coalesced: bool = False

    @property
    def constant(self) -> bool:
        return not (self.reads or self.subqueries or self.windows or self.aggregate)


@dataclass(slots=True, eq=False)
class Condition:
    """One conjunct of an ON, a WHERE or a HAVING.

    `equal`: pairs of columns that it makes equal; `fixed`: columns that it makes equal to a constant. `strict`: it is
    not true when one of them is NULL.
    """

    expression: Expression
    equal: list[tuple[Column, Column]] = field(default_factory=list)
    fixed: list[Column] = field(default_factory=list)
    ones: list[Column] = field(default_factory=list)  # those of `fixed` that equal 1
    strict: bool = True
    whole: bool = False  # the equalities are all that it says


@dataclass(slots=True, eq=False)
class Leaf:
    """An item of a FROM, a sub-query of an expression, or the whole mapping.

    `above`: the joins it is in, innermost first, each with its side ("on" for a sub-query of the join's condition).
    """

    alias: str
    location: int
    table: Name | None = None
    query: Query | None = None
    function: list[Expression] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    open: bool = False  # a function whose columns the text does not tell
    single_row: bool = False  # a function that returns one row
    select: Select | None = None  # the SELECT it belongs to
    above: list[tuple[Join, str]] = field(default_factory=list)
    tests: list[tuple[Column, int]] = field(default_factory=list)  # x IN (SELECT …): x equals output column i
    expression_of: bool = False  # a sub-query of an expression, not of a FROM

    @property
    def nodes(self) -> list[Column]:
        return list(self.columns.values())


@dataclass(slots=True, eq=False)
class Join:
    """A join of two items."""

    kind: JoinKind
    left: Tree
    right: Tree
    on: list[Condition] = field(default_factory=list)
    merged: list[Column] = field(default_factory=list)  # FULL JOIN: what coalesce(left, right) is
    visible: list[tuple[str, Column]] = field(default_factory=list)  # what * means


Tree = Leaf | Join


@dataclass(slots=True, eq=False)
class Output:
    """A column that a SELECT yields."""

    name: str
    expression: Expression


@dataclass(slots=True, eq=False)
class Select:
    """One plain SELECT."""

    tree: Tree | None = None
    where: list[Condition] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    group: list[Expression] = field(default_factory=list)
    having: list[Condition] = field(default_factory=list)
    distinct: bool = False
    distinct_on: list[Expression] = field(default_factory=list)
    order: list[Expression] = field(default_factory=list)
    limited: bool = False
    at_most_one: bool = False  # LIMIT 1, or nothing in FROM
    host: Leaf | None = None
    within: SetOperation | None = None

    @property
    def aggregated(self) -> bool:
        """Whether its rows are groups; without GROUP BY it is a single row, whatever the sources hold."""
        return bool(self.group or self.having) or any(output.expression.aggregate for output in self.outputs)

    @property
    def windows(self) -> list[Window]:
        found = [window for output in self.outputs for window in output.expression.windows]
        return found + [window for expression in self.order for window in expression.windows]


@dataclass(slots=True, eq=False)
class SetOperation:
    """UNION, INTERSECT, EXCEPT."""

    kind: Literal["union", "intersect", "except"]
    all: bool
    left: Query
    right: Query
    limited: bool = False
    at_most_one: bool = False
    host: Leaf | None = None
    within: SetOperation | None = None

    @property
    def outputs(self) -> list[Output]:
        return self.left.outputs


Query = Select | SetOperation


@dataclass(frozen=True, slots=True)
class Call:
    """A function or clock word as written, with its place in the text."""

    name: str
    location: int
    arguments: int


@dataclass(slots=True)
class Parsed:
    """A mapping's text understood."""

    text: str  # without trailing semicolon and comments
    root: Leaf
    leaves: list[Leaf]  # every base table's place
    calls: list[Call]
    frozen_clock: list[Call]  # 'now'::timestamp and the like: evaluated once, when the view is made


def line_of(text: str, location: int) -> int:
    """The line, from 1, of a character offset."""
    return text.count("\n", 0, location) + 1


def leaves_of(tree: Tree | None) -> Iterator[Leaf]:
    """The items of a FROM, left to right."""
    if isinstance(tree, Leaf):
        yield tree
    elif tree is not None:
        yield from leaves_of(tree.left)
        yield from leaves_of(tree.right)


def joins_of(tree: Tree | None) -> Iterator[Join]:
    """The joins of a FROM, inner ones first."""
    if isinstance(tree, Join):
        yield from joins_of(tree.left)
        yield from joins_of(tree.right)
        yield tree


def statement(text: str, file: str | None = None) -> tuple[Any, str, int]:
    """The single SELECT of a file: its tree, its text without comments around it, the offset of that text.

    Raises PlanError with file and line when it is something else.
    """
    try:
        statements = parser.parse_sql(text)
        tokens = [token for token in parser.scan(text) if not token.name.endswith("COMMENT")]
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise PlanError(str(error.args[0]), file=file, line=line_of(text, at)) from None
    if len(statements) != 1 or not isinstance(statements[0].stmt, ast.SelectStmt):
        raise PlanError("expected exactly one SELECT", file=file, line=1)
    while tokens and tokens[-1].name == "ASCII_59":
        tokens.pop()
    return statements[0].stmt, text[tokens[0].start : tokens[-1].end + 1], tokens[0].start


def tables_of(text: str, file: str | None = None) -> dict[Name, int]:
    """Every base table that the SELECT names, with the offset of its first mention. Raises PlanError."""
    stmt, _, _ = statement(text, file)
    found: dict[Name, int] = {}
    _tables(stmt, frozenset(), found, text, file)
    return found


def _tables(node: Any, ctes: frozenset[str], found: dict[Name, int], text: str, file: str | None) -> None:
    if isinstance(node, tuple | list):
        for item in node:
            _tables(item, ctes, found, text, file)
        return
    if not isinstance(node, ast.Node):
        return
    if isinstance(node, ast.SelectStmt) and node.withClause is not None:
        names = frozenset(cte.ctename for cte in node.withClause.ctes)
        inside = ctes | names if node.withClause.recursive else ctes
        for cte in node.withClause.ctes:
            _tables(cte.ctequery, inside, found, text, file)
            inside |= {cte.ctename}
        ctes |= names
    if isinstance(node, ast.RangeVar):
        if node.schemaname is None:
            if node.relname in ctes:
                return
            raise PlanError(
                f'table "{node.relname}" has no schema', file=file, line=line_of(text, node.location),
                cure="write schema.table: a plan does not depend on search_path",
            )  # fmt: skip
        found.setdefault(Name(node.schemaname, node.relname), node.location)
        return
    for attribute in node:
        if attribute != "withClause":
            _tables(getattr(node, attribute), ctes, found, text, file)
