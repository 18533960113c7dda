"""Checkpoints, replay logs, weights and scores on disk, verified when read."""
