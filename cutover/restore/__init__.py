"""Restore: the rows that a source had at a moment, rebuilt from the log into another table."""
