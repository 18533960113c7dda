"""Records spans: what processes spend their time on. `profile` reads them."""
