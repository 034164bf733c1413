"""The control schema is closed: everybody may look names up in it, nobody but the service has a right to a relation.

Its documents and mappings show cells of the application's tables. Rights come unasked where the database has default
privileges (`ALTER DEFAULT PRIVILEGES … GRANT SELECT ON TABLES TO readonly`).
"""

from __future__ import annotations

from sql.connection import Connection
from sql.files import load
from sql.grants import PARTS
from sql.names import Name, quote


def close(conn: Connection) -> list[str]:
    """Take every right on relations of the control schema from all but their owner and the roles of `prepare --roles`;
    returns the statements that were needed. In the caller's transaction, the one that makes the relations."""
    statements = []
    for kind, role, names in conn.execute(load("roles/strangers"), {"parts": list(PARTS)}).fetchall():
        relations = ", ".join(Name("cutover", name).sql for name in names)
        who = "PUBLIC" if role is None else quote(role)
        statements.append(f"REVOKE ALL ON {kind} {relations} FROM {who} CASCADE")
    for statement in statements:
        conn.execute(statement.encode(), prepare=False)
    return statements
