"""All settings of a run and their defaults: one frozen dataclass per stage.

`arguments/resolve.py` fills these from a preset and the user's overrides; each role takes the stages that it uses.
The docstrings are `docs/guide/settings.md`. Longer than other files because it holds fields and nothing else.
Sources: the design's `algorithm.md` (EfficientZero, Ye et al. 2021) for the values, part A for our differences.
"""

from __future__ import annotations

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
    """An Atari game (`Pong`), `MinAtar/Breakout-v1`, a Gymnasium id with discrete actions, `Catch`, or a game of your
    own: `my_module:MyGame-v0`, where importing `my_module` registers MyGame-v0 with Gymnasium."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of the game's constructor, such as `env.kwargs={size: 5}` (Gymnasium)."""
    image_size_px: int = positive(96)
    """Height and width of a stored frame (images only)."""
    grayscale: bool = False
    """Store one channel instead of RGB (images only)."""
    stack: int = positive(4)
    """Frames per network observation, oldest first."""
    frame_skip: int = positive(4)
    """Raw frames per action; the observation is the pixelwise maximum of the last two (Atari)."""
    noop_max: int = positive(30)
    """A new game starts with 0 to noop_max - 1 raw no-op frames (Atari)."""
    train_limit_frames: int = positive(12_000)
    """Raw frames after which a training game is truncated (Atari, MinAtar, and Gymnasium games without a limit of their
    own; outside Atari a step is one frame)."""
    eval_limit_frames: int = positive(108_000)
    """Raw frames after which an evaluation game is truncated (as for training)."""
    life_loss_is_terminal: bool = True
    """In training, a lost life ends the episode for the targets while play continues (Atari)."""
    clip_reward: str = choice("auto", "auto", "true", "false")
    """Learn from sign(reward); `auto`: only in Atari games. Scores always use the raw reward."""
    action_mask: str = choice("refuse", "refuse", "ignore")
    """Reject a game that marks its legal actions in `info["action_mask"]`, or ignore the mask, which the search does
    not use; safe where every action is accepted, as in Taxi (Gymnasium)."""
    sticky_actions: float = fraction(0.0)
    """Probability that the previous action is repeated (Atari); 0.25 in Machado et al. 2018."""
    full_action_space: bool = False
    """All 18 Atari actions instead of the game's minimal set."""


@dataclass(frozen=True)
class CodecConfig:
    """Categorical representation of a scalar x: bins over h(x) = sign(x)(sqrt(|x|+1) - 1) + 0.001 x."""

    limit: float = positive(300.0)
    """Bins range from -limit to +limit in h(x)."""
    step: float = positive(1.0)
    """Distance between neighbouring bins in h(x)."""

    @property
    def bins(self) -> int:
        return 2 * round(self.limit / self.step) + 1


@dataclass(frozen=True)
class ModelConfig:
    """The network. Defaults are EfficientZero's for 96x96 Atari."""

    network: str = choice("auto", "auto", "efficientzero", "nature_cnn", "mlp")
    """`auto`: efficientzero for images of 32 px or more, else mlp. `nature_cnn`: the strided convolutions of Mnih et
    al. 2015 on standardised input, then as mlp."""
    stem_channels: int = positive(32)
    """Channels of the representation's first stage (efficientzero, nature_cnn)."""
    latent_channels: int = positive(64)
    """Channels of the latent state (efficientzero) or of the last convolutions (nature_cnn)."""
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
    """Normalisation of dynamics and heads in training. `renorm`: batch renormalization (Ioffe 2017), with the running
    statistics that inference uses (efficientzero)."""
    action_encoding: str = choice("scale", "scale", "one_hot")
    """`scale`: one plane of a/A, as in the reference; `one_hot`: one plane per action (efficientzero)."""
    mlp_hidden: int = positive(128)
    """Hidden units of dynamics, policy and value (mlp, nature_cnn) and of the representation (mlp)."""
    mlp_latent: int = positive(64)
    """Units of the latent state (mlp, nature_cnn)."""
    value_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value head."""
    prefix_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value-prefix (or reward) head."""


