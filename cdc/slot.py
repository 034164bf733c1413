"""The replication slot of a plan: made once, bound to its server and its starting point, watched for gaps.

Progress belongs to system id + slot + consistent point, not to the slot's name (C2). Capture records
`cutover.plan.confirmed_lsn` before it tells the slot, so a slot that is ahead of the record is another slot.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from cdc.replication import lsn_number
from sql.connection import Connection, own
from sql.errors import Busy, Refused
from sql.files import load
from sql.lock import writers
from sql.model import Plan

logger = logging.getLogger("cutover.prepare")

SLOT_NAME: Final = re.compile(r"[a-z0-9_]{1,63}\Z")
CREATE_TIMEOUT: Final = 600.0  # seconds: a new slot waits for every transaction that is writing
FAILOVER: Final = 170000  # from here on a standby that synchronizes slots has it too, and a promotion is no gap (C3)
_DROP_CURE: Final = "SELECT pg_drop_replication_slot('{slot}'), after making sure that nothing else uses it"


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A plan's slot as the server has it now.

    `lag_bytes`: WAL between what capture confirmed and the end. `safe_wal_size`: bytes that may still be written
    before the server gives the slot up; None without a limit. `gap`: why changes may be missing; None: they are not.
    """

    slot: str
    exists: bool
    active: bool
    active_pid: int | None
    confirmed_lsn: int | None
    lag_bytes: int | None
    wal_status: str | None
    safe_wal_size: int | None
    gap: str | None


def system_id(conn: Connection) -> str:
    """Which PostgreSQL cluster this is: the same for its standbys, another one for a rebuilt server."""
    return str(_one(conn, "SELECT system_identifier FROM pg_catalog.pg_control_system()")[0])


def ensure_slot(conn: Connection, plan: Plan, timeout: float = CREATE_TIMEOUT) -> bool:
    """Create the plan's slot unless it is there, and bind the plan to it; True when it was created.

    The row of `cutover.plan` must be there, and the publication must exist before: a slot that starts earlier cannot
    decode. A slot left by an earlier call that was killed before it recorded anything is made anew.

    A slot that was recorded and has gone missing is a gap: `check_slot` says so, and `recreate_slot` is the way.
    Raises Refused when the slot belongs to something else; Busy when transactions that are writing do not end within
    `timeout` seconds.
    """
    if not SLOT_NAME.match(plan.slot):
        raise Refused(f"{plan.slot!r} cannot be a slot's name", cure="name the plan with a-z, 0-9 and _, 55 at most")
    if _one(conn, "SELECT consistent_point IS NOT NULL FROM cutover.plan WHERE plan = %s", (plan.name,))[0]:
        return False
    recreate_slot(conn, plan, timeout)
    return True


def bind(conn: Connection, plan: Plan, consistent_point: str) -> None:
    """Record that the plan's progress now belongs to a slot of this server that starts at `consistent_point`."""
    with own(conn):
        conn.execute(
            "UPDATE cutover.plan SET system_id = %s, consistent_point = %s, confirmed_lsn = %s WHERE plan = %s",
            (system_id(conn), consistent_point, consistent_point, plan.name),
        )


def recreate_slot(conn: Connection, plan: Plan, timeout: float = CREATE_TIMEOUT) -> str:
    """Make the plan's slot anew, starting now, and bind the plan to it; returns its consistent point.

    What happened in between is not in the log: touch every key afterwards. Raises Busy while capture runs.
    """
    found = _read(conn, plan.slot)
    if found is not None:
        if _one(conn, "SELECT cutover.captured(%s)", (plan.name,))[0] and not found["active"]:
            raise Busy(f"capture reads the backlog of the slot {plan.slot}", cure="stop capture first")
        _drop(conn, found)
    point = _create(conn, plan.slot, timeout)
    bind(conn, plan, point)
    return point


def undecodable(conn: Connection, plan: Plan) -> bool:
    """May the slot have to read what was written before its publication was there? It has to be made anew then."""
    row = conn.execute(load("slot/undecodable"), (plan.publication, plan.slot)).fetchone()
    return row is not None and bool(row[0])


