"""Modules and caches that a run's processes share, loaded once by the fork server."""

import torch._dynamo  # imported by torch's first optimiser, in 2 s

import speedyzero.actor.process
import speedyzero.evaluate.process
import speedyzero.learner.process
import speedyzero.reanalyze.process  # noqa: F401
from speedyzero.system import keyed_random

assert not torch.cuda.is_initialized(), "a process with a CUDA context cannot be forked"
keyed_random.keys(0, 0, 0)  # numba initialises in its first call: 0.6 s
