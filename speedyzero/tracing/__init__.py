"""Recording what processes spend their time on; `profile` reads it."""
