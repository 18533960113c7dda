"""Analyses a profiled run: shares of time, the critical path, the bottleneck, and advice."""
