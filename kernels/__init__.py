"""Device kernels: no model, no environment, only tensors.

Each operation has a folder. `reference.py` is its definition in plain torch, for any device; `numba_cpu.py` is its form
for the CPU and `triton_gpu.py` the one for the GPU, where there is one. The folder's `__init__.py` holds the functions
to call, which choose by a backend's name: the tree's operations have all three forms and are bound to a tree, the
network's have a reference and Triton's. Triton is imported where one of its kernels is about to run, not before.
"""
