"""Sweeps: many runs compared over settings, games and seeds."""
