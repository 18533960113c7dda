"""An HTML report of runs: score, learning, utilisation. `python -m speedyzero report RUN_DIR ...`."""
