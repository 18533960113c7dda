"""The stages in their order, with their share of the time. The suite's page of contents."""

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
    wanted: str = ""  # what a healthy machine shows, for the table
    is_correctness: bool = False  # decides the exit code
    module: str = ""  # empty: benchmarks.gpu.<name>
    may_be_cut: bool = False  # what time is left for is enough
    interpreter: bool = False  # in a rehearsal Triton's kernels run, in its interpreter

    @property
    def module_name(self) -> str:
        return self.module or f"benchmarks.gpu.{self.name}"


STAGES = (
    Stage("environment", 20, TORCH, "a forked process uses the card"),
    Stage("tree_kernels", 45, SEARCH, "every launch as the reference", is_correctness=True, interpreter=True),
    Stage("network_kernels", 30, SEARCH, "errors of rounding alone", is_correctness=True, interpreter=True),
    Stage("last_device", 15, SEARCH, "the same on the last GPU", is_correctness=True, may_be_cut=True,
          interpreter=True),
    Stage("conv_tiles", 15, SEARCH, "the same result by every tile", is_correctness=True,
          interpreter=True),
    Stage("sanitizer", 45, SEARCH, "nothing found", is_correctness=True, may_be_cut=True),
    Stage("search_check", 45, SEARCH, "0.1% of roots differ at most", is_correctness=True, interpreter=True),
    Stage("search_speed", 65, SEARCH, "60,000 searches/s or more", interpreter=True),
    Stage("learner", 95, SEARCH, "20,000 samples/s or more", is_correctness=True, may_be_cut=True, interpreter=True),
    Stage("gather", 20, (*TORCH, "triton"), "60% of a copy or more", interpreter=True),
    Stage("sharing", 25, SEARCH, "a sum of shares near 1"),
    Stage("all_reduce", 25, SEARCH, "colocated near alone"),
    Stage("pong", 80, RUN, "the learner busy, exit 0 or 130"),
    Stage("kernel_tests", 15, (*SEARCH, "pytest", "hypothesis"), "no test fails", is_correctness=True, may_be_cut=True,
          interpreter=True),
)  # fmt: skip


def stage_named(name: str) -> Stage:
    """By its name, or by the dotted module of a stage that is not listed. Raises ValueError for neither."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    if "." in name:
        return Stage(name.rpartition(".")[2], 0, (), module=name)
    raise ValueError(f"stage {name}: must be one of {', '.join(stage.name for stage in STAGES)}")
