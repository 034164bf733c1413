"""Where a move's reads are, as the database knows it: its side, and the facade as prepare recorded it."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass

from cutover.gate import Side
from cutover.plan import plan_folder
from sql.connection import Connection
from sql.errors import PlanError, Refused, UsageError
from sql.facade import Facade
from sql.files import load

_NAME = re.compile(r"""^\s*name\s*=\s*["']([a-z][a-z0-9_]*)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """The move's row. `percent`: of sessions that read the consolidated side. `recorded` None: by no prepare yet.

    `installed`: the percentage that the facade is made for, which is `percent`, or something is wrong; None: unknown.
    """

    plan: str
    move: str
    target: str
    state: str
    side: Side
    percent: int
    recorded: Facade | None
    installed: int | None


def read_places(conn: Connection, plan: str) -> list[Place]:
    """Of every move that is prepared."""
    places = []
    for move, target, state, side, percent, forms, installed in conn.execute(load("facade/places"), {"plan": plan}):
        recorded = Facade(**{**forms, "columns": tuple(forms["columns"])}) if forms is not None else None
        places.append(Place(plan, move, target, state, side, percent, recorded, installed))
    return places


def read_place(conn: Connection, plan: str, move: str) -> Place:
    """Raises Refused when the move is not prepared."""
    for place in read_places(conn, plan):
        if place.move == move:
            return place
    raise Refused(f"{move} is not prepared", cure=f"cutover prepare {move}")


def find_plan(conn: Connection, given: str, move: str) -> str | None:
    """The name of the prepared plan that `--plan` means, as far as that can be told without understanding its files.

    It is the `name` in the folder's plan.toml, however broken that file is, or, without a folder, the name of a plan
    of this database; None when nobody knows it. Raises Refused, with the command to give, when it may be another plan
    of this database that is meant.
    """
    name = _written(given) or given
    rows = conn.execute("SELECT plan, move FROM cutover.move ORDER BY plan, move").fetchall()
    if any(plan == name for plan, _ in rows):
        return name
    known = [f"cutover flip {move} --to legacy --plan {plan}" for plan, of_it in rows if of_it == move]
    if known:
        raise Refused(f"the plan {name} is not prepared in this database", cure="; or ".join(known))
    return None


def find_move(conn: Connection, plan: str, move: str) -> str:
    """The move, if the database knows it; UsageError with the nearest word if not."""
    known = [name for (name,) in conn.execute("SELECT move FROM cutover.move WHERE plan = %s ORDER BY 1", (plan,))]
    if move in known:
        return move
    near = difflib.get_close_matches(move, known, 1)
    cure = f"did you mean {near[0]}?" if near else f"its moves: {', '.join(known) or 'none is prepared'}"
    raise UsageError(f"plan {plan} has no move {move!r}", cure=cure)


def _written(given: str) -> str | None:
    """The name in a plan.toml that need not be right otherwise; None when there is no such file, or no name in it."""
    try:
        text = plan_folder(given).joinpath("plan.toml").read_bytes().decode(errors="replace")
    except (PlanError, OSError):
        return None
    try:
        name = tomllib.loads(text).get("name")
    except tomllib.TOMLDecodeError:
        found = _NAME.search(text.partition("\n[")[0])
        name = found[1] if found else None
    return name if isinstance(name, str) else None
