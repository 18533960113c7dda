"""What SpeedyZero's techniques buy, and the mechanisms that they act on."""
