"""What a run's processes have in common: imported, and readied, once, by the fork server they come from."""

import torch._dynamo  # torch's first optimiser imports it, for two seconds

import speedyzero.actor.process
import speedyzero.evaluate.process
import speedyzero.learner.process
import speedyzero.reanalyze.process  # noqa: F401
from speedyzero.system import keyed_random

assert not torch.cuda.is_initialized(), "a process with a CUDA context cannot be forked"
keyed_random.keys(0, 0, 0)  # numba readies its tables in the first call of any of its functions: 0.6 s
