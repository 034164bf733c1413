"""Keys that differed, until they are proven: beside the comparison, or in its pauses where it has one session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from reconcile.proof import Outcome, Prover
from reconcile.verdicts import Observation

_LEAST: Final = 1_000  # worth a marker and a wait while the comparison goes on anyway
_MOST: Final = 5_000  # that wait; the comparison waits then, so that memory stays flat


class Candidates:
    """Hands what differs to `prover`; `settle` gets the outcomes, in the caller's thread. To be closed.

    `left`: of how many the cells are still wanted. `beside`: prove in a thread of its own, one proof at a time, of all
    that has come together during the one before: the slower the stream, the fewer the proofs. `each`: prove in `add`,
    and let each proof wait as long as the first might.
    """

    def __init__(
        self, prover: Prover, settle: Callable[[list[Outcome]], None], left: Callable[[], int], *,
        beside: bool = False, each: bool = False,
    ) -> None:  # fmt: skip
        self._prover, self._settle, self._left, self._each = prover, settle, left, each
        self._least = _LEAST if beside else 1 if each else _MOST
        self._thread = ThreadPoolExecutor(1, "prove") if beside else None
        self._waiting: list[Observation] = []
        self._proof: Future[list[Outcome]] | None = None

    def add(self, different: Iterable[Observation]) -> None:
        """Keys that differed in a chunk. Raises what a proof raised."""
        self._waiting += different
        if self._proof is not None and (self._proof.done() or len(self._waiting) >= _MOST):
            self._end()
        if self._proof is None and len(self._waiting) >= self._least:
            self._begin()

    def finish(self) -> None:
        """Prove all that still waits."""
        self._end()
        if self._waiting:
            self._begin()
            self._end()

    def close(self) -> None:
        """Wait for the end of a proof that nobody waits for any more; it ends with the statement in hand."""
        if self._thread is not None:
            self._prover.arrival.stop()
            self._thread.shutdown()

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._each:
            self._prover.anew()
        if self._thread is None:
            self._settle(self._prover.prove(waiting, self._left()))
        else:
            self._proof = self._thread.submit(self._prover.prove, waiting, self._left())

    def _end(self) -> None:
        proof, self._proof = self._proof, None
        if proof is not None:
            self._settle(proof.result())
