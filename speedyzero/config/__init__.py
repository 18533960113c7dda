"""The configuration of a run. The settings: `schema.py`."""

# ruff: noqa: F401  # what others import from here

from speedyzero.config.declare import choices
from speedyzero.config.schema import (
    ActorConfig,
    CheckpointConfig,
    CodecConfig,
    Config,
    EnvConfig,
    EvaluateConfig,
    LearnerConfig,
    ModelConfig,
    OptimizerConfig,
    PlacementConfig,
    ProfileConfig,
    ReanalyzeConfig,
    RefreshConfig,
    ReplayConfig,
    ScheduleConfig,
    SearchConfig,
    SupervisorConfig,
    TargetConfig,
    get,
)
