"""Weights on their way from the learner to those who act with them."""
