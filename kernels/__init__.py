"""Device kernels of the tree search: no model, no environment, only tensors.

Each operation has a folder: `reference.py` is its definition in plain torch (any device), `numba_cpu.py` the fast
CPU form, and the folder's `__init__.py` the function that binds one of them to a tree.
"""
