"""Checks whether a run can start on this machine, with remedies: `python -m speedyzero doctor`."""
