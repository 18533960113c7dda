"""A grid of training runs, each a child process, in a directory from which it can be resumed."""
