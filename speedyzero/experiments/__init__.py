"""Many runs compared: over settings, games and seeds."""
