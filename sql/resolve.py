"""From a mapping's text to its scopes: which column every reference means. Pure pglast, nothing is rewritten."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pglast import enums

from sql.errors import PlanError
from sql.functions import AGGREGATES, ONE_ROW, SET_RETURNING
from sql.names import Name, quote
from sql.parsetree import (
    ast,
    function_name,
    limits,
    named,
    operator,
    output_name,
    pairs,
    parts,
    type_name,
    walk,
)
from sql.query import (
    Call,
    Column,
    Condition,
    Expression,
    Join,
    JoinKind,
    Leaf,
    Output,
    Parsed,
    Query,
    Select,
    SetOperation,
    Shape,
    Tree,
    Window,
    leaves_of,
    line_of,
    statement,
)
from sql.scope import Named, NotThere, Scope, cross, visible

_JSON_OPERATORS = frozenset({"->", "->>", "#>", "#>>"})
_CLOCK_WORDS = frozenset({"now", "today", "tomorrow", "yesterday"})
_CLOCK_TYPES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})
# Casts that keep the text of every value of the family, so that the cast column still equals the key as text.
_KEEPING = {
    "int2": "int", "int4": "int", "int8": "int", "text": "text", "varchar": "text", "uuid": "uuid", "date": "date",
    "bool": "bool", "bytea": "bytea", "inet": "inet",
}  # fmt: skip
_JOINS: dict[Any, JoinKind] = {
    enums.JoinType.JOIN_INNER: "inner",
    enums.JoinType.JOIN_LEFT: "left",
    enums.JoinType.JOIN_RIGHT: "right",
    enums.JoinType.JOIN_FULL: "full",
}


def parse(
    text: str, tables: Mapping[Name, Shape], *, file: str | None = None, aggregates: frozenset[str] = AGGREGATES
) -> Parsed:
    """Resolve every name of a mapping over `tables`. Raises PlanError with file, line and the nearest word."""
    stmt, body, _ = statement(text, file)
    builder = _Builder(text, tables, file, aggregates)
    root = builder.hosted("mapping", 0, builder.query(stmt, None, {}), ())
    return Parsed(body, root, builder.leaves, builder.calls, builder.frozen_clock)


@dataclass(slots=True)
class _Cte:
    """A WITH query and what it sees."""

    cte: Any
    outer: Scope | None
    ctes: Ctes
    recursive: bool
    names: list[str]


@dataclass(slots=True)
class _Standing:
    """What a recursive WITH query means inside itself."""

    outputs: list[str]
    names: list[str]


Ctes = Mapping[str, _Cte | _Standing]


class _Builder:
    """Walks the parse tree once, and keeps every place of a base table and every function call that it meets."""

    def __init__(self, text: str, tables: Mapping[Name, Shape], file: str | None, aggregates: frozenset[str]) -> None:
        self.text, self.tables, self.file, self.aggregates = text, tables, file, aggregates
        self.leaves: list[Leaf] = []
        self.calls: list[Call] = []
        self.frozen_clock: list[Call] = []

    def fail(self, message: str, location: int | None, cure: str | None = None) -> PlanError:
        return PlanError(message, file=self.file, line=line_of(self.text, location or 0), cure=cure)

    # --- queries -----------------------------------------------------------------------------------------------

    def hosted(self, alias: str, location: int, query: Query, names: Iterable[str]) -> Leaf:
        """A leaf over a query, one column per output, renamed by `names` from the left."""
        leaf = Leaf(alias, location, query=query)
        query.host = leaf
        renamed = [*names]
        for index, output in enumerate(query.outputs):
            name = renamed[index] if index < len(renamed) else output.name
            word = name if name not in leaf.columns else f"{name}\0{index}"
            leaf.columns[word] = Column(name, _family(query, index), leaf)
        return leaf

    def query(self, stmt: Any, outer: Scope | None, ctes: Ctes) -> Query:
        if stmt.withClause is not None:
            ctes = self.with_clause(stmt.withClause, outer, ctes)
        if stmt.intoClause is not None or stmt.lockingClause:
            raise self.fail("a mapping only reads: no INTO, no FOR UPDATE", 0)
        if stmt.op != enums.SetOperation.SETOP_NONE:
            return self.set_operation(stmt, outer, ctes)
        return self.select(stmt, outer, ctes)

    def with_clause(self, clause: Any, outer: Scope | None, ctes: Ctes) -> Ctes:
        known: dict[str, _Cte | _Standing] = dict(ctes)
        for cte in clause.ctes:
            if not isinstance(cte.ctequery, ast.SelectStmt):
                raise self.fail(f'WITH "{cte.ctename}" changes data; a mapping only reads', cte.location)
            itself = clause.recursive and any(
                isinstance(it, ast.RangeVar) and it.relname == cte.ctename and it.schemaname is None
                for it in walk(cte.ctequery)
            )
            names = [part.sval for part in cte.aliascolnames or ()]
            known[cte.ctename] = _Cte(cte, outer, dict(known), bool(itself), names)
        return known

    def set_operation(self, stmt: Any, outer: Scope | None, ctes: Ctes) -> SetOperation:
        kinds = {
            enums.SetOperation.SETOP_UNION: "union",
            enums.SetOperation.SETOP_INTERSECT: "intersect",
            enums.SetOperation.SETOP_EXCEPT: "except",
        }
        left, right = self.query(stmt.larg, outer, ctes), self.query(stmt.rarg, outer, ctes)
        made = SetOperation(kinds[stmt.op], bool(stmt.all), left, right)  # type: ignore[arg-type]
        left.within = right.within = made
        made.limited, made.at_most_one = limits(stmt)
        return made

    def select(self, stmt: Any, outer: Scope | None, ctes: Ctes) -> Select:
        made = Select()
        scope = Scope(outer, made)
        if stmt.valuesLists:
            rows = [[self.expression(value, scope, ctes) for value in row] for row in stmt.valuesLists]
            for index in range(len(rows[0])):
                column = Expression(reads=[read for row in rows for read in row[index].reads])
                made.outputs.append(Output(f"column{index + 1}", column))
            made.limited, made.at_most_one = limits(stmt)
            made.at_most_one |= len(rows) == 1
            return made
        for item in stmt.fromClause or ():
            tree = self.from_item(item, scope, ctes)
            made.tree = tree if made.tree is None else cross(made.tree, tree)
        if made.tree is None:
            made.at_most_one = True
        else:
            scope.trees = [made.tree]
        if stmt.whereClause is not None:
            made.where = self.conditions(stmt.whereClause, scope, ctes)
        windows = {window.name: window for window in stmt.windowClause or ()}
        for target in stmt.targetList or ():
            made.outputs.extend(self.output(target, scope, ctes, windows))
        made.group = [self.by(item, scope, ctes, made, prefer_output=False) for item in stmt.groupClause or ()]
        if stmt.havingClause is not None:
            made.having = self.conditions(stmt.havingClause, scope, ctes)
        made.order = [
            self.by(item.node, scope, ctes, made, prefer_output=True, windows=windows) for item in stmt.sortClause or ()
        ]
        if stmt.distinctClause is not None:
            distinct_on = [item for item in stmt.distinctClause if item is not None]
            made.distinct = not distinct_on
            made.distinct_on = [self.by(item, scope, ctes, made, prefer_output=True) for item in distinct_on]
        made.limited, one = limits(stmt)
        made.at_most_one |= one
        return made

    def output(self, target: Any, scope: Scope, ctes: Ctes, windows: Mapping[str, Any]) -> list[Output]:
        value = target.val
        if isinstance(value, ast.ColumnRef) and isinstance(value.fields[-1], ast.A_Star):
            return [
                Output(name, Expression(value.location, column=column, reads=[column]))
                for name, column in self.star(value, scope)
            ]
        return [Output(target.name or output_name(value), self.expression(value, scope, ctes, windows))]

    def by(
        self,
        item: Any,
        scope: Scope,
        ctes: Ctes,
        made: Select,
        *,
        prefer_output: bool,
        windows: Mapping[str, Any] | None = None,
    ) -> Expression:
        """An item of GROUP BY, ORDER BY or DISTINCT ON: a position, the name of an output, or an expression."""
        if isinstance(item, ast.A_Const) and isinstance(item.val, ast.Integer):
            index = int(item.val.ival) - 1
            if 0 <= index < len(made.outputs):
                return made.outputs[index].expression
        if isinstance(item, ast.ColumnRef) and len(item.fields) == 1 and isinstance(item.fields[0], ast.String):
            word = item.fields[0].sval
            outputs = [output.expression for output in made.outputs if output.name == word]
            here = any(name == word for tree in scope.trees for name, _ in visible(tree))
            if outputs and (prefer_output or not here):
                return outputs[0]
        expression = self.expression(item, scope, ctes, windows)
        if isinstance(item, ast.GroupingSet):  # its columns are NULL in some of the groups
            expression.column, expression.multiplies = None, True
        return expression

    # --- FROM --------------------------------------------------------------------------------------------------

    def from_item(self, item: Any, scope: Scope, ctes: Ctes) -> Tree:
        """Build one FROM item; it is visible in `scope` from then on (for LATERAL, ON and WHERE)."""
        if isinstance(item, ast.JoinExpr):
            return self.join(item, scope, ctes)
        leaf = self.leaf(item, scope, ctes)
        leaf.select = scope.select
        scope.trees.append(leaf)
        return leaf

    def leaf(self, item: Any, scope: Scope, ctes: Ctes) -> Leaf:
        alias = item.alias.aliasname if getattr(item, "alias", None) else None
        renamed = [part.sval for part in item.alias.colnames or ()] if alias else []
        if isinstance(item, ast.RangeVar):
            if item.schemaname is None and item.relname in ctes:
                return self.cte(item, alias or item.relname, renamed, ctes)
            return self.table(item, alias or item.relname, renamed)
        if isinstance(item, ast.RangeSubselect):
            outer = scope if item.lateral else scope.parent
            location = getattr(item.subquery, "location", 0) or 0
            return self.hosted(alias or "?", location, self.query(item.subquery, outer, ctes), renamed)
        if isinstance(item, ast.RangeTableSample):
            self.calls.append(Call("tablesample", item.location, 1))
            return self.leaf(item.relation, scope, ctes)
        return self.function(item, alias, renamed, scope, ctes)

    def table(self, item: Any, alias: str, renamed: list[str]) -> Leaf:
        if item.schemaname is None:
            cure = "write schema.table: a plan does not depend on search_path"
            raise self.fail(f"table {quote(item.relname)} has no schema", item.location, cure)
        name = Name(item.schemaname, item.relname)
        shape = self.tables.get(name)
        if shape is None:
            near = difflib.get_close_matches(str(name), [str(known) for known in self.tables], 1)
            raise self.fail(f"no table {name}", item.location, f"did you mean {near[0]}?" if near else None)
        leaf = Leaf(alias, item.location, table=name)
        for index, column in enumerate(shape.columns):
            shown = renamed[index] if index < len(renamed) else column
            leaf.columns[shown] = Column(column, shape.families.get(column), leaf)
        self.leaves.append(leaf)
        return leaf

    def cte(self, item: Any, alias: str, renamed: list[str], ctes: Ctes) -> Leaf:
        """A WITH query, built anew at every reference: each is its own set of places."""
        known = ctes[item.relname]
        names = renamed or known.names
        if isinstance(known, _Standing):
            query: Query = Select(outputs=[Output(name, Expression()) for name in known.outputs])
        elif known.recursive:
            query = self.recursive(known)
        else:
            query = self.query(known.cte.ctequery, known.outer, known.ctes)
        return self.hosted(alias, item.location, query, names)

    def recursive(self, known: _Cte) -> SetOperation:
        """A recursive WITH: its sources are known, but no column of it is traced to one of theirs."""
        stmt = known.cte.ctequery
        anchor = self.query(stmt.larg, known.outer, known.ctes)
        standing = _Standing([output.name for output in anchor.outputs], known.names)
        step = self.query(stmt.rarg, known.outer, {**known.ctes, known.cte.ctename: standing})
        made = SetOperation("union", bool(stmt.all), anchor, step, limited=True)
        anchor.within = step.within = made
        return made

    def function(self, item: Any, alias: str | None, renamed: list[str], scope: Scope, ctes: Ctes) -> Leaf:
        """A function, XMLTABLE or JSON_TABLE in FROM: lateral by nature, its columns known only in part."""
        arguments = [self.expression(node, scope, ctes) for node in parts(item) if not isinstance(node, ast.Alias)]
        names = [definition.colname for definition in getattr(item, "coldeflist", None) or ()]
        names += [column.colname or column.name for column in getattr(item, "columns", None) or () if named(column)]
        called = function_name(item)
        leaf = Leaf(alias or called or "?", getattr(item, "location", 0) or 0, function=arguments)
        for name in renamed or names or [alias or called or "?"]:
            leaf.columns[name] = Column(name, None, leaf)
        leaf.open = not (renamed or names)
        leaf.single_row = called in ONE_ROW
        return leaf

    def join(self, item: Any, scope: Scope, ctes: Ctes) -> Join:
        depth = len(scope.trees)
        left = self.from_item(item.larg, scope, ctes)
        right = self.from_item(item.rarg, scope, ctes)
        made = Join(_JOINS[item.jointype], left, right)
        scope.joins.append(made)
        for side, tree in (("left", left), ("right", right)):
            for leaf in leaves_of(tree):
                leaf.above.append((made, side))
        shared = [part.sval for part in item.usingClause or ()]
        if item.isNatural:
            names = {name for name, _ in visible(right)}
            shared = [name for name, _ in visible(left) if name in names]
        if item.quals is not None:
            made.on = self.conditions(item.quals, scope, ctes, join=made)
        made.on += [self.using(name, left, right, item) for name in shared]
        self.merge(made)
        used = [(name, self.merged_using(made, name, left, right)) for name in shared]
        rest = [it for tree in (left, right) for it in visible(tree) if it[0] not in shared]
        made.visible = used + rest
        del scope.trees[depth:]
        scope.trees.append(made)
        if item.alias is not None:
            scope.aliases[item.alias.aliasname] = made.visible
        return made

    def using(self, name: str, left: Tree, right: Tree, item: Any) -> Condition:
        sides = [dict(visible(tree)).get(name) for tree in (left, right)]
        if sides[0] is None or sides[1] is None:
            raise self.fail(f"USING ({quote(name)}): not a column of both sides", getattr(item, "location", 0))
        condition = Condition(Expression(reads=[sides[0], sides[1]]), whole=True)
        _equate(condition, sides[0], sides[1])
        return condition

    def merge(self, made: Join) -> None:
        """Each equality of a FULL JOIN's condition gives a column coalesce(left, right)."""
        if made.kind != "full":
            return
        inside = {id(column) for _, column in visible(made.left)}
        inside |= {id(column) for leaf in leaves_of(made.left) for column in leaf.nodes}
        for condition in made.on:
            for one, other in condition.equal:
                pair = (one, other) if id(one) in inside else (other, one)
                made.merged.append(Column(one.name, one.family, None, merged=pair))

    def merged_using(self, made: Join, name: str, left: Tree, right: Tree) -> Column:
        sides = dict(visible(left))[name], dict(visible(right))[name]
        if made.kind == "full":
            for column in made.merged:
                if column.merged == sides:
                    return column
            return Column(name, None, None, merged=sides)
        return sides[1] if made.kind == "right" else sides[0]

    # --- expressions -------------------------------------------------------------------------------------------

    def conditions(self, node: Any, scope: Scope, ctes: Ctes, join: Join | None = None) -> list[Condition]:
        """The conjuncts of a condition."""
        if isinstance(node, ast.BoolExpr) and node.boolop == enums.BoolExprType.AND_EXPR:
            return [it for part in node.args for it in self.conditions(part, scope, ctes, join)]
        condition = Condition(self.expression(node, scope, ctes, join=join))
        if isinstance(node, ast.A_Expr) and operator(node) == "=":
            same = node.kind == enums.A_Expr_Kind.AEXPR_OP
            if same or node.kind == enums.A_Expr_Kind.AEXPR_NOT_DISTINCT:
                condition.strict = same
                equal = [self.equality(condition, *pair, scope, ctes) for pair in pairs(node.lexpr, node.rexpr)]
                condition.whole = all(equal)
        elif isinstance(node, ast.ColumnRef) and condition.expression.column is not None:
            condition.fixed.append(condition.expression.column)
        elif isinstance(node, ast.SubLink) and node.subLinkType == enums.SubLinkType.ANY_SUBLINK:
            self.membership(condition, node, scope, ctes)
        return [condition]

    def membership(self, condition: Condition, node: Any, scope: Scope, ctes: Ctes) -> None:
        """x IN (SELECT y …): inside the sub-query, only rows whose y equals x matter."""
        if node.operName is not None and node.operName[-1].sval != "=":
            return
        tests = node.testexpr.args if isinstance(node.testexpr, ast.RowExpr) else [node.testexpr]
        for index, test in enumerate(tests):
            column = self.plain(test, scope, ctes)
            if column is not None:
                condition.expression.subqueries[-1].tests.append((column, index))

    def equality(self, condition: Condition, left: Any, right: Any, scope: Scope, ctes: Ctes) -> bool:
        one, other = self.plain(left, scope, ctes), self.plain(right, scope, ctes)
        if one is not None and other is not None:
            return _equate(condition, one, other)
        fixed = one or other
        rest = right if one is not None else left
        if fixed is not None and self.quietly(rest, scope, ctes).constant:
            condition.fixed.append(fixed)
            if isinstance(rest, ast.A_Const) and isinstance(rest.val, ast.Integer) and rest.val.ival == 1:
                condition.ones.append(fixed)
        return False

    def plain(self, node: Any, scope: Scope, ctes: Ctes) -> Column | None:
        return self.quietly(node, scope, ctes).column

    def quietly(self, node: Any, scope: Scope, ctes: Ctes) -> Expression:
        """Read an expression a second time without recording its calls and sub-queries again."""
        if any(isinstance(it, ast.SubLink) for it in walk(node)):
            return Expression(subqueries=[Leaf("?", 0)])
        calls, frozen = len(self.calls), len(self.frozen_clock)
        expression = self.expression(node, scope, ctes)
        del self.calls[calls:], self.frozen_clock[frozen:]
        return expression

    def expression(
        self, node: Any, scope: Scope, ctes: Ctes, windows: Mapping[str, Any] | None = None, join: Join | None = None
    ) -> Expression:
        """What an expression reads, and whether it is just one column."""
        made = Expression(getattr(node, "location", 0) or 0)
        self.collect(node, made, scope, ctes, windows or {}, join)
        made.column = self.single(node, scope)
        made.bare_window = isinstance(node, ast.FuncCall) and node.over is not None
        return made

    def collect(
        self, node: Any, made: Expression, scope: Scope, ctes: Ctes, windows: Mapping[str, Any], join: Join | None
    ) -> None:
        if isinstance(node, tuple | list):
            for item in node:
                self.collect(item, made, scope, ctes, windows, join)
            return
        if not isinstance(node, ast.Node):
            return
        if isinstance(node, ast.ColumnRef):
            made.reads += self.column(node, scope)
            return
        if isinstance(node, ast.SubLink):
            self.collect(node.testexpr, made, scope, ctes, windows, join)
            leaf = self.hosted("sub-query", made.location, self.query(node.subselect, scope, ctes), ())
            leaf.select, leaf.expression_of = scope.select, True
            if join is not None:
                leaf.above = [(join, "on")]
            made.subqueries.append(leaf)
            return
        if isinstance(node, ast.FuncCall):
            self.call(node, made, scope, ctes, windows, join)
        elif isinstance(node, ast.SQLValueFunction):
            name = node.op.name.removeprefix("SVFOP_").removesuffix("_N").lower()
            self.calls.append(Call(name, node.location, 0))
        elif isinstance(node, ast.A_Expr) and operator(node) in _JSON_OPERATORS:
            made.json = True
        elif isinstance(node, ast.CoalesceExpr):
            made.coalesced = True
        elif isinstance(node, ast.TypeCast):
            self.clock_literal(node)
        for part in parts(node):
            if not isinstance(part, ast.WindowDef):
                self.collect(part, made, scope, ctes, windows, join)

    def call(
        self,
        node: Any,
        made: Expression,
        scope: Scope,
        ctes: Ctes,
        windows: Mapping[str, Any],
        join: Join | None,
    ) -> None:
        name = node.funcname[-1].sval
        self.calls.append(Call(name, node.location, len(node.args or ())))
        if node.over is None:
            made.multiplies |= name in SET_RETURNING
            made.aggregate |= name in self.aggregates or bool(node.agg_star or node.agg_distinct or node.agg_filter)
            return
        over: Any = node.over
        partition, order = [*(over.partitionClause or ())], [*(over.orderClause or ())]
        seen = over.name or over.refname
        while seen is not None and seen in windows:
            over = windows[seen]
            partition, order = [*(over.partitionClause or ()), *partition], [*(over.orderClause or ()), *order]
            seen = over.refname
        made.windows.append(
            Window(
                [self.expression(item, scope, ctes, join=join) for item in partition],
                [self.expression(item.node, scope, ctes, join=join) for item in order],
                name,
            )
        )
        made.reads += [
            read for it in (*made.windows[-1].partition, *made.windows[-1].order) for read in it.reads
        ]  # fmt: skip

    def clock_literal(self, node: Any) -> None:
        value = node.arg.val if isinstance(node.arg, ast.A_Const) else None
        if (
            isinstance(value, ast.String)
            and value.sval.strip().lower() in _CLOCK_WORDS
            and type_name(node) in _CLOCK_TYPES
        ):
            self.frozen_clock.append(Call(f"'{value.sval}'::{type_name(node)}", node.location or 0, 0))

    def single(self, node: Any, scope: Scope) -> Column | None:
        """The one column that an expression is, through casts that keep every value's text."""
        if isinstance(node, ast.ColumnRef):
            columns = self.column(node, scope)
            return columns[0] if len(columns) == 1 and isinstance(node.fields[-1], ast.String) else None
        if isinstance(node, ast.TypeCast):
            inner = self.single(node.arg, scope)
            keeps = (
                _KEEPING.get(type_name(node)) if not node.typeName.typmods and not node.typeName.arrayBounds else None
            )
            return inner if keeps and inner is not None and inner.family in (keeps, "any") else None
        if isinstance(node, ast.CoalesceExpr):
            each = [self.single(part, scope) for part in node.args]
            found = each[0]
            for column in each[1:]:
                found = _merged(found, column, scope) if found is not None and column is not None else None
            return found
        return None

    def star(self, ref: Any, scope: Scope) -> Named:
        try:
            return scope.star([part.sval for part in ref.fields[:-1]])
        except NotThere as error:
            raise self.fail(str(error), ref.location) from None

    def column(self, ref: Any, scope: Scope) -> list[Column]:
        """The column that a reference means; all columns for a whole row."""
        if isinstance(ref.fields[-1], ast.A_Star):
            return [column for _, column in self.star(ref, scope)]
        try:
            return scope.columns([part.sval for part in ref.fields])
        except NotThere as error:
            cure = f"did you mean {quote(error.near)}?" if error.near else None
            raise self.fail(str(error), ref.location, cure) from None


def _equate(condition: Condition, one: Column, other: Column) -> bool:
    """Record an equality if equal values of both have equal text."""
    if one.family is None or one.family != other.family:
        return False
    condition.equal.append((one, other))
    return True


def _merged(one: Column, other: Column, scope: Scope) -> Column | None:
    """coalesce(one, other) as a column, when some join of this SELECT makes them equal."""
    for join in scope.joins:
        for column in join.merged:
            if column.merged in ((one, other), (other, one)):
                return column
        for condition in join.on:
            if any({id(one), id(other)} == {id(left), id(right)} for left, right in condition.equal):
                if join.kind == "inner":
                    return one
                kept = join.left if join.kind == "left" else join.right
                inside = {id(column) for leaf in leaves_of(kept) for column in leaf.nodes}
                return one if id(one) in inside else other
    return None


def _family(query: Query, index: int) -> str | None:
    if isinstance(query, SetOperation):
        left, right = _family(query.left, index), _family(query.right, index)
        return left if left == right else None
    if index >= len(query.outputs):
        return None
    column = query.outputs[index].expression.column
    return column.family if column is not None else None
