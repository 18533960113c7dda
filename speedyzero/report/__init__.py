"""Whether a run learns, what it waits for and what its score is worth: `python -m speedyzero report RUN_DIR ...`."""
