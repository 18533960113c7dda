"""Linux and files: processes, memory, locks, atomic writes; and random numbers named by keys."""
