"""The demo: the whole story on live traffic, with a ledger of every acknowledged write as its judge."""
