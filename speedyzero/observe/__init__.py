"""Metrics, progress display and the run directory."""
