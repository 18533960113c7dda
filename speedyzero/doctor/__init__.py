"""What keeps a run from starting here, and what mends it: `python -m speedyzero doctor`."""
