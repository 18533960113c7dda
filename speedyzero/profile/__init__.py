"""What a run waits for: shares of time, the critical path, the bottleneck, and what to change."""
