"""Tests of pure code: no socket, no server."""
