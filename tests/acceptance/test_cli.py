"""What holds for every command: help, exit codes, one document on standard output, no secret anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from tests.acceptance.command import Cli, Ran

COMMANDS = [
    ("demo",),
    ("plan",),
    ("prepare",),
    ("capture",),
    ("consume",),
    ("refresh",),
    ("run",),
    ("backfill",),
    ("status",),
    ("reconcile",),
    ("flip",),
    ("doctor",),
    ("heal",),
    ("dead-letters", "list"),
    ("dead-letters", "show"),
    ("dead-letters", "retry"),
    ("dead-letters", "discard"),
]
HATCHED = False
NOWHERE = "postgresql://app:s3cret-word@127.0.0.1:1/shop"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(bare: Cli, command: tuple[str, ...]) -> None:
    text = bare.run(*command, "--help", COLUMNS="80").out
    assert f"Example: cutover {' '.join(command)}" in text
    assert "--dsn" in text
    assert "CUTOVER_DSN" in text
    assert "…" not in text.replace("[,…]", "").replace("[?…]", "").replace("6b0e…", "")  # nothing is cut
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_on_the_log_says_which_one_is_taken(bare: Cli) -> None:
    text = " ".join(bare.run("status", "--help").out.split())
    assert "Default: what the plan was prepared with; before that, a file under .cutover/." in text


def test_the_first_page_names_every_command(bare: Cli) -> None:
    text = bare.run("--help").out
    assert {command[0] for command in COMMANDS} <= set(text.split())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("sttus",), "status"),
        (("status", "--jsn"), "--json"),
        (("flip", "stock"), "--to"),
        (("flip", "stock", "--to", "both"), "consolidated"),
        (("run", "--consumers", "0"), "consumers"),
    ],
)
def test_wrong_usage_exits_2_and_names_the_right_word(bare: Cli, arguments: tuple[str, ...], word: str) -> None:
    assert word in bare.run(*arguments, code=2).err


@pytest.mark.parametrize(
    ("variables", "arguments", "named"),
    [
        ({"CUTOVER_LOCK_TIMEOUT": "abc"}, ("flip", "stock", "--to", "legacy"), "CUTOVER_LOCK_TIMEOUT"),
        ({"CUTOVER_LOCK_TIMEOUT": "5"}, ("flip", "stock", "--to", "legacy", "--lock-timeout", "x"), "--lock-timeout"),
        ({"CUTOVER_EACH": "what"}, ("dead-letters", "list"), "CUTOVER_EACH"),
    ],
)
def test_a_wrong_value_is_blamed_on_where_it_stands(
    bare: Cli, variables: dict[str, str], arguments: tuple[str, ...], named: str
) -> None:
    said = replace(bare, variables=variables).run(*arguments, code=2).err
    assert [word for word in ("CUTOVER_LOCK_TIMEOUT", "CUTOVER_EACH", "--lock-timeout", "--each") if word in said] == [
        named
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dead-letters", "retry", "7", "abc"), "Invalid value for '[ID]...': abc: "),
        (("flip", "stock", "--to", "legacy", "--percent", "half"), "Invalid value for '--percent': half: "),
        (("run", "--consumers=0"), "Invalid value for '--consumers': 0"),
        (("status", "--jsn"), "No such option: --jsn"),
        (("sttus",), "No such command 'sttus'"),
    ],
)
def test_wrong_usage_is_a_line_of_json_that_names_the_value(
    bare: Cli, arguments: tuple[str, ...], message: str
) -> None:
    """Where standard error is no terminal, as everything else that goes there."""
    (line,) = bare.run(*arguments, code=2).messages
    assert line["message"].startswith(message)
    assert line["level"] == "error"
    assert line["hint"].startswith("see cutover")


def test_dead_letters_alone_lists_its_commands(bare: Cli) -> None:
    said = bare.run("dead-letters", code=2).err
    assert all(word in said for word in ("Usage: cutover dead-letters", "list", "show", "retry", "discard"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--dsn", "postgresql://app:s3cret-word@db/%zz"), ["--dsn", "CUTOVER_DSN"]),
        (("--log", "kafak://broker"), ["kafak://broker", "kafka://host:port", "sqlite:///path", "CUTOVER_LOG"]),
        (("--log", "sqlit:///x"), ["did you mean sqlite:///x?"]),
        (("--plan", "soleflpper"), ["soleflpper", "did you mean soleflipper?"]),
    ],
)
def test_wrong_settings_exit_2_and_name_thing_and_cure(bare: Cli, flags: tuple[str, ...], words: list[str]) -> None:
    ran = bare.run("status", *flags, code=2)
    assert all(word in ran.said for word in words)
    assert ran.out == ""
    assert "s3cret-word" not in ran.err


def test_a_broken_plan_exits_2_with_file_line_and_cure(bare: Cli, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('name = "x"\n\n[moves.a]\ntarget = "a.b"\nmaping = "a.sql"\n')
    ran = bare.run("plan", "--plan", ".", code=2)
    assert "plan.toml:5: unknown key maping" in ran.said
    assert "did you mean mapping?" in ran.said


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("plan",), ("flip",), ("status", "--dsn", NOWHERE), ("prepare", "--plan", "nowhere")],
    ids=" ".join,
)
def test_a_command_that_is_forked_says_and_ends_as_one_that_is_started(bare: Cli, arguments: tuple[str, ...]) -> None:
    """Most tests fork it from a process that has imported everything; they would not see what that alone makes work."""

    def told(ran: Ran) -> tuple[int, str, list[object]]:
        lines = ran.err.splitlines()
        return (
            ran.code,
            ran.out,
            [json.loads(line) | {"time": 0, "process": 0} if line[:1] == "{" else line for line in lines],
        )

    started, forked = bare.run(*arguments, code=None), replace(bare, hatched=True).run(*arguments, code=None)
    assert told(forked) == told(started)


@pytest.mark.parametrize("command", ["status", "plan", "prepare", "capture", "consume", "run", "backfill", "reconcile"])
def test_an_unreachable_database_exits_6_and_no_secret_is_printed(bare: Cli, command: str) -> None:
    kafka = "kafka://127.0.0.1:1?sasl_username=u&sasl_password=t0p-secret&sasl_mechanism=PLAIN"
    ran = bare.run(command, "--verbose", code=6, CUTOVER_DSN=NOWHERE, CUTOVER_LOG=kafka)
    assert "127.0.0.1" in ran.said
    assert ran.out == ""
    assert "s3cret-word" not in ran.err
    assert "t0p-secret" not in ran.err


def test_doctor_says_what_is_unreachable(bare: Cli) -> None:
    ran = bare.run("doctor", "--json", code=6, CUTOVER_DSN=NOWHERE)
    (problem,) = ran.document["problems"]
    assert problem["severity"] == "unreachable"
    assert "PostgreSQL" in problem["what"]
    assert "s3cret-word" not in ran.out + ran.err


def test_flags_win_over_variables(bare: Cli) -> None:
    ran = bare.run("status", "--dsn", "host=127.0.0.1 port=2", code=6, CUTOVER_DSN=NOWHERE)
    assert "port 2" in ran.said


def test_libpq_variables_are_honoured(bare: Cli) -> None:
    ran = bare.run("status", code=6, PGHOST="127.0.0.1", PGPORT="3", PGPASSWORD="s3cret-word")
    assert "port 3" in ran.said
    assert "s3cret-word" not in ran.err


def test_every_message_is_one_json_object_a_line(bare: Cli) -> None:
    ran = bare.run("status", "--verbose", code=6, CUTOVER_DSN=NOWHERE)
    assert [line["level"] for line in ran.messages] == ["debug", "error"]
    assert "Traceback" in ran.messages[1]["trace"]
    assert "Traceback" not in bare.run("status", code=6, CUTOVER_DSN=NOWHERE).err


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
def test_what_was_not_given_is_named(tour: Cli, dsn: str) -> None:
    """A newcomer who forgot --plan or --dsn, or whose database is not there, is told so."""
    forgotten = Cli(tour.folder, {"CUTOVER_DSN": dsn})
    said = forgotten.run("plan", code=2).said
    assert "no --plan or CUTOVER_PLAN was given, so this is the plan that is shipped, soleflipper" in said
    nowhere = tour.run("status", code=6, CUTOVER_DSN="", PGHOST="127.0.0.1", PGPORT="1").said
    assert "no --dsn or CUTOVER_DSN was given" in nowhere
    absent = tour.run("doctor", "--json", code=6, CUTOVER_DSN=conninfo.make_conninfo(dsn, dbname="not_there"))
    (problem,) = absent.document["problems"]
    assert problem["what"] == "PostgreSQL refuses the connection"
    assert 'database "not_there" does not exist' in problem["why"]
    assert "createdb" in problem["hint"]


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
def test_before_prepare_everything_says_so(tour: Cli) -> None:
    """Whatever needs a prepared plan is refused with the command that helps, and changes nothing."""
    for command in (["status"], ["capture"], ["consume"], ["run"], ["backfill"], ["heal"], ["dead-letters", "list"]):
        ran = tour.run(*command, code=5)
        assert "cutover prepare" in ran.said, command
    assert "cutover prepare" in json.dumps(tour.run("doctor", "--json", code=5).document)


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_a_column_that_was_renamed_since_is_named_with_the_command_that_helps(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute('ALTER TABLE "Lager".product RENAME COLUMN price TO amount')
    refused = tour.run("reconcile", code=5)
    assert "price" in refused.said
    assert "does not exist" in refused.said
    assert refused.messages[-1]["cure"] == "cutover doctor"
