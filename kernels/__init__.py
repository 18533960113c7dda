"""Device kernels on tensors, independent of models and environments.

One folder per operation: `reference.py` is its definition in plain torch for any device, `numba_cpu.py` the CPU and
`triton_gpu.py` the GPU implementation, if any. The folder's `__init__.py` holds the public functions, which select an
implementation by the backend's name. Tree operations have all three and are bound to a tree; network operations have a
reference and Triton. Triton is imported only when one of its kernels is about to run.
"""
