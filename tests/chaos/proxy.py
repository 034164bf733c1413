"""A TCP proxy on loopback whose network can be cut, slow, or silent while connections stay open."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

Mode = Literal["open", "cut", "slow", "silent"]

_CHUNK = 65_536
_DELAY = 0.05  # seconds that each chunk takes while the network is slow


class Proxy:
    """Forwards connections to a port of 127.0.0.1. A context manager.

    open: forwards. cut: resets every connection and refuses new ones. slow: each chunk of at most 64 KiB takes 50 ms.
    silent: half-open: connections stand, new ones are taken, nothing comes through; whoever leaves this mode finds
    those connections reset, as by a router that has forgotten them.
    """

    def __init__(self, target: int | None = None) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._mode: Mode = "open"
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._waiting: list[socket.socket] = []  # taken while silent
        self._closed = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.set("cut")

    def set(self, mode: Mode) -> None:
        """Change the network; connections of a network that was cut or silent are gone."""
        with self._changed:
            before, self._mode = self._mode, mode
            if "silent" in (before, mode) and before == mode:
                return
            if mode == "cut" or before == "silent":
                self._reset()
            self._changed.notify_all()

    def _reset(self) -> None:
        for each in [*(one for pair in self._pairs for one in pair), *self._waiting]:
            _reset(each)
        self._pairs.clear()
        self._waiting.clear()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._mode == "cut":
                    _reset(client)
                    continue
                if self._mode == "silent":
                    self._waiting.append(client)
                    continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target or 0), timeout=5)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._changed:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._forward, args=(source, sink, pair), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                with self._changed:
                    if self._mode == "slow":
                        self._changed.wait(_DELAY)
                    self._changed.wait_for(lambda: self._mode != "silent" or pair not in self._pairs)
                    if pair not in self._pairs:
                        return
                sink.sendall(data)
        with self._changed:
            self._pairs.discard(pair)
        for each in pair:
            _end(each)


def _reset(sock: socket.socket) -> None:
    """Close it so that the other side gets a reset and not an orderly end."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    _end(sock)


def _end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
    sock.close()
