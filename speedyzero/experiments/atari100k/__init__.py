"""The Atari 100k benchmark: 26 games times seeds, and what all their scores say together."""
