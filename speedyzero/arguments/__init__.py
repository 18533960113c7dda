"""From the words of a command line to a `Config`; the games that they name are looked up."""