@dataclass(frozen=True)
class SearchConfig:
    """Monte-Carlo tree search. `discount` and `prefix_horizon` apply to the whole run."""

    num_simulations: int = positive(50)
    """Simulations per search; each adds one node."""
    discount: float = fraction(0.988053892)
    """Discount per agent step, 0.997^4 for a frame skip of 4."""
    algorithm: str = choice("puct", "puct", "gumbel")
    """`puct`: AlphaZero's rule with noise at the root; `gumbel`: sequential halving (Danihelka et al. 2022)."""
    backend: str = choice("auto", "auto", "reference", "numba", "triton", use=EXECUTION)
    """`auto`: numba on the CPU, triton on a GPU."""
    prefix_horizon: int = not_negative(5)
    """Steps after which the value prefix restarts; 0: the model predicts plain rewards."""
    pb_c_base: float = positive(19652.0)
    """Visits at which the weight of the prior has grown by log 2 (puct)."""
    pb_c_init: float = not_negative(1.25)
    """Weight of the prior at few visits (puct)."""
    value_delta_max: float = positive(0.01)
    """Lower bound of the range by which min-max normalisation divides Q (puct)."""
    min_max: str = choice("edges", "edges", "depth_first")
    """Extremes that normalise Q (puct). `edges`: of all edges' Q so far. `depth_first`: as in EfficientZero's code,
    with rewards measured from the previously visited node instead of the parent: a wider range, softer policies
    (CPU)."""
    root_noise_fraction: float = fraction(0.25)
    """Share of Dirichlet noise in the root prior (puct)."""
    root_dirichlet_alpha: float = positive(0.3)
    """Concentration of the Dirichlet noise; smaller values favour fewer actions (puct)."""
    first_pick: str = choice("prior", "prior", "uniform")
    """Exploration factor after T visits (puct). `prior`: sqrt(T+1), ties to the lowest index. `uniform`: sqrt(T), ties
    within 1e-6 at random."""
    max_considered_actions: int = positive(16)
    """Root actions at the start of sequential halving (gumbel)."""
    gumbel_scale: float = not_negative(1.0)
    """Scale of the Gumbel noise at the root; 0: no noise (gumbel)."""
    c_visit: float = not_negative(50.0)
    """Added to the largest visit count in the weight of Q (gumbel)."""
    c_scale: float = not_negative(0.1)
    """Scale of Q relative to the logits (gumbel)."""
    min_q_range: float = positive(1e-8)
    """Smallest range of a node's Q that is rescaled to 1; larger values keep small differences small (gumbel)."""


@dataclass(frozen=True)
class ActorConfig:
    """Self-play."""

    actors: int = not_negative(0, LAYOUT)
    """Actor processes; 0: one per shard."""
    envs: int = positive(16, LAYOUT)
    """Environments per actor, stepped in lockstep; each is one replay lane."""
    temperatures: tuple[float, ...] = (1.0,)
    """Temperatures T: an action is drawn in proportion to its visit count to the power 1/T (puct)."""
    temperature_changes: tuple[float, ...] = ()
    """Fractions of all train steps at which the next temperature applies."""


@dataclass(frozen=True)
class ReplayConfig:
    """Replay shards and sampling."""

    shards: int = not_negative(0, LAYOUT | PARALLEL)
    """Replay shards, each with its own reanalyzer; 0: one per GPU that hosts a reanalyzer, 1 on the CPU."""
    capacity_steps: int = positive(1_000_000, LAYOUT)
    """Rows over all lanes; no more are allocated than the run can fill."""
    alpha: float = not_negative(0.6)
    """Priority exponent."""
    beta_start: float = fraction(0.4)
    """Importance-weight exponent at the first train step."""
    beta_end: float = fraction(1.0)
    """Importance-weight exponent at the last train step; linear in between."""
    uniform_share: float = fraction(0.1)
    """Share of uniform sampling: P = (1 - share) p^alpha / sum + share / N."""
    device_mirror: str = choice("auto", "auto", "on", "off", use=EXECUTION)
    """Keep the frames on each GPU that reads them; `auto`: where they fit beside the run's estimated GPU memory
    (inline: in half of the free memory)."""


@dataclass(frozen=True)
class TargetConfig:
    """Training targets. The discount is `search.discount`."""

    unroll_steps: int = not_negative(5)
    """K: model steps unrolled from a sampled position; 0 trains no dynamics (ablation only)."""
    td_steps: int = positive(5)
    """n: rewards summed before the bootstrap, for fresh data."""
    td_decay_fraction: float = not_negative(0.3)
    """n shrinks by 1 for each such fraction of the planned env steps in a sample's age; 0: never."""
    value: str = choice("network", "network", "root", "mixed")
    """Bootstrap from the target network's value or its search's root value; `mixed` (EfficientZero V2): from the
    network's value at first and for fresh data, the searched value itself for older data."""
    mixed_start_fraction: float = fraction(0.3)
    """Fraction of the main train steps after which searched values are used (mixed)."""
    mixed_fresh_fraction: float = fraction(0.05)
    """Data is fresh up to this fraction of the planned env steps in age (mixed)."""
    interval_samples: int = positive(51_200)
    """Samples trained on between target networks; each holds the weights of one interval before."""


