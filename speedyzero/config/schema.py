"""All settings of a run and their defaults: one frozen dataclass per stage.

`arguments/resolve.py` fills these from a preset and the user's overrides; each role takes the stages that it uses.
`docs/guide/settings.md` is generated from the docstrings, one sentence each. A long file because it holds fields alone.
Sources: the design's `algorithm.md` (EfficientZero, Ye et al. 2021) for the values, part A for our differences.
"""

from dataclasses import dataclass, field
from typing import Any

from speedyzero.config.declare import (
    EVALUATION,
    EXECUTION,
    IDENTITY,
    LAYOUT,
    MAY_GROW,
    PARALLEL,
    choice,
    fraction,
    not_negative,
    plain,
    positive,
)


@dataclass(frozen=True)
class EnvConfig:
    """The game and its preprocessing."""

    game: str = plain("Pong", IDENTITY)
    """Atari game, `MinAtar/Breakout-v1`, Gymnasium id, `Catch`, or your own `my_module:MyGame-v0`."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """Constructor arguments, as `env.kwargs={size: 5}` (Gymnasium)."""
    image_size_px: int = positive(96)
    """Height and width of a stored frame (images)."""
    grayscale: bool = False
    """Store one channel instead of RGB (images)."""
    stack: int = positive(4)
    """Frames per network observation, oldest first."""
    frame_skip: int = positive(4)
    """Raw frames per action; the observation is the maximum of the last two (Atari)."""
    noop_max: int = positive(30)
    """Games start with 0 to noop_max - 1 no-op frames (Atari)."""
    train_limit_frames: int = positive(12_000)
    """Raw frames (outside Atari: steps) after which training games without a limit of their own are truncated."""
    eval_limit_frames: int = positive(108_000)
    """The same in evaluation."""
    life_loss_is_terminal: bool = True
    """A lost life ends the episode in training targets (Atari)."""
    clip_reward: str = choice("auto", "auto", "true", "false")
    """Learn from the reward's sign; `auto`: in Atari games."""
    action_mask: str = choice("refuse", "refuse", "ignore")
    """Refuse games with `info["action_mask"]`, or ignore the mask: the search does not use it (Gymnasium)."""
    sticky_actions: float = fraction(0.0)
    """Probability that the previous action is repeated (Atari)."""
    full_action_space: bool = False
    """All 18 actions instead of the game's minimal set (Atari)."""


@dataclass(frozen=True)
class CodecConfig:
    """Bins over h(x) = sign(x)(sqrt(|x|+1) - 1) + 0.001 x."""

    limit: float = positive(300.0)
    """Bins span -limit to +limit."""
    step: float = positive(1.0)
    """Distance between bins."""

    @property
    def bins(self) -> int:
        return 2 * round(self.limit / self.step) + 1


@dataclass(frozen=True)
class ModelConfig:
    """The network; defaults are EfficientZero's."""

    network: str = choice("auto", "auto", "efficientzero", "nature_cnn", "mlp")
    """`auto`: efficientzero for images of 32 px or more, else mlp; `nature_cnn`: Nature DQN's convolutions."""
    stem_channels: int = positive(32)
    """Channels of the first stage (efficientzero, nature_cnn)."""
    latent_channels: int = positive(64)
    """Channels of latent state (efficientzero) or last convolution (nature_cnn)."""
    reduced_channels: int = positive(16)
    """Channels of each head's 1x1 convolution (efficientzero)."""
    head_hidden: int = positive(32)
    """Hidden units of each head."""
    lstm_hidden: int = positive(512)
    """Hidden units of the value-prefix LSTM."""
    projector_hidden: int = positive(1024)
    """Hidden units of the SimSiam projector."""
    projector_out: int = positive(1024)
    """Output units of the SimSiam projector."""
    predictor_hidden: int = positive(512)
    """Hidden units of the SimSiam predictor."""
    norm: str = choice("batch", "batch", "renorm")
    """Norm of dynamics and heads: batch norm or renormalization (efficientzero)."""
    action_encoding: str = choice("scale", "scale", "one_hot")
    """Action as one plane of a/A or a plane per action (efficientzero)."""
    mlp_hidden: int = positive(128)
    """Hidden units of dynamics and heads (mlp, nature_cnn)."""
    mlp_latent: int = positive(64)
    """Units of the latent state (mlp, nature_cnn)."""
    value_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value head."""
    prefix_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value-prefix (or reward) head."""


