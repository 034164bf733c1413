"""`cutover replay`, `cutover history` and `cutover restore`: what the log still knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumers.outlook import check_topic, look, only_partitions
from consumers.replay import Replayer
from cutover.arguments import read_key, read_keys, read_moment, read_name
from cutover.asked import Asked
from cutover.command import Invocation, OneMove, command, option
from cutover.history import history, render
from cutover.plan import load_plan
from cutover.progress import progress
from cutover.restore.run import interrupted, restore
from cutover.service import choose_log, open_moves, refuse_standing_still
from cutover.signals import stop_on_signals
from sql.connection import connect
from sql.counted import counted
from sql.errors import NotProven, PlanChanged, Refused

FromStart = Annotated[bool, option("--from-start", "All that is in the log.")]
FromOffset = Annotated[
    list[str] | None, option("--from-offset", "PARTITION:OFFSET, once for each partition; the others are left out.")
]
FromLsn = Annotated[str | None, option("--from-lsn", "Every commit at or after this LSN.")]
FromTime = Annotated[str | None, option("--from-time", "What was appended at or after this time (ISO 8601; UTC).")]
ToOffset = Annotated[
    list[str] | None, option("--to-offset", "PARTITION:OFFSET, without it, once for each partition; no other is read.")
]
ToLsn = Annotated[str | None, option("--to-lsn", "Up to the commits of this LSN. Default: the log's end now.")]
ToTime = Annotated[str | None, option("--to-time", "Without what was appended at or after this time.")]
Keys = Annotated[
    list[str] | None,
    option(
        "--key",
        "Only this key, once for each: its parts separated by commas, as it is printed.",
    ),
]
KeysFile = Annotated[Path | None, option("--keys", "Only the keys in this file, one a line; - is standard input.")]
DryRun = Annotated[bool, option("--dry-run", "Only say what would be read.")]
Anew = Annotated[bool, option("--restart", "From the first record, even if an earlier run stopped in between.")]
KeyParts = Annotated[list[str], typer.Argument(metavar="KEY...", help="The key as it is printed, or part by part.")]
SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="A source of the plan, as in SQL: schema.table.")]
At = Annotated[str, option("--at", "Everything committed before this LSN, or this time (ISO 8601; UTC).")]
Into = Annotated[str, option("--into", "A table that is new or empty, as in SQL: schema.table.")]
Through = Annotated[
    str | None, option("--move", "The move whose log is read. Default: one that was backfilled with rows.")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "replay", example="cutover replay stock --from-time 2026-11-01T00:00 --dry-run", reports=True)
    def replay_command(
        call: Invocation,
        name: OneMove,
        from_start: FromStart = False,
        from_offset: FromOffset = None,
        from_lsn: FromLsn = None,
        from_time: FromTime = None,
        to_offset: ToOffset = None,
        to_lsn: ToLsn = None,
        to_time: ToTime = None,
        key: Keys = None,
        keys: KeysFile = None,
        dry_run: DryRun = False,
        restart: Anew = False,
    ) -> int:
        """Read the log again and converge its keys, beside the consumers. What is right already stays as it is."""
        asked = Asked(from_start, from_offset, from_lsn, from_time, to_offset, to_lsn, to_time, key, keys)
        stop = stop_on_signals()
        service, (move,) = open_moves(call.settings, [name])
        with connect(call.settings.dsn, f"replay {service.plan.name}") as conn:
            only = read_keys(conn, move, key, keys)
            check_topic(conn, service.log, move)
            if not dry_run:
                refuse_standing_still(conn, service.plan, [move])
        found = asked.stretches(service.log, move)
        found = only_partitions(move, found, only)
        document: dict[str, object] = {
            "move": name,
            "dry_run": dry_run,
            "partitions": [{"partition": each.partition, "start": each.start, "end": each.end} for each in found],
        }
        if dry_run:
            outlook = look(service.log, move, found, only)
            document |= {name: getattr(outlook, name) for name in ("records", "keys", "bytes", "seconds")}
            said = (
                f"{name}: {counted(outlook.records, 'record')} with {counted(outlook.keys, 'key')}"
                f" ({outlook.bytes / 1e6:,.1f} MB),"
                f" about {outlook.seconds:,.0f} s; nothing was done"
            )
        else:
            with progress(call, f"replay {name}") as report:
                replayer = Replayer(call.settings.dsn, service.plan, move, service.log, stop, report)
                try:
                    done = replayer.run(asked.spec(), found, only, restart=restart)
                except PlanChanged:
                    raise Refused(
                        "the plan was prepared anew meanwhile", cure="run the same command again: it goes on"
                    ) from None
            document |= {name: getattr(done, name) for name in done.__slots__}
            letters = f", {counted(done.dead_letters, 'dead letter')}: cutover dead-letters list"
            said = (
                f"{name}: {counted(done.records, 'record')} and {counted(done.keys, 'key')} read again,"
                + f" {counted(done.changed, 'row')} changed"
                + (letters if done.dead_letters else "")
                + ("" if done.finished else "; interrupted: run the same command again to go on")
            )
        if call.json:
            call.document(document)
        else:
            call.out.print(said)
        return 0

    @command(app, "history", example="cutover history stock 6b0e…", reports=True)
    def history_command(call: Invocation, name: OneMove, key: KeyParts) -> int:
        """All that the log knows about one key: every version, with its time, LSN, transaction and source."""
        service, (move,) = open_moves(call.settings, [name])
        with connect(call.settings.dsn, f"history {service.plan.name}") as conn:
            parts = read_key(conn, "KEY", move, key)
        versions = list(history(service.log, move, parts))
        if call.json:
            call.document(
                {"move": name, "key": list(parts), "versions": [each.model_dump(mode="json") for each in versions]}
            )
        else:
            call.out.print(render(versions) if versions else "the log knows nothing about this key")
        return 0

    @command(app, "restore", example="cutover restore shop.price --at 0/16B3748 --into shop.price_before", reports=True)
    def restore_command(call: Invocation, source: SourceName, at: At, into: Into, move: Through = None) -> int:
        """Rebuild the rows that a source had at a moment, from the log alone; says what the log cannot know."""
        folder = load_plan(call.settings.plan)
        moment = read_moment("--at", at)
        names = read_name("SOURCE", source), read_name("--into", into)
        try:
            with connect(call.settings.dsn, f"restore {folder.name}") as conn, progress(call, "restore") as report:
                log = choose_log(conn, call.settings, folder.name)
                done = restore(conn, log, folder, names[0], moment, names[1], move, report)
        except KeyboardInterrupt:
            raise interrupted(call.settings.dsn, names[1]) from None
        if call.json:
            call.document(done.document())
        else:
            said = f"{counted(done.rows, 'row')} of {done.source} as of {moment} in {done.into}"
            if not done.there:
                said = f"the log knows no row of {done.source} as of {moment}, nor its columns: no table was made"
            call.out.print(said)
            for sentence in done.unknown():
                call.out.print(f"  {sentence}")
        return 0 if done.certain else NotProven.exit_code
