"""Linux processes, memory, locks and atomic writes; counter-based random numbers."""
