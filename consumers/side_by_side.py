"""Side by side: several workers in one process, so that a backlog has more than one of PostgreSQL's processors."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from consumers.worker import Worker


class SideBySide:
    """Workers that live and end together; each has a session, a reader and a share of the partitions of its own."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = workers

    @property
    def beat(self) -> float:
        """When the loop that has turned longest ago did so."""
        return min(each.beat for each in self.workers)

    @property
    def batches(self) -> int:
        return sum(each.batches for each in self.workers)

    @property
    def keys(self) -> int:
        return sum(each.keys for each in self.workers)

    @property
    def changed(self) -> int:
        return sum(each.changed for each in self.workers)

    @property
    def letters(self) -> int:
        return sum(each.letters for each in self.workers)

    def run(self, stop: threading.Event) -> None:
        """Consume until stopped. Raises what the first of them raised that ended before: the others are stopped."""
        errors: list[BaseException] = []

        def body(worker: Worker) -> None:
            try:
                worker.run(stop)
            except BaseException as error:
                errors.append(error)
                stop.set()

        first, *others = self.workers
        threads = [threading.Thread(target=body, args=(each,), name="worker") for each in others]
        for thread in threads:
            thread.start()
        body(first)
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
