"""Compare keys that were chosen, or drawn for a sample, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psycopg

from reconcile.chunk import Chunk, Failed, Key
from reconcile.diff import Comparison
from reconcile.sample import Drawing
from reconcile.session import FAILS, of_data

_AT_ONCE: Final = 1_000  # keys compared in one snapshot


def chosen(comparison: Comparison, keys: Sequence[Key], on_split: Callable[[], None]) -> Iterator[Chunk | Failed]:
    """These keys, each in a snapshot of its own thousand; what fails is isolated by halves."""
    for at in range(0, len(keys), _AT_ONCE):
        yield from _by_halves(comparison, keys[at : at + _AT_ONCE], on_split)


def drawn(comparison: Comparison, drawing: Drawing, on_split: Callable[[], None]) -> Iterator[Chunk | Failed]:
    """The keys of a sample; where even the keys cannot be computed, what follows is not told."""
    try:
        for keys in drawing.batches():
            yield from chosen(comparison, keys, on_split)
    except psycopg.Error as error:
        if not (of_data(error) or isinstance(error, psycopg.errors.QueryCanceled)):
            raise
        yield Failed((), 1, error.sqlstate or "", "the keys could not be drawn")


def _by_halves(comparison: Comparison, keys: Sequence[Key], on_split: Callable[[], None]) -> Iterator[Chunk | Failed]:
    try:
        yield comparison.chosen(keys)
    except psycopg.Error as error:
        if not (of_data(error) or isinstance(error, psycopg.errors.QueryCanceled)):
            raise
        if len(keys) == 1:
            yield Failed(tuple(keys), 1, error.sqlstate or "", FAILS)
            return
        on_split()
        yield from _by_halves(comparison, keys[: len(keys) // 2], on_split)
        yield from _by_halves(comparison, keys[len(keys) // 2 :], on_split)
