"""How records are carried and roles run: over shared memory by processes, or in one process."""
