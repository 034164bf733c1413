"""What an error says to do about a server that answers and takes no connection."""

from __future__ import annotations

import psycopg
import pytest

from sql.connection import unreachable


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("FATAL:  the database system is starting up", "wait until it is up"),
        ("FATAL:  the database system is shutting down", "wait until it is up"),
        ("FATAL:  the database system is not yet accepting connections", "wait until it is up"),
        ('FATAL:  password authentication failed for user "x"', "check the user"),
        ('FATAL:  database "x" does not exist', "createdb"),
    ],
)
def test_a_refused_connection_says_what_helps(said: str, hint: str) -> None:
    error = unreachable(psycopg.OperationalError(f'connection to server at "127.0.0.1", port 5432 failed: {said}'))
    assert hint in (error.hint or "")