@dataclass(frozen=True)
class SearchConfig:
    """Tree search."""

    num_simulations: int = positive(50)
    """Simulations per search."""
    discount: float = fraction(0.988053892)
    """Discount per agent step, of search and targets."""
    algorithm: str = choice("puct", "puct", "gumbel")
    """AlphaZero's pUCT or Gumbel's sequential halving (Danihelka et al. 2022)."""
    backend: str = choice("auto", "auto", "reference", "numba", "triton", use=EXECUTION)
    """`auto`: numba on a CPU, triton on a GPU."""
    fused_root: bool = plain(True, EXECUTION)
    """Root inference adds bias and residual within cuDNN's convolutions (efficientzero, GPU)."""
    prefix_horizon: int = not_negative(5)
    """Steps after which the value prefix restarts; 0: plain rewards."""
    pb_c_base: float = positive(19652.0)
    """Visits at which the prior's weight has grown by log 2 (puct)."""
    pb_c_init: float = not_negative(1.25)
    """Weight of the prior at few visits (puct)."""
    value_delta_max: float = positive(0.01)
    """Smallest range by which Q is normalised (puct)."""
    min_max: str = choice("edges", "edges", "depth_first")
    """Q is normalised by all edges; `depth_first` as in EfficientZero: wider range, softer policies (puct; CPU)."""
    root_noise_fraction: float = fraction(0.25)
    """Share of Dirichlet noise in the root prior (puct)."""
    root_dirichlet_alpha: float = positive(0.3)
    """Concentration of that noise (puct)."""
    first_pick: str = choice("prior", "prior", "uniform")
    """Exploration factor after T visits: sqrt(T+1), ties to the lowest index, or sqrt(T), ties at random (puct)."""
    max_considered_actions: int = positive(16)
    """Root actions at the start of sequential halving (gumbel)."""
    gumbel_scale: float = not_negative(1.0)
    """Scale of the root's Gumbel noise; 0: none (gumbel)."""
    c_visit: float = not_negative(50.0)
    """Added to the largest visit count in the weight of Q (gumbel)."""
    c_scale: float = not_negative(0.1)
    """Scale of Q relative to the logits (gumbel)."""
    min_q_range: float = positive(1e-8)
    """Smallest range of a node's Q that is stretched to 1 (gumbel)."""


@dataclass(frozen=True)
class ActorConfig:
    """Self-play."""

    actors: int = not_negative(0, LAYOUT)
    """Actor processes; 0: one per shard."""
    envs: int = positive(16, LAYOUT)
    """Environments per actor, stepped together; each is a replay lane."""
    temperatures: tuple[float, ...] = (1.0,)
    """T: actions are drawn by visit count to the power 1/T (puct)."""
    temperature_changes: tuple[float, ...] = ()
    """Fractions of all train steps at which the next T applies."""


@dataclass(frozen=True)
class ReplayConfig:
    """Replay shards and sampling."""

    shards: int = not_negative(0, LAYOUT | PARALLEL)
    """Replay shards; 0: one per GPU with a reanalyzer, 1 on a CPU."""
    capacity_steps: int = positive(1_000_000, LAYOUT)
    """Env steps kept over all lanes."""
    alpha: float = not_negative(0.6)
    """Priority exponent."""
    beta_start: float = fraction(0.4)
    """Importance-weight exponent at the first train step."""
    beta_end: float = fraction(1.0)
    """The same at the last; linear in between."""
    uniform_share: float = fraction(0.1)
    """Share of uniform sampling, mixed with priorities."""
    device_mirror: str = choice("auto", "auto", "on", "off", use=EXECUTION)
    """Copy frames to each GPU that reads them; `auto`: if they fit."""


@dataclass(frozen=True)
class TargetConfig:
    """Training targets."""

    unroll_steps: int = not_negative(5)
    """K: model steps unrolled from a position; 0: no dynamics (ablation)."""
    td_steps: int = positive(5)
    """n: rewards summed before the bootstrap, for fresh data."""
    td_decay_fraction: float = not_negative(0.3)
    """n falls by 1 for every such fraction of the planned env steps in a sample's age; 0: never."""
    value: str = choice("network", "network", "root", "mixed")
    """Bootstrap by the target network's value, its search's root value or `mixed`: root value for older data."""
    mixed_start_fraction: float = fraction(0.3)
    """Fraction of the main train steps before searched values are used (mixed)."""
    mixed_fresh_fraction: float = fraction(0.05)
    """Age up to which data is fresh, as a fraction of planned env steps (mixed)."""
    interval_samples: int = positive(51_200)
    """Samples between target networks; each holds weights of one interval earlier."""


