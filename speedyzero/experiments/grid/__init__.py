"""A grid of training runs, each a child process, in a directory that what was begun goes on in."""
