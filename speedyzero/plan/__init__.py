"""Predicts a run's speed and bottleneck from its operation counts and their costs."""