@dataclass(frozen=True)
class ReanalyzeConfig:
    """Fresh targets from the target network."""

    policy_share: float = fraction(1.0)
    """Share of policy targets searched anew; others are the actor's."""
    memo: bool = plain(True, EXECUTION)
    """Search a position at most once per target network."""
    root_noise: bool = True
    """Root noise in reanalysis."""
    search_batch: int = positive(1024, EXECUTION)
    """Positions per search call, which bounds memory."""
    ahead: str = choice("auto", "auto", "on", "off", use=EXECUTION)
    """Search for the next target network when idle; `auto`: as processes on GPUs."""
    ahead_batch: int = positive(256, EXECUTION)
    """Positions per search ahead; a requested batch waits for one."""


@dataclass(frozen=True)
class RefreshConfig:
    """Priority Refresh, oldest positions first."""

    enabled: bool = True
    """Whether to refresh."""
    per_sample: float = not_negative(1.0)
    """Positions refreshed per sample trained on."""
    slice: int = not_negative(0)
    """Positions per pass; 0: 2,048 on a GPU, 256 on a CPU."""

    def slice_on(self, device: str) -> int:
        """device: `cpu` or `cuda`."""
        return self.slice or (256 if device == "cpu" else 2048)


@dataclass(frozen=True)
class LearnerConfig:
    """The loss and its data."""

    ranks: int = not_negative(0, LAYOUT | PARALLEL)
    """Learner processes; 0: one per GPU with a learner, 1 on a CPU."""
    batch_size: int = positive(256)
    """Samples per train step over all ranks."""
    prefix_coefficient: float = not_negative(1.0)
    """Weight of the value-prefix (or reward) loss."""
    value_coefficient: float = not_negative(0.25)
    """Weight of the value loss."""
    policy_coefficient: float = not_negative(1.0)
    """Weight of the policy loss."""
    consistency_coefficient: float = not_negative(2.0)
    """Weight of the consistency loss; 0: none."""
    consistency_steps: int = not_negative(0)
    """Unrolled steps in that loss; 0: all."""
    consistency_every: int = positive(1)
    """That loss uses every n-th sample, weighted n times, to save time."""
    dynamics_gradient_scale: float = fraction(0.5)
    """Factor on the gradient at each unrolled state."""
    gradient_clip: float = positive(5.0)
    """Largest global gradient norm."""
    shift_px: int = not_negative(4)
    """Random shift, at most this many pixels (images)."""
    intensity_scale: float = not_negative(0.05)
    """Random brightness 1 + scale * clip(normal, +-2) (images)."""
    publish_interval_samples: int = positive(25_600)
    """Samples between new weights for the actors."""
    folded_targets: bool = False
    """Consistency targets use running statistics (ablation)."""
    cuda_graph: bool = plain(True, EXECUTION)
    """Capture a train step and replay it (GPU)."""
    norms: str = choice("fused", "torch", "compiled", "fused", use=EXECUTION)
    """Batch norm, residual and ReLU by torch, torch.compile or `kernels/norm_act` (GPU)."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its learning rate."""

    name: str = choice("sgd", "sgd", "clipped_lars", "lars", "adamw")
    """`lars`: clipped_lars without the clip."""
    learning_rate: float = positive(0.2)
    """Learning rate between warm-up and decay."""
    momentum: float = fraction(0.9)
    """Momentum; beta 1 of adamw."""
    weight_decay: float = not_negative(1e-4)
    """Weight decay; decoupled in adamw."""
    trust: float = positive(0.02)
    """A layer's step divided by its weight norm, before rate and clip (lars, clipped_lars)."""
    clip: float = positive(10.0)
    """Largest trust ratio (clipped_lars)."""
    eps: float = positive(1e-8)
    """Added to the trust ratio's denominator (lars, clipped_lars)."""
    warmup_fraction: float = fraction(0.01)
    """Fraction of main train steps with linear warm-up."""
    decay_factor: float = not_negative(0.1)
    """Factor on the learning rate at each decay."""
    decay_fraction: float = positive(1.0)
    """Fraction of main train steps between decays."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of a run; other schedules are fractions of it."""

    env_steps: int = positive(100_000, MAY_GROW)
    """Agent steps, head start included."""
    train_steps: int = positive(100_000, MAY_GROW)
    """Train steps while playing (the main phase)."""
    frozen_train_steps: int = not_negative(20_000, MAY_GROW)
    """Train steps after the last env step."""
    head_start_env_steps: int = positive(2_000)
    """Env steps with random actions before training."""
    pacing_slack_env_steps: int = not_negative(0)
    """Env steps that play may be ahead of learning; raised to the least that works."""

    @property
    def total_train_steps(self) -> int:
        return self.train_steps + self.frozen_train_steps


