"""`cutover doctor`, `heal` and `dead-letters`: what is wrong, and making it right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cdc.touch import touch
from consumers.backfill import backfill
from cutover import dead_letters
from cutover.command import Invocation, Moves, command, option
from cutover.doctor import examine
from cutover.heal import Healing, heal
from cutover.history import history, render
from cutover.plan import load_plan
from cutover.problem import document, exit_code
from cutover.progress import progress
from cutover.service import Service, chosen, open_plan, open_service
from cutover.show_doctor import render_problems
from cutover.signals import stop_on_signals
from reconcile.discards import SETTINGS
from sql.connection import connect
from sql.control import check
from sql.counted import counted
from sql.errors import Refused, Unreachable, UsageError
from sql.model import Move

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers as `list` shows them.")]
Number = Annotated[int, typer.Argument(metavar="ID", help="A number as `list` shows it.")]
OfMove = Annotated[str | None, option("--move", "Only this move's.")]
All = Annotated[bool, option("--all", "All that are open; with `list`, resolved and discarded ones too.")]
Each = Annotated[bool, option("--each", "Every letter on a line of its own.")]
Reason = Annotated[str, option("--reason", "Why these keys may stay as they are; it is kept.")]
_ACKNOWLEDGE = 60.0  # seconds that the log has to take a touch


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, example="cutover doctor", reports=True)
    def doctor(call: Invocation) -> int:
        """What is wrong, why, and the command that mends it. Exit code 0 means: nothing."""
        problems = examine(call.settings)
        if call.json:
            call.document(document(load_plan(call.settings.plan).name, problems))
        else:
            call.out.print(render_problems(problems))
        return exit_code(problems)

    @command(app, "heal", example="cutover heal stock", reports=True)
    def heal_command(call: Invocation, moves: Moves = None) -> int:
        """Accept gaps and halts, make slot, topics and positions whole, and touch every key."""
        stop = stop_on_signals()
        service = open_service(call.settings, any_log=True)
        names = [move.name for move in chosen(service.plan, moves)] if moves else []

        def touch_every_key(move: Move) -> bool:
            with progress(call, f"touching {move.name}") as report:
                backfill(call.settings.dsn, service.plan, move, service.log, stop, report)
            return not stop.is_set()

        with connect(call.settings.dsn, f"heal {service.plan.name}") as conn:
            healing = heal(conn, service.plan, names, service.log, touch_every_key, stop)
        if call.json:
            call.document(asdict(healing))
        else:
            call.out.print(_sentence(healing))
        return 0

    letters = typer.Typer(name="dead-letters", help="What could not be applied.", invoke_without_command=True)

    @letters.callback()
    def alone(context: typer.Context) -> None:
        if context.invoked_subcommand is None:  # what typer has for this says nothing here
            typer.echo(context.get_help(), err=True)
            raise typer.Exit(2)

    app.add_typer(letters)
    _add_dead_letters(letters)


def _sentence(healing: Healing) -> str:
    if not healing.needed and not healing.touched:
        return "nothing to heal"
    parts = [f"gap: {healing.gap}"] if healing.gap else []
    parts += [f"{move} was halted: {why}" for move, why in healing.halts.items()]
    parts += ["the slot was made anew"] if healing.slot_recreated else []
    parts += [f"the topic of {move} was made anew" for move in healing.topics_recreated]
    parts += [f"every key of {move} was touched" for move in healing.touched]
    return "\n".join(parts if healing.finished else [*parts, "interrupted: run it again to go on"])


def _add_dead_letters(app: typer.Typer) -> None:
    @command(app, "list", example="cutover dead-letters list --move stock", reports=True)
    def list_(call: Invocation, move: OfMove = None, every: All = False, each: Each = False) -> int:
        """The dead letters, one line for each cause, or each of them, newest first."""
        plan = load_plan(call.settings.plan).name
        with connect(call.settings.dsn, "dead-letters") as conn:
            check(conn)
            states = dead_letters.ALL if every else dead_letters.OPEN
            moves = [move] if move else []
            causes = dead_letters.causes(conn, plan, moves, states=states)
            found = dead_letters.find(conn, plan, moves, states=states)
        if call.json:
            call.document(
                {
                    "plan": plan,
                    "causes": [cause.model_dump() for cause in causes],
                    "dead_letters": [letter.model_dump() for letter in found],
                }
            )
        elif not found:
            call.out.print("no dead letters")
        else:
            call.out.print(dead_letters.render(found) if each else dead_letters.render_causes(causes))
        return 0

    @command(app, example="cutover dead-letters show 7", reports=True)
    def show(call: Invocation, number: Number) -> int:
        """One dead letter with all that is known of it, and what the log knows of its key."""
        plan = load_plan(call.settings.plan).name
        with connect(call.settings.dsn, "dead-letters") as conn:
            check(conn)
            letter = dead_letters.one(conn, plan, number)
        service = open_service(call.settings)
        versions = list(history(service.log, service.plan.move(letter.move), letter.key))
        if call.json:
            call.document(letter.model_dump() | {"history": [each.model_dump(mode="json") for each in versions]})
        else:
            for name, value in dead_letters.told(letter):
                call.out.print(f"{name:<11} {value}", markup=False)
            call.out.print(render(versions) if versions else "the log knows nothing about this key")
        return 0

    @command(app, example="cutover dead-letters retry --all", reports=True)
    def retry(call: Invocation, numbers: Numbers = None, move: OfMove = None, every: All = False) -> int:
        """Touch the keys again: the consumer tries them, and resolves those that go well."""
        service = open_service(call.settings)
        with connect(call.settings.dsn, "dead-letters") as conn:
            if not numbers and not every and not move:
                raise UsageError(
                    "which ones?", cure="cutover dead-letters retry --all", hint="or give their numbers, or --move"
                )
            known = {each.name for each in chosen(service.plan, [move] if move else None)}
            found = [dead_letters.one(conn, service.plan.name, number) for number in numbers or ()]
            dead_letters.refuse_resolved(found)
            found = found or dead_letters.find(conn, service.plan.name, sorted(known), most=1_000_000)
        _touch(service, found)
        if call.json:
            call.document({"plan": service.plan.name, "retried": [letter.id for letter in found]})
        else:
            call.out.print(f"{counted(len(found), 'key')} touched; `cutover dead-letters list` shows what stays")
        return 0

    @command(app, example="cutover dead-letters discard 7 --reason 'test data'", reports=True)
    def discard(call: Invocation, numbers: Numbers, reason: Reason) -> int:
        """Accept that these keys stay as they are in the target, for as long as both sides are what they are now."""
        plan = open_plan(call.settings)
        with connect(call.settings.dsn, "dead-letters", **SETTINGS) as conn:
            done = dead_letters.discard(conn, plan, numbers or [], reason)
        if call.json:
            call.document({"plan": plan.name, "discarded": done.accepted, "refused": done.refused})
        else:
            call.out.print(dead_letters.render_discarded(done), markup=False)
        return Refused.exit_code if done.refused else 0


def _touch(service: Service, letters: list[dead_letters.DeadLetter]) -> None:
    """Append the keys to the log and wait until it has them."""
    writer = service.log.writer()
    try:
        for move in service.plan.moves:
            touch(writer, move, [tuple(letter.key) for letter in letters if letter.move == move.name])
        if not writer.wait(writer.queued(), _ACKNOWLEDGE):
            raise Unreachable("the log does not acknowledge touches", cure="check the log, then try again")
    finally:
        writer.close()
