"""Scores by the evaluation protocol, and films of the games. A process of its own later; called inline today."""
