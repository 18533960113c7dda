"""Analyses a profiled run: shares of time, the critical path and the bottleneck."""
