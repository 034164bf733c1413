"""A reconciliation from the command line: once, mending what drifted, or again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutover.command import Invocation
from cutover.progress import progress
from cutover.service import Service
from reconcile import history
from reconcile.chunk import Key
from reconcile.document import ReconcileDocument, exit_code
from reconcile.html import write
from reconcile.passes import Stopped, Throttle
from reconcile.repair import repair
from reconcile.run import Step, reconcile
from reconcile.scope import Selection
from reconcile.terminal import show
from reconcile.whose import AND_DECIDE, to_decide
from sql.connection import connect
from sql.counted import counted
from sql.errors import NotProven

_LEAST_PAUSE = 1.0  # seconds between two passes of --watch


@dataclass(frozen=True, slots=True)
class Proving:
    """What the flags ask for. `only`: a part of each move; None: all."""

    call: Invocation
    service: Service
    names: Sequence[str]
    timeout: float
    listed: int
    html: Path | None
    sources: bool = False
    only: Mapping[str, Selection] | None = None
    sessions: int = 1  # a watch is throttled by its time, so it compares in one

    def once(self, *, mend: bool, dry_run: bool) -> int:
        """Compare; with `mend`, touch what drifted and compare again. The exit code is the last comparison's."""
        mendable: dict[str, list[Key]] = {}
        document = self._compare(mendable)
        if mend and mendable and not dry_run:
            self._mend(mendable)
            document = self._compare({})
        self._write(document)
        left = {it.move: it.conflicts for it in document.moves if it.conflicts} if mend else {}
        repaired = {name: len(keys) for name, keys in mendable.items()} if mend else None
        if self.call.json:
            more = {} if repaired is None else {"dry_run" if dry_run else "repaired": repaired, "left": left}
            self.call.document(document.model_dump(mode="json") | more)
            return exit_code(document)
        show(document, self.call.out)
        for name, number in (repaired or {}).items():
            done = "would be touched" if dry_run else f"{'was' if number == 1 else 'were'} touched and compared again"
            self.call.out.print(f"{name}: {counted(number, 'key')} {done}")
        for name, number in left.items():
            was = "is a row" if number == 1 else "are rows"
            self.call.out.print(
                f"{name}: {counted(number, 'key')} {was} of others, left as they are: {to_decide(name)}"
            )
            self.call.out.print(f"  {AND_DECIDE}")
        return exit_code(document)

    def watch(self, share: float, stop: threading.Event) -> int:
        """Pass after pass, each recorded, until stopped; compares for `share` of the time at most."""
        while not stop.is_set():
            try:
                document = self._compare({}, Throttle(share, stop))
            except Stopped:
                break
            self._write(document)
            for report in document.moves:
                self.call.out.print(f"{report.started_at:%Y-%m-%d %H:%M:%S}  {report.verdict:<10}  {report.sentence}")
            if exit_code(document):
                show(document, self.call.out)
            stop.wait(_LEAST_PAUSE)
        return 0

    def _mend(self, mendable: dict[str, list[Key]]) -> None:
        service = self.service
        service.refuse_standing_still([service.plan.move(name) for name in mendable])
        with progress(self.call, "repair") as report:
            repair(service.settings.dsn, service.plan, service.log, mendable, progress=report)

    def _write(self, document: ReconcileDocument) -> None:
        if self.html is None:
            return
        plan = self.service.plan
        with connect(self.service.settings.dsn, "reconcile report") as conn:
            earlier = {report.move: history.runs(conn, plan.name, report.move) for report in document.moves}
        write(self.html, document, plan, earlier)

    def _compare(
        self, mendable: dict[str, list[Key]], between: Callable[[Step], None] = lambda step: None
    ) -> ReconcileDocument:
        """`between` is called between chunks, and may rest there."""
        with progress(self.call, "reconcile") as report:

            def step(at: Step) -> None:
                between(at)
                report(at.done, max(at.done, at.total))

            try:
                return reconcile(
                    self.service.settings.dsn,
                    self.service.plan,
                    self.names,
                    self.service.log,
                    timeout=self.timeout,
                    listed=self.listed,
                    progress=step,
                    mendable=mendable,
                    only=self.only,
                    sources=self.sources,
                    side_by_side=self.sessions,
                )
            except KeyboardInterrupt:
                raise NotProven("interrupted: nothing is proven, and nothing was recorded") from None
