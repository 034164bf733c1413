"""A workload: what applications do to the legacy tables of a plan, declared in the plan's folder `workload/`.

The statements are the plan's, the engine knows no table. `workload.toml` of the shipped plan documents the format.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.resources.abc import Traversable
from typing import Annotated, Any

import pglast
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sql.connection import Connection
from sql.errors import PlanError, UsageError
from sql.names import Name
from sql.uses import uses

FOLDER = "workload"
_FILE = "workload.toml"
_PARAMETER = re.compile(r"(?<!:):(keys|key|other|new|number|writers|writer|limit|rows|former)\b")
_PLACEHOLDER = re.compile(r"%\(\w+\)s")
_SAVEPOINT = re.compile(r"\s*(?:--.*\n\s*)*(SAVEPOINT|ROLLBACK(?:\s+TO)?)\b", re.IGNORECASE)

Seed = Callable[[Connection, int], None]  # fills an empty database: connection, rows


def _seconds(value: Any) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)s", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected seconds such as "2s", got {value!r}')
    return float(match[1])


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Pool(_Model):
    move: str
    kinds: list[str] = Field(min_length=1)
    keys: str
    rows: str
    verify: str


class _Chosen(_Model):
    pool: str
    weight: int = Field(gt=0)


class _Probe(_Model):
    pool: str
    write: str
    read: str


class _Planted(_Model):
    file: str
    pool: str


class _Plant(_Model):
    drift: _Planted
    loss: _Planted


class _Workload(_Model):
    seed: str = Field(pattern=r"^[\w.]+:\w+$")
    settle: Annotated[float, BeforeValidator(_seconds)] = 0.0
    pools: dict[str, _Pool] = Field(min_length=1)
    transactions: dict[str, _Chosen] = Field(min_length=1)
    reads: dict[str, _Chosen] = {}
    probe: _Probe
    plant: _Plant


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its `:words` as psycopg's parameters. `mark`: SAVEPOINT, ROLLBACK TO or ROLLBACK."""

    text: str
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """The statements of one file, run as one transaction. It ends with COMMIT, or with its own ROLLBACK."""

    name: str
    pool: str
    weight: int
    statements: tuple[Statement, ...]
    uses_other: bool

    @property
    def commits(self) -> bool:
        return self.statements[-1].mark != "ROLLBACK"


@dataclass(frozen=True, slots=True)
class Pool:
    """Keys that writers choose from. `kinds`: of the rows that belong to a key; the first is identified by it."""

    name: str
    move: str
    kinds: tuple[str, ...]
    keys: str
    rows: str
    verify: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A write, and the read that finds it on the consolidated side."""

    pool: str
    write: Transaction
    read: str


@dataclass(frozen=True, slots=True)
class Plant:
    """Faults that the proof must find: a value changed in the target, a write that the stream never carries (of a table
    that the move's annotation writes: of other sources the stream carries even the service's own writes)."""

    drift: Transaction
    loss: Transaction


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as read; `settle` is in seconds."""

    seed: Seed
    settle: float
    pools: Mapping[str, Pool]
    transactions: tuple[Transaction, ...]
    reads: tuple[Transaction, ...]
    probe: Probe
    plant: Plant

    def tables_read(self) -> list[Name]:
        """What the reads name: facades, and whatever the application reads beside them."""
        texts = [_PLACEHOLDER.sub("NULL", each.text) for read in self.reads for each in read.statements]
        return sorted({name for text in texts for name in uses(text)})

    def pool_of(self, kind: str) -> Pool:
        """The pool that rows of this kind belong to; KeyError if there is none."""
        for pool in self.pools.values():
            if kind in pool.kinds:
                return pool
        raise KeyError(kind)


def load_workload(plan: Traversable) -> Workload:
    """Read the workload of a plan's folder.

    Raises UsageError when the plan has none, PlanError when it cannot be understood.
    """
    folder = plan.joinpath(FOLDER)
    if not folder.joinpath(_FILE).is_file():
        raise UsageError(
            f"the plan {plan.name} has no workload to demonstrate it with", cure="cutover demo --plan soleflipper"
        )
    try:
        read = _Workload.model_validate(tomllib.loads(folder.joinpath(_FILE).read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PlanError(str(error), file=f"{FOLDER}/{_FILE}") from None
    return _Reader(folder, read).workload()


class _Reader:
    def __init__(self, folder: Traversable, read: _Workload) -> None:
        self.folder, self.read = folder, read

    def workload(self) -> Workload:
        read = self.read
        return Workload(
            seed=_imported(read.seed),
            settle=read.settle,
            pools={
                name: Pool(name, it.move, tuple(it.kinds), self.text(it.keys), self.text(it.rows), self.text(it.verify))
                for name, it in read.pools.items()
            },
            transactions=tuple(self.transaction(file, it.pool, it.weight) for file, it in read.transactions.items()),
            reads=tuple(self.transaction(file, it.pool, it.weight) for file, it in read.reads.items()),
            probe=Probe(
                read.probe.pool, self.transaction(read.probe.write, read.probe.pool), self.text(read.probe.read)
            ),
            plant=Plant(
                self.transaction(read.plant.drift.file, read.plant.drift.pool),
                self.transaction(read.plant.loss.file, read.plant.loss.pool),
            ),
        )

    def transaction(self, file: str, pool: str, weight: int = 1) -> Transaction:
        if pool not in self.read.pools:
            raise PlanError(f"{file} names the unknown pool {pool}", file=f"{FOLDER}/{_FILE}")
        statements = tuple(
            Statement(parameters(text), _mark(text)) for text in pglast.split(self.source(file), with_parser=False)
        )
        uses_other = any("%(other)s" in statement.text for statement in statements)
        return Transaction(file.removesuffix(".sql"), pool, weight, statements, uses_other)

    def text(self, file: str) -> str:
        return parameters(self.source(file))

    def source(self, file: str) -> str:
        try:
            return self.folder.joinpath(file).read_text(encoding="utf-8").strip().rstrip(";")
        except OSError as error:
            raise PlanError(f"cannot be read: {error}", file=f"{FOLDER}/{file}") from error


def parameters(text: str) -> str:
    """A statement with its `:words` as psycopg's named parameters, and its percent signs doubled."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


def _mark(text: str) -> str | None:
    match = _SAVEPOINT.match(text)
    return " ".join(match[1].upper().split()) if match else None


def _imported(path: str) -> Seed:
    module, name = path.split(":")
    try:
        seed: Seed = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PlanError(f"seed {path}: {error}", file=f"{FOLDER}/{_FILE}") from error
    return seed
