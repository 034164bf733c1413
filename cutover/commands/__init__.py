"""The commands, one module per group; each only parses, calls and shows."""
