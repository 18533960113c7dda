"""Ablations: one run with one setting changed at a time, over seeds, compared with intervals."""
