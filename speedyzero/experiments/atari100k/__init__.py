"""The Atari 100k benchmark: 26 games times seeds, and aggregates of their scores."""
