"""Games, as lanes stepped in lock-step. Begin at `registry.make_env`; the interface is in `base`."""