@dataclass(frozen=True)
class PlacementConfig:
    """GPU of each process."""

    kind: str = choice("auto", "auto", "colocated", "split")
    """`colocated`, `auto`: all roles on every GPU; `split`: no learner on one GPU in eight."""
    actors: tuple[int, ...] = ()
    """GPU of each actor; empty: by kind."""
    shards: tuple[int, ...] = ()
    """GPU of each shard's reanalyzer; empty: by kind."""
    learners: tuple[int, ...] = ()
    """GPU of each learner rank; empty: by kind."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Full games, no root noise, raw rewards."""

    episodes: int = positive(32)
    """Episodes at the end of the run."""
    interval_train_steps: int = not_negative(10_000)
    """Train steps between evaluations; 0: only at the end."""
    interval_episodes: int = positive(32)
    """Episodes of an interval evaluation."""
    parallel_envs: int = positive(32, EXECUTION)
    """Episodes played at once."""
    num_simulations: int = not_negative(0)
    """Simulations per search; 0: as in training."""
    action: str = choice("most_visited", "most_visited", "sampled")
    """`sampled`: drawn from the search's improved policy."""
    blind: bool = True
    """Also score random actions at the agent's action frequencies, at the end."""
    video: bool = plain(True, EXECUTION)
    """Film the first episode at the end."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Resumable checkpoints."""

    interval_minutes: float = not_negative(10.0)
    """Minutes between checkpoints; 0: off."""
    interval_train_steps: int = not_negative(0)
    """Train steps between checkpoints; 0: off."""
    keep_last: int = not_negative(2)
    """Resumable checkpoints kept; of older ones, scored weights. 0: no checkpoints, no replay log."""
    restarts: int = not_negative(3)
    """Restarts from the last checkpoint after a learner died."""


@dataclass(frozen=True)
class SupervisorConfig:
    """Supervision of processes."""

    silent_s: float = positive(15.0)
    """Kill a process after this long without a heartbeat."""
    hang_s: float = positive(120.0)
    """Kill a process if one step or wait takes longer."""
    start_s: float = positive(300.0)
    """The same for its start and first steps, which compile."""
    max_restarts: int = not_negative(5)
    """Replacements of each actor or reanalyzer; the next death ends the run."""
    record_interval_s: float = positive(10.0)
    """Seconds between records of rings, waits and lags."""


@dataclass(frozen=True)
class ProfileConfig:
    """What `--profile` records besides spans."""

    kernels: bool = False
    """GPU activity by torch.profiler; slow and large."""
    nvtx: bool = False
    """Emit spans as NVTX ranges, for an external profiler (GPU)."""


@dataclass(frozen=True)
class Config:
    """Intervals are in samples, whatever the batch size."""

    preset: str = plain("efficientzero", EXECUTION)
    """File of `configs/` (`--preset`)."""
    seed: int = not_negative(0, IDENTITY)
    """Seed of games, networks, searches and sampling."""
    gpus: int = not_negative(0, EXECUTION | LAYOUT)
    """GPUs to use; 0: CPU. Not given: all visible (0 in presets of small games)."""
    cpu_threads: int = not_negative(0, EXECUTION)
    """Tensor threads per process; 0: cores divided among processes."""
    shm_dir: str = plain("", EXECUTION)
    """Directory for shared segments as files; empty: /dev/shm."""
    run_dir: str = plain("", EXECUTION)
    """Output directory; empty: `runs/GAME-PRESET-seedN-001`."""
    init_from: str = ""
    """Run or checkpoint to take initial weights from."""
    env: EnvConfig = field(default_factory=EnvConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    reanalyze: ReanalyzeConfig = field(default_factory=ReanalyzeConfig)
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig, metadata={"use": EVALUATION})
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig, metadata={"use": EXECUTION})
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig, metadata={"use": EXECUTION})
    placement: PlacementConfig = field(default_factory=PlacementConfig, metadata={"use": EXECUTION | LAYOUT})
    profile: ProfileConfig = field(default_factory=ProfileConfig, metadata={"use": EXECUTION})

    @property
    def target_interval(self) -> int:
        """Train steps between target networks."""
        return max(1, round(self.target.interval_samples / self.learner.batch_size))

    @property
    def publish_interval(self) -> int:
        """Train steps between weight publications to the actors."""
        return max(1, round(self.learner.publish_interval_samples / self.learner.batch_size))


def get(config: Config, path: str):
    """The value at a dotted path, `get(config, "search.discount")`."""
    value = config
    for name in path.split("."):
        value = getattr(value, name)
    return value
