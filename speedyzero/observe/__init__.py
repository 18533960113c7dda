"""What a run shows and leaves behind: metrics, progress, the run directory."""
