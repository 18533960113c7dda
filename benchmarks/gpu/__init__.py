"""The stages of `benchmarks/gpu_suite.py`: modules with `run(context) -> dict`, each started as its own process."""
