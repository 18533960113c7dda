"""The reanalyzer: owns a replay shard and makes training batches with the target network."""