@dataclass(frozen=True)
class ReanalyzeConfig:
    """Fresh policy and value targets from the target network."""

    policy_share: float = fraction(1.0)
    """Share of a batch whose policy targets are searched anew; the rest keep the actor's visit fractions."""
    memo: bool = plain(True, EXECUTION)
    """Search a position at most once per target network."""
    root_noise: bool = True
    """Root noise in reanalysis, keyed by (seed, lane, step, version)."""
    search_batch: int = positive(1024, EXECUTION)
    """Positions per search call; bounds memory."""
    ahead: str = choice("auto", "auto", "on", "off", use=EXECUTION)
    """Use idle time to search for the next target network (with `memo`). `auto`: on GPUs, in process mode."""
    ahead_batch: int = positive(256, EXECUTION)
    """Positions per search ahead; a batch requested meanwhile waits for it."""


@dataclass(frozen=True)
class RefreshConfig:
    """Priority Refresh: priorities recomputed with the newest weights, oldest first."""

    enabled: bool = True
    """Whether priorities are refreshed."""
    per_sample: float = not_negative(1.0)
    """Positions refreshed per sample trained on."""
    slice: int = positive(256)
    """Positions refreshed per pass."""


@dataclass(frozen=True)
class LearnerConfig:
    """The loss and its data."""

    ranks: int = not_negative(0, LAYOUT | PARALLEL)
    """Learner processes that train one network; 0: one per GPU that hosts a learner, 1 on the CPU."""
    batch_size: int = positive(256)
    """Samples per train step over all ranks."""
    prefix_coefficient: float = not_negative(1.0)
    """Weight of the value-prefix (or reward) loss."""
    value_coefficient: float = not_negative(0.25)
    """Weight of the value loss."""
    policy_coefficient: float = not_negative(1.0)
    """Weight of the policy loss."""
    consistency_coefficient: float = not_negative(2.0)
    """Weight of the consistency loss between unrolled and observed states; 0: none."""
    consistency_steps: int = not_negative(0)
    """Unrolled steps in the consistency loss; 0: all of `target.unroll_steps`."""
    consistency_every: int = positive(1)
    """The consistency loss uses every n-th sample of a batch, weighted n times, to save representation passes."""
    dynamics_gradient_scale: float = fraction(0.5)
    """Factor on the total gradient at each unrolled state, as in the reference's own-step form."""
    gradient_clip: float = positive(5.0)
    """Largest global gradient norm, after the division by the unroll steps."""
    shift_px: int = not_negative(4)
    """Random shift by up to this many pixels, edges replicated (images); 0: none."""
    intensity_scale: float = not_negative(0.05)
    """Random brightness 1 + scale * clip(normal, +-2) (images); 0: none."""
    publish_interval_samples: int = positive(25_600)
    """Samples trained on between weight publications to the actors."""
    folded_targets: bool = False
    """Consistency targets use running instead of batch statistics, folded into the weights (ablation)."""
    cuda_graph: bool = plain(True, EXECUTION)
    """Capture a train step once and replay it (GPU)."""
    norms: str = choice("fused", "torch", "compiled", "fused", use=EXECUTION)
    """Batch norm, residual and ReLU on a GPU: `torch`: one by one; `compiled`: torch.compile, which takes minutes at
    the start; `fused`: `kernels/norm_act`. `make gpu-check` measures which is fastest."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning rate."""

    name: str = choice("sgd", "sgd", "clipped_lars", "lars", "adamw")
    """`lars`: clipped_lars without the clip."""
    learning_rate: float = positive(0.2)
    """Learning rate after the warm-up, before any decay."""
    momentum: float = fraction(0.9)
    """Momentum (sgd, clipped_lars, lars) or beta 1 (adamw)."""
    weight_decay: float = not_negative(1e-4)
    """Weight decay (adamw: decoupled)."""
    trust: float = positive(0.02)
    """A layer's step as a share of its weight norm, before the rate and the clip (clipped_lars, lars)."""
    clip: float = positive(10.0)
    """Largest trust ratio, the factor on a layer's gradient (clipped_lars)."""
    eps: float = positive(1e-8)
    """Added to the norm that the trust ratio divides by (clipped_lars, lars)."""
    warmup_fraction: float = fraction(0.01)
    """Fraction of the main train steps over which the rate grows linearly from 0."""
    decay_factor: float = not_negative(0.1)
    """Factor on the learning rate at each decay."""
    decay_fraction: float = positive(1.0)
    """Fraction of the main train steps between decays, after the warm-up."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of a run. Every other schedule is a fraction of it."""

    env_steps: int = positive(100_000, MAY_GROW)
    """Agent steps in total, the head start included."""
    train_steps: int = positive(100_000, MAY_GROW)
    """Train steps paced with the env steps (the main phase)."""
    frozen_train_steps: int = not_negative(20_000, MAY_GROW)
    """Train steps after the last env step, on frozen data."""
    head_start_env_steps: int = positive(2_000)
    """Env steps with random actions before training starts."""
    pacing_slack_env_steps: int = not_negative(0)
    """Env steps that play may be ahead of learning; at least one tick of all envs plus two train steps' share of
    play."""

    @property
    def total_train_steps(self) -> int:
        return self.train_steps + self.frozen_train_steps


