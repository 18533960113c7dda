"""Ablations: the same run with one part changed at a time, over seeds, compared with intervals."""
