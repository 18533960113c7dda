"""One run on several machines under torchrun: a node's share, how nodes meet, and how each watches the others."""
