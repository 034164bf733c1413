"""`/metrics`, `/healthz` and `/readyz` of a running process, answered from what a thread of its own last saw.

Nothing that is asked over HTTP reaches the database: a scrape costs nothing and never hangs with it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg

from cdc.log import Log
from cutover.health import Part, Seen, dead, unready
from cutover.service import Service
from cutover.status import read_status
from sql.connection import Connection, connect
from sql.errors import CutoverError, UsageError

_LOG = logging.getLogger("cutover.metrics")
_EVERY = 2.0  # seconds between two looks at the database
_HOST = "127.0.0.1"
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]

Counts = Callable[[], Mapping[str, tuple[str, int]]]


def parse_listen(text: str) -> tuple[str, int]:
    """`9464`, `0.0.0.0:9464` or `[::]:9464`; a port alone listens on loopback. UsageError for anything else."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"not an address to listen on: {text!r}", cure="--metrics-port 9464, or 0.0.0.0:9464")
    return host or _HOST, int(port)


class Watcher:
    """Looks at the status again and again, in a thread, through its own session and log."""

    def __init__(
        self, dsn: str, plan: str, log: Log, beat: Callable[[], float], fallen: Callable[[], tuple[str, ...]]
    ) -> None:
        self._dsn, self._plan, self._log, self._beat, self._fallen = dsn, plan, log, beat, fallen
        self._seen = Seen(None, None, 0.0, 0.0)
        self._at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def look(self) -> Seen:
        now = time.monotonic()
        return replace(self._seen, age=now - self._at, idle=max(0.0, now - self._beat()), fallen=self._fallen())

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        conn: Connection | None = None
        while not self._stop.is_set():
            try:
                conn = conn or connect(self._dsn, f"metrics {self._plan}", statement_timeout="10s")
                self._saw(Seen(read_status(conn, self._plan, self._log), None, 0.0, 0.0))
            except (CutoverError, psycopg.Error) as error:
                self._saw(Seen(None, str(error).splitlines()[0], 0.0, 0.0))
                if conn is not None:
                    conn.close()
                conn = None
            self._stop.wait(_EVERY)
        if conn is not None:
            conn.close()

    def _saw(self, seen: Seen) -> None:
        self._seen, self._at = seen, time.monotonic()


class Pages:
    """The three pages as a WSGI application."""

    def __init__(self, plan: str, part: Part, look: Callable[[], Seen], counts: Counts) -> None:
        from prometheus_client import make_wsgi_app

        from cutover.metrics import ServiceCollector, registry

        self._part, self._look = part, look
        self._metrics = make_wsgi_app(registry(ServiceCollector(plan, part, look, counts)), disable_compression=True)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        if path in ("/healthz", "/readyz"):
            seen = self._look()
            wrong = dead(seen) if path == "/healthz" else unready(self._part, seen)
            start("503 Service Unavailable" if wrong else "200 OK", list(_PLAIN))
            return ["".join(f"{line}\n" for line in wrong or ["ok"]).encode()]
        start("404 Not Found", list(_PLAIN))
        return [b"/metrics, /healthz, /readyz\n"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # a client that says nothing holds no thread for ever

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)


@contextmanager
def metrics(
    listen: str | None, service: Service, part: Part, beat: Callable[[], float],
    counts: Counts = dict, fallen: Callable[[], tuple[str, ...]] = tuple,
) -> Iterator[None]:  # fmt: skip
    """Serve the pages while the block runs; nothing without `listen`.

    `beat`: when the process's loop turned last (time.monotonic()). Raises UsageError when the address is wrong or
    taken, or the package is missing.
    """
    if not listen:
        yield
        return
    host, port = parse_listen(listen)
    if find_spec("prometheus_client") is None:
        raise UsageError("metrics need a package", hint="pip install prometheus-client, where cutover is installed")
    with ExitStack() as stack:
        log = service.another_log()
        stack.callback(log.close)
        watcher = Watcher(service.settings.dsn, service.plan.name, log, beat, fallen)
        stack.callback(watcher.close)
        server = _listen(host, port, Pages(service.plan.name, part, watcher.look, counts))
        stack.callback(server.server_close)
        threading.Thread(target=server.serve_forever, name="metrics pages", daemon=True).start()
        stack.callback(server.shutdown)
        _LOG.info("metrics at http://%s:%d/metrics", host, server.server_port)
        yield


def _listen(host: str, port: int, pages: Pages) -> WSGIServer:
    kind = type("Server", (_Server,), {"address_family": socket.AF_INET6}) if ":" in host else _Server
    try:
        return make_server(host, port, pages, kind, _Quiet)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", cure="another --metrics-port") from error
