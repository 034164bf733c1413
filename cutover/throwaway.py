"""`python -m cutover.throwaway`: the demo's PostgreSQL to try things on, until Ctrl-C. Nothing of it stays."""

from __future__ import annotations

import shlex

from cutover.embedded import ThrowawayPostgres, wheel_binaries
from cutover.signals import stop_on_signals


def main() -> None:
    """Start it, print what a shell needs to use it, as one line of `export`, and end it with the first signal."""
    stop = stop_on_signals()
    with ThrowawayPostgres() as server:
        where = {"PGHOST": str(server.folder), "PGPORT": str(server.port), "PGUSER": "postgres"}
        told = " ".join(f"{name}={shlex.quote(value)}" for name, value in where.items())
        print(f'export {told} PATH={shlex.quote(str(wheel_binaries()))}:"$PATH"', flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
