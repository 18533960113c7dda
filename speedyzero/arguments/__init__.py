"""From command line arguments to a `Config`; games are looked up."""
