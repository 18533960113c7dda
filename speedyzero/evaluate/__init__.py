"""Evaluation by protocol, and videos of the games."""
