"""Measurements, side by side with peers in one run. Nothing here is a test: a benchmark prints what it measured."""
