"""The error for a service that cannot be had here."""

from __future__ import annotations


class ServiceMissing(Exception):
    """A service that tests need cannot be had this way; the message says how to get it."""
