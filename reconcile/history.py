"""What runs of a move said, and what became of the differences that they found: seen first, seen last, gone since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconcile import decisions
from reconcile.chunk import Key
from reconcile.decisions import Decision
from reconcile.document import Difference, Gone, MoveReport, Verdict
from reconcile.scope import Selection
from sql import faultpoints
from sql.connection import Connection, own
from sql.files import load
from sql.model import Move, Plan

_MOST_GONE = 100  # that a report lists


@dataclass(frozen=True, slots=True)
class Ran:
    """One stored run. `standing`: keys that drifted, were unresolved or still in flight at its end."""

    started_at: datetime
    verdict: Verdict
    compared: int
    standing: int
    lag: int
    seconds: float
    who: str | None


def runs(conn: Connection, plan: str, move: str, most: int = 60) -> list[Ran]:
    """The latest runs over all of a move, oldest first."""
    rows = conn.execute(load("reconcile/runs"), {"plan": plan, "move": move, "most": most}).fetchall()
    return [Ran(*row) for row in rows]


def record(conn: Connection, plan: Plan, report: MoveReport, selection: Selection,
           storage: dict[str, str] | None, ended: Sequence[Decision], left: Sequence[Key]) -> MoveReport:  # fmt: skip
    """Keep the run and what became of its differences; returns the report with their ages, as it was kept.

    `ended`: decisions that the run saw to be about something else than is there. `left`: keys that differ and are no
    difference any more, by the plan's rule.
    """
    with own(conn):
        remember(conn, plan.name, report, selection, ended, left)
        report = aged(conn, plan.name, report)
        conn.execute(
            load("reconcile/record").encode(),
            {
                "plan": plan.name,
                "move": report.move,
                "digest": plan.digest,
                "verdict": report.verdict,
                "snapshot_lsn": report.snapshot_lsn,
                "applied_lsn": report.applied_lsn,
                "exact": report.exact,
                "document": report.model_dump_json(),
                "started_at": report.started_at,
                "storage": None if storage is None else json.dumps(storage),
            },
        )
        faultpoints.reached("reconcile.before-record")
        if report.exact:
            rows = report.rows
            given = {
                "verdict": report.verdict,
                "started_at": report.started_at,
                "compared": rows.compared,
                "drift": rows.drift,
                "unproven": rows.unresolved + rows.in_flight + rows.skipped,
                "accepted": rows.accepted,
                "others": report.conflicts,
            }
            conn.execute(load("reconcile/proven").encode(), {"plan": plan.name, "move": report.move, **given})
    faultpoints.reached("reconcile.after-record")
    return report


def remember(conn: Connection, plan: str, report: MoveReport, selection: Selection,
             ended: Sequence[Decision], left: Sequence[Key]) -> None:  # fmt: skip
    """What the run listed stands; what stood, was compared in every column and was not listed is gone.

    A run that cut its list or could not compare some keys tells of none that it is gone.
    """
    decisions.end(conn, plan, report.move, ended)
    given = {"plan": plan, "move": report.move, "differences": _told(report.differences), "at": report.started_at}
    if report.differences:
        conn.execute(load("reconcile/stand"), given | {"awaited": report.awaited is not None})
    told = not (report.capped or report.rows.skipped or report.chunks.failed)
    if told and (selection.whole or (selection.keys is not None and selection.columns is None)):
        conn.execute(load("reconcile/gone"), given | {"keys": _keys(selection.keys), "left": _keys(left)})


def stand(conn: Connection, move: Move, differences: Sequence[Difference]) -> None:
    """These differences have been seen just now, by a run that has not ended."""
    if differences:
        given = {"plan": move.plan, "move": move.name, "differences": _told(differences), "at": datetime.now(UTC)}
        given["awaited"] = False  # a move that awaits its backfill has no continuous pass
        conn.execute(load("reconcile/stand"), given)


def _told(differences: Sequence[Difference]) -> str:
    return json.dumps(
        [{"key": it.key, "kind": it.kind, "verdict": it.verdict, "others": it.conflict} for it in differences]
    )


def aged(conn: Connection, plan: str, report: MoveReport) -> MoveReport:
    """With the times at which each listed difference was seen first and last, and those that are gone."""
    given = {"plan": plan, "move": report.move}
    rows = conn.execute(
        load("reconcile/standing"), {**given, "keys": _keys([tuple(it.key) for it in report.differences])}
    ).fetchall()
    seen = {tuple(key): (first, last) for key, first, last in rows}
    now = (report.started_at, report.started_at)
    differences = [
        it.model_copy(update=dict(zip(("first_seen", "last_seen"), seen.get(tuple(it.key), now), strict=True)))
        for it in report.differences
    ]
    gone = conn.execute(
        load("reconcile/latest_gone"), {**given, "most": _MOST_GONE, "at": report.started_at}
    ).fetchall()
    decided = [tuple(it.key) for it in report.accepted]
    by = conn.execute(load("reconcile/accepted_by").encode(), {**given, "keys": _keys(decided)}).fetchall()
    why = {tuple(key): dict(zip(("reason", "who", "at"), rest, strict=True)) for key, *rest in by}
    return report.model_copy(
        update={
            "accepted": [it.model_copy(update=why.get(tuple(it.key), {})) for it in report.accepted],
            "differences": differences,
            "gone": [_gone(row) for row in gone],
            "gone_in_all": gone[0][-2] if gone else 0,
            "gone_now": gone[0][-1] if gone else 0,
        }
    )


def _gone(row: Sequence[Any]) -> Gone:
    key, kind, verdict, first_seen, last_seen, gone_at, *_ = row
    return Gone(key=key, kind=kind, verdict=verdict, first_seen=first_seen, last_seen=last_seen, gone_at=gone_at)


def _keys(keys: Sequence[Key] | None) -> str | None:
    return None if keys is None else json.dumps(keys)
