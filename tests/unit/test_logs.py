"""Logging: one JSON object a line, secrets starred."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cutover import logs
from cutover.logs import Redactor


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("kafka", "psycopg"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://app:hunter2@db:5432/x", "postgresql://app:***@db:5432/x"),
        ("host=db password=hunter2 user=u", "host=db password=*** user=u"),
        ("host=db password='hun ter2' user=u", "host=db password=*** user=u"),
        ("kafka://k?sasl_password=hunter2&x=1", "kafka://k?sasl_password=***&x=1"),
        ('{"password": "hunter2"}', '{"password": ***}'),
        ("https://db/x names nobody: a@b", "https://db/x names nobody: a@b"),
    ],
)
def test_what_looks_like_a_secret_is_starred(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


def test_known_secrets_are_starred_wherever_they_stand() -> None:
    assert Redactor({"post"})("post is not in postgresql, said post") == "*** is not in postgresql, said ***"


def test_every_line_is_one_json_object_without_secrets() -> None:
    stream = io.StringIO()
    logs.setup(secrets={"hunter2"}, stream=stream)
    try:
        raise ValueError("it was hunter2\nin two lines")
    except ValueError:
        logging.getLogger("x").exception("failed with %s", "hunter2", extra={"cure": "not hunter2"})
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document["message"] == "failed with ***"
    assert document["cure"] == "not ***"
    assert "ValueError" in document["trace"]
    assert "hunter2" not in line


def test_a_terminal_gets_text_with_the_cure_below() -> None:
    stream = Terminal()
    logs.setup(stream=stream)
    logging.getLogger("x").error("it fails", extra={"cure": "cutover heal", "hint": "first mend it"})
    assert stream.getvalue().endswith(" error: it fails\n  hint: first mend it\n  cure: cutover heal\n")


@pytest.mark.parametrize("verbose", [False, True])
def test_what_psycopg_ignores_is_not_told_beside_what_it_follows_on(verbose: bool) -> None:
    stream = io.StringIO()
    logs.setup(verbose=verbose, stream=stream)
    logging.getLogger("psycopg.transaction").warning("error ignored in rollback of it")
    assert ("error ignored" in stream.getvalue()) is verbose
