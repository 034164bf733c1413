"""Chaos: random faults against a live workload, and a ledger that says whether anything was lost (`make chaos`)."""
