"""What is printed as a cure can be pasted: every command that the code names, in the real command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from cutover.cli import GROUPS, app
from cutover.problem import Problem
from cutover.show_doctor import render_problems
from sql.cures import pasteable, sorted_out, told
from sql.errors import Refused, UsageError, without_cure

ROOT = Path(__file__).parents[2]
PACKAGES = ("sql", "cdc", "consumers", "reconcile", "cutover")
COMMANDS = {name for commands in GROUPS.values() for name in commands}
MOVE = "stock"  # what stands in a command that names a move
PLACES = {"MOVE": MOVE, "FILE": "file", "ID": "7", "KEY": "key", "PLAN": "plan", "TEXT": "text"}
_WRONG: Any = typer.BadParameter.__mro__[1]  # a usage error of the parser that typer has
_SPOKEN = re.compile(r"`(cutover [\w-]+ [^`]+)`")  # more than the mention of a command


def parsed(command: str) -> Any:
    """The parameters that the real command line reads in it; nothing is run. Raises click's UsageError."""
    program, *words = shlex.split(command)
    assert program == "cutover"
    group: Any = typer.main.get_command(app)
    context: Any = group.make_context(program, words)
    while hasattr(group, "commands"):
        rest = [*context._protected_args, *context.args]
        name, group, rest = group.resolve_command(context, rest)
        context = group.make_context(name, rest, parent=context)
    return context.params


def named(text: str) -> bool:
    """Does the text claim to be a command of this program?"""
    words = text.split()
    return words[:1] == ["cutover"] and len(words) > 1 and re.match(r"[a-z-]+", words[1]) is not None and (
        re.match(r"[a-z-]+", words[1])[0] in COMMANDS  # type: ignore[index]
    )  # fmt: skip


def strings() -> Iterator[tuple[str, str]]:
    """Every string of the code but docstrings, with its place; what an f-string is given stands as a move's name."""
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        tree = ast.parse(path.read_text())
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else MOVE for part in node.values)
                yield where, "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | spoken:
                yield where, node.value


def test_every_command_that_the_code_names_is_one() -> None:
    wrong, found = [], 0
    for where, text in strings():
        claimed = [line for line in text.splitlines() if named(line)] if named(text) else []
        wrong += [f"{where}: {line!r} cannot be pasted" for line in claimed if not pasteable(line) and "…" not in line]
        for line in (*claimed, *(part for part in _SPOKEN.findall(text) if named(part))):
            found += 1
            words = [PLACES.get(word, word) for word in shlex.split(line) if word != "…"]
            try:
                given = parsed(shlex.join(words))
            except _WRONG as error:
                wrong.append(f"{where}: {line!r}: {error.format_message()}")
                continue
            moves = {*(given.get("moves") or ()), *filter(None, [given.get("move")])}
            wrong += [f"{where}: {line!r} has prose in it: {moves}"] if not moves <= {MOVE, "product"} else []
    assert not wrong, "\n".join(wrong)
    assert found > 60


def test_every_command_line_of_the_documentation_is_one() -> None:
    wrong, found = [], 0
    for path in (ROOT / "README.md", ROOT / "deploy" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            shown = re.match(r"    (?:\$ )?(cutover .*)", text)
            if not shown or not named(shown[1]) or re.search(r" \(|\[", shown[1]):  # a synopsis
                continue
            found += 1
            try:
                words = [
                    word
                    for word in shlex.split(shown[1].partition(" | ")[0], comments=True)
                    if word not in ("…", "&", "\\")
                ]
                given = parsed(shlex.join([PLACES.get(word, word) for word in words]))
            except (ValueError, _WRONG) as error:
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {shown[1]}: {error}")
                continue
            if not given.get("numbers") and given.get("every") is False and "--" not in shown[1]:
                wrong += [f"{path.relative_to(ROOT)}:{number}: which letters?"] if "retry" in shown[1] else []
    assert not wrong, "\n".join(wrong)
    assert found > 30


@pytest.mark.parametrize(
    "text",
    [
        "cutover capture (or cutover run)",
        "cutover flip akte --to consolidated (or legacy)",
        "cutover run; until then cutover flip akte --to legacy reads what is true",
        "cutover prepare, then cutover heal",
        "cutover prepare, if none is running",
        "cutover reconcile MOVE --disagreements FILE",
        "cutover reconcile MOVE …",
        "it's broken",
        "cutover",
        "",
    ],
)
def test_what_a_shell_would_not_take_is_a_hint(text: str) -> None:
    assert not pasteable(text)
    assert sorted_out(text) == (None, text or None)
    problem = Problem("broken", "what", "why", text)
    assert (problem.cure, problem.hint) == ("", text)


def test_a_cure_has_a_line_for_each_command_and_a_hint_of_its_own() -> None:
    error = Refused("it is gone", cure="cutover prepare\ncutover heal stock", hint="first bring it back")
    assert (error.cure, error.hint) == ("cutover prepare\ncutover heal stock", "first bring it back")
    assert str(error) == (
        "it is gone\n  hint: first bring it back\n  cure: cutover prepare\n        cutover heal stock"
    )
    assert without_cure(str(error)) == "it is gone"
    assert without_cure(str(UsageError("no", cure="write it otherwise"))) == "no"
    assert told(None, None) == ""


def test_what_may_be_done_instead_comes_after_the_cure() -> None:
    assert told("cutover capture", "or cutover run") == "\n  cure: cutover capture\n  hint: or cutover run"
    assert told("cutover heal", "order it first") == "\n  hint: order it first\n  cure: cutover heal"
    console = Console(width=80)
    with console.capture() as shown:
        console.print(render_problems([Problem("broken", "what", "why", "cutover capture", hint="or cutover run")]))
    assert shown.get().index("cure:") < shown.get().index("hint:")


def test_a_parser_that_takes_everything_would_be_noticed() -> None:
    for wrong in ("cutover heel", "cutover flip", "cutover status --wach", "cutover dead-letters retry x"):
        with pytest.raises(_WRONG):
            parsed(wrong)
