"""The replay shard: lanes by time, prioritised sampling, frame gathering."""