def check_slot(conn: Connection, plan: Plan) -> SlotStatus:
    """How the plan's slot stands, judged against what the plan is bound to. Raises Refused for an unknown plan."""
    # The slot first, then the record: capture writes them in the other order, so a healthy slot is never ahead.
    found = _read(conn, plan.slot)
    system, point, confirmed = _one(
        conn, "SELECT system_id, consistent_point, confirmed_lsn FROM cutover.plan WHERE plan = %s", (plan.name,)
    )
    if found is None:
        gap = f"the slot {plan.slot} does not exist on this server" if point is not None else None
        return SlotStatus(plan.slot, False, False, None, None, None, None, None, gap)
    return SlotStatus(
        slot=plan.slot,
        exists=True,
        active=found["active"],
        active_pid=found["active_pid"],
        confirmed_lsn=_confirmed(found),
        lag_bytes=found["lag_bytes"],
        wal_status=found["wal_status"],
        safe_wal_size=found["safe_wal_size"],
        gap=_gap(conn, found, system, confirmed) if point is not None else None,
    )


def _gap(conn: Connection, found: dict[str, Any], system: str, confirmed: str) -> str | None:
    slot = found["slot_name"]
    here = system_id(conn)
    if system != here:
        return f"the slot {slot} was made on another server (system {system}, this is {here})"
    if found["wal_status"] == "lost" or found.get("invalidation_reason") or found.get("conflicting"):
        reason = found.get("invalidation_reason") or "its WAL was removed"
        return f"the slot {slot} was invalidated by the server: {reason}"
    if found["plugin"] != "pgoutput" or found["database"] != found["here"]:
        return f"the slot {slot} is another one: {found['plugin']} on database {found['database']}"
    if (_confirmed(found) or 0) > lsn_number(confirmed):
        return (
            f"the slot {slot} was re-created or advanced by somebody else: it stands at"
            f" {found['confirmed_flush_lsn']}, the log reaches {confirmed}"
        )
    return None


def _confirmed(found: dict[str, Any]) -> int | None:
    """None while the slot is being made: it waits for the transactions that write."""
    text = found["confirmed_flush_lsn"]
    return None if text is None else lsn_number(text)


def _read(conn: Connection, slot: str) -> dict[str, Any] | None:
    row = conn.execute(load("slot/read"), (slot,)).fetchone()
    return dict(row[0]) if row else None


def _create(conn: Connection, slot: str, timeout: float) -> str:
    if waiting := writers(conn):
        logger.info("the slot %s starts once these have ended: %s", slot, "; ".join(waiting[:5]))
    try:
        with conn.transaction():
            conn.execute("SELECT set_config('statement_timeout', %s, true)", (f"{int(timeout * 1000)}ms",))
            failover = ", failover => true" if conn.info.server_version >= FAILOVER else ""
            query = f"SELECT lsn FROM pg_create_logical_replication_slot(%s, 'pgoutput'{failover})"
            row = _one(conn, query, (slot,))
    except psycopg.errors.QueryCanceled as error:
        who = "; ".join(writers(conn)[:5]) or "they are gone by now"
        raise Busy(
            f"the slot {slot} cannot start: transactions that write have not ended for {timeout:g} s: {who}",
            cure="end them (pg_terminate_backend, or COMMIT or ROLLBACK PREPARED), then run the same command again",
        ) from error
    except psycopg.errors.ConfigurationLimitExceeded as error:
        raise Refused("the server has no replication slot free", cure="raise max_replication_slots") from error
    return str(row[0])


def _drop(conn: Connection, found: dict[str, Any]) -> None:
    slot = found["slot_name"]
    if found["database"] != found["here"] or found["plugin"] != "pgoutput":
        raise Refused(
            f"the slot {slot} exists and belongs to {found['plugin']} on database {found['database']}",
            cure=_DROP_CURE.format(slot=slot),
        )
    if found["active"]:
        raise Busy(f"the slot {slot} is in use by pid {found['active_pid']}", cure="stop capture first")
    conn.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def slot_exists(conn: Connection, slot: str) -> bool:
    """Is there any slot of this name on the server?"""
    return _read(conn, slot) is not None


def _one(conn: Connection, query: str, parameters: tuple[object, ...] = ()) -> tuple[Any, ...]:
    row = conn.execute(query.encode(), parameters).fetchone()
    if row is None:
        raise Refused("this plan is not prepared in this database", cure="cutover prepare")
    return row