@dataclass(frozen=True)
class PlacementConfig:
    """GPU of each process. Counts: `actor.actors`, `replay.shards`, `learner.ranks`."""

    kind: str = choice("auto", "auto", "colocated", "split")
    """`colocated`: every GPU hosts all roles. `split`: one GPU in eight hosts no learner. `auto`: colocated."""
    actors: tuple[int, ...] = ()
    """GPU of each actor; empty: by kind."""
    shards: tuple[int, ...] = ()
    """GPU of each shard's reanalyzer; empty: by kind."""
    learners: tuple[int, ...] = ()
    """GPU of each learner rank; empty: by kind."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation: full games, no root noise, raw rewards."""

    episodes: int = positive(32)
    """Episodes at the end of the run."""
    interval_train_steps: int = not_negative(10_000)
    """Train steps between evaluations; 0: only at the end."""
    interval_episodes: int = positive(32)
    """Episodes of an interval evaluation."""
    parallel_envs: int = positive(32, EXECUTION)
    """Episodes played in parallel as one batch."""
    num_simulations: int = not_negative(0)
    """Simulations per search; 0: as in training."""
    action: str = choice("most_visited", "most_visited", "sampled")
    """`sampled`: drawn from the search's improved policy, for learnt mixed strategies."""
    blind: bool = True
    """At the end of the run, also score random actions drawn with the agent's action frequencies (the blind twin)."""
    video: bool = plain(True, EXECUTION)
    """Record the first evaluation episode at the end of the run."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Resumable checkpoints: at intervals, at the end and on interruption."""

    interval_minutes: float = not_negative(10.0)
    """Minutes between checkpoints, so at most this much work is lost; 0: no time interval."""
    interval_train_steps: int = not_negative(0)
    """Train steps between checkpoints; 0: no step interval."""
    keep_last: int = not_negative(2)
    """Resumable checkpoints kept; older ones keep only weights that were scored. 0: no checkpoints and no replay
    log."""
    restarts: int = not_negative(3)
    """Automatic restarts from the last checkpoint after the learner group died."""


@dataclass(frozen=True)
class SupervisorConfig:
    """Supervision of a run's processes."""

    silent_s: float = positive(15.0)
    """A process without a heartbeat (sent twice a second) for this long is killed."""
    hang_s: float = positive(120.0)
    """A role that finishes neither a step nor a wait for this long is killed; its first steps have `start_s`."""
    start_s: float = positive(300.0)
    """A process that takes longer to start or to finish one of its first steps, which compile, is killed."""
    max_restarts: int = not_negative(5)
    """Times that each actor or reanalyzer is replaced after a death; one more death ends the run."""
    record_interval_s: float = positive(10.0)
    """Seconds between metric records of rings, waits and lags."""


@dataclass(frozen=True)
class ProfileConfig:
    """What `--profile` records besides spans."""

    kernels: bool = False
    """Record GPU activity with torch.profiler in the same trace; slow and large, a few seconds are enough."""
    nvtx: bool = False
    """Emit spans as NVTX ranges too, for an external profiler (GPU)."""


@dataclass(frozen=True)
class Config:
    """A whole run. Cadences are counted in samples, so that they do not depend on the batch size."""

    preset: str = plain("efficientzero", EXECUTION)
    """File of `configs/` that the run started from (`--preset`)."""
    seed: int = not_negative(0, IDENTITY)
    """Seed of everything random: games, networks, searches, sampling."""
    gpus: int = not_negative(0, EXECUTION | LAYOUT)
    """GPUs to use; 0: CPU."""
    cpu_threads: int = not_negative(0, EXECUTION)
    """Tensor threads per process; 0: the cores divided among the processes (inline with an mlp: 1)."""
    shm_dir: str = plain("", EXECUTION)
    """Directory for shared segments as files, where /dev/shm is too small; empty: /dev/shm."""
    run_dir: str = plain("", EXECUTION)
    """Output directory; empty: runs/<game>-<preset>-seed<seed>-<number>."""
    init_from: str = ""
    """Run or checkpoint that a new run takes its initial weights from, and nothing else."""
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
