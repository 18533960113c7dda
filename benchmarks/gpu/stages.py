"""The stages in their order, with their share of the time. The suite's page of contents."""

from __future__ import annotations

from dataclasses import dataclass

NOMINAL_BUDGET_S = 540.0
TORCH = ("torch", "numpy")
SEARCH = (*TORCH, "numba", "triton")
# What a whole run as processes needs, as pyproject.toml names it.
RUN = (*SEARCH, "ale_py", "gymnasium", "posix_ipc", "omegaconf", "safetensors", "tensorboard", "tqdm", "zstandard")


@dataclass(frozen=True)
class Stage:
    """One line of the suite."""

    name: str
    seconds: float  # of NOMINAL_BUDGET_S; what earlier stages left over comes on top
    packages: tuple[str, ...]  # by the names they are imported by
    is_correctness: bool = False  # decides the exit code
    module: str = ""  # empty: benchmarks.gpu.<name>
    may_be_cut: bool = False  # what time is left for is enough
    interpreter: bool = False  # in a rehearsal Triton's kernels run, in its interpreter

    @property
    def module_name(self) -> str:
        return self.module or f"benchmarks.gpu.{self.name}"


STAGES = (
    Stage("environment", 20, TORCH),
    Stage("tree_kernels", 40, SEARCH, is_correctness=True, interpreter=True),
    Stage("network_kernels", 25, SEARCH, is_correctness=True, interpreter=True),
    Stage("last_device", 15, SEARCH, is_correctness=True, may_be_cut=True, interpreter=True),
    Stage("sanitizer", 35, SEARCH, is_correctness=True),
    Stage("search_check", 50, SEARCH, is_correctness=True, interpreter=True),
    Stage("search_speed", 90, SEARCH, interpreter=True),
    Stage("learner", 110, SEARCH, is_correctness=True, may_be_cut=True, interpreter=True),
    Stage("gather", 25, (*TORCH, "triton"), interpreter=True),
    Stage("sharing", 25, SEARCH),
    Stage("pong", 90, RUN),
    Stage(
        "kernel_tests", 15, (*SEARCH, "pytest", "hypothesis"), is_correctness=True, may_be_cut=True, interpreter=True
    ),
)


def stage_named(name: str) -> Stage:
    """By its name, or by the dotted module of a stage that is not listed. Raises ValueError for neither."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    if "." in name:
        return Stage(name.rpartition(".")[2], 0, (), module=name)
    raise ValueError(f"stage {name}: must be one of {', '.join(stage.name for stage in STAGES)}")
