"""What a run is made of: one frozen dataclass per stage, every default in one place.

`resolve.py` fills these from a preset and the user's overrides; every role takes the stages that it uses.
Choices are listed in a field's metadata, so that an error can name what is allowed. Sources: the design's
`algorithm.md` (EfficientZero, Ye et al. 2021) for the values, part A for where we differ.

Longer than other files, for it holds fields and nothing else: whoever looks for a setting, or its default, looks here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def choice(default: str, *allowed: str) -> str:
    """A string field that may only take one of `allowed`."""
    return field(default=default, metadata={"choices": allowed})


def choices(stage: type, name: str) -> tuple[str, ...]:
    """What a field made by `choice` may be: `choices(TargetConfig, "value")`."""
    return next(one for one in fields(stage) if one.name == name).metadata["choices"]


@dataclass(frozen=True)
class EnvConfig:
    """The game and how a frame of it becomes an observation."""

    game: str = "Pong"
    """An Atari ROM by plain name, `MinAtar/Breakout-v1`, a Gymnasium id with discrete actions, `Catch`, or a game of
    your own: `my_module:MyGame-v0`, where importing `my_module` registers MyGame-v0 with Gymnasium."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of the game's constructor, as `env.kwargs={size: 5}` (Gymnasium)."""
    image_size_px: int = 96
    """Height and width of a stored frame (images only)."""
    grayscale: bool = False
    """Store one channel instead of RGB (images only)."""
    stack: int = 4
    """Frames in one observation of the network, oldest first."""
    frame_skip: int = 4
    """Raw Atari frames per action; the observation is the pixelwise maximum of the last two."""
    noop_max: int = 30
    """A new Atari game starts with 0 .. noop_max - 1 raw no-op frames."""
    train_limit_frames: int = 12_000
    """Raw frames after which a training game is truncated (Atari; a step is a frame in MinAtar, and in Gymnasium games
    that have no limit of their own)."""
    eval_limit_frames: int = 108_000
    """Raw frames after which an evaluation game is truncated (as for training)."""
    life_loss_is_terminal: bool = True
    """In training a lost life ends the episode for the targets; play goes on (Atari)."""
    clip_reward: str = choice("auto", "auto", "true", "false")
    """Learn from sign(reward); `auto`: in Atari games alone. Scores always use the raw reward."""
    action_mask: str = choice("refuse", "refuse", "ignore")
    """What to do where a game marks its legal actions (`info["action_mask"]`), which the search does not heed: `ignore`
    is for games that bear every action, as Taxi does (Gymnasium)."""
    sticky_actions: float = 0.0
    """Probability that an emulator repeats the action before instead (Atari); 0.25 in Machado et al. 2018."""
    full_action_space: bool = False
    """All 18 Atari actions instead of the game's minimal set."""


@dataclass(frozen=True)
class CodecConfig:
    """The categorical representation of a scalar: bins over h(x), h(x) = sign(x)(sqrt(|x|+1) - 1) + 0.001 x."""

    limit: float = 300.0
    """Bins reach from -limit to +limit in h(x)."""
    step: float = 1.0
    """Distance between two bins in h(x)."""

    @property
    def bins(self) -> int:
        return 2 * round(self.limit / self.step) + 1


@dataclass(frozen=True)
class ModelConfig:
    """The network's size. Defaults are EfficientZero's for 96x96 Atari."""

    network: str = choice("auto", "auto", "efficientzero", "nature_cnn", "mlp")
    """`auto`: efficientzero for images of 32 px or more, mlp for everything else. `nature_cnn`: strided convolutions
    into a vector (Mnih et al. 2015), on standardised input, and from there on as mlp: a search without convolutions."""
    stem_channels: int = 32
    """Channels of the representation's first stage (efficientzero, nature_cnn)."""
    latent_channels: int = 64
    """Channels of the latent state (efficientzero), of the last convolutions (nature_cnn)."""
    reduced_channels: int = 16
    """Channels of each head's 1x1 convolution (efficientzero)."""
    head_hidden: int = 32
    """Hidden units of each head."""
    lstm_hidden: int = 512
    """Hidden units of the value-prefix LSTM."""
    projector_hidden: int = 1024
    """Hidden units of the SimSiam projector."""
    projector_out: int = 1024
    """Output units of the SimSiam projector."""
    predictor_hidden: int = 512
    """Hidden units of the SimSiam predictor."""
    norm: str = choice("batch", "batch", "renorm")
    """Of the dynamics and the heads, in training. `renorm`: batch renormalization (Ioffe 2017), by the statistics that
    inference uses, so that a search finds every depth of its tree as training had it (efficientzero)."""
    action_encoding: str = choice("scale", "scale", "one_hot")
    """`scale`: one plane of a/A, as the reference; `one_hot`: a plane an action (efficientzero)."""
    mlp_hidden: int = 128
    """Hidden units of dynamics, policy and value, and of the mlp's representation (mlp, nature_cnn)."""
    mlp_latent: int = 64
    """Units of the latent state (mlp, nature_cnn)."""
    value_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value head."""
    prefix_codec: CodecConfig = field(default_factory=CodecConfig)
    """Bins of the value-prefix (or reward) head."""


@dataclass(frozen=True)
class SearchConfig:
    """Monte-Carlo tree search. `discount` and `prefix_horizon` here are the whole run's."""

    num_simulations: int = 50
    """Simulations per search; each adds one node."""
    discount: float = 0.988053892
    """Discount per agent step, 0.997^4 for a frame skip of 4."""
    algorithm: str = choice("puct", "puct", "gumbel")
    """`puct`: AlphaZero's rule with noise at the root; `gumbel`: sequential halving (Danihelka et al. 2022)."""
    backend: str = choice("auto", "auto", "reference", "numba", "triton")
    """`auto`: numba for tensors on the CPU, triton for those on a GPU."""
    prefix_horizon: int = 5
    """Steps after which the value prefix starts anew; 0: the model returns plain rewards."""
    pb_c_base: float = 19652.0
    """Visits at which the weight of the prior has grown by log 2 (puct)."""
    pb_c_init: float = 1.25
    """Weight of the prior at few visits (puct)."""
    value_delta_max: float = 0.01
    """Smallest range that the min-max normalisation of Q divides by (puct)."""
    min_max: str = choice("edges", "edges", "depth_first")
    """What Q is normalised by (puct). `edges`: extremes of all edges' Q so far. `depth_first`: as EfficientZero's code
    has it, rewards measured from the node visited before, not from the parent: a wider range, softer policies (CPU)."""
    root_noise_fraction: float = 0.25
    """Share of Dirichlet noise in the root's prior (puct)."""
    root_dirichlet_alpha: float = 0.3
    """Concentration of that noise; the smaller, the fewer actions it picks (puct)."""
    first_pick: str = choice("prior", "prior", "uniform")
    """`prior`: sqrt(T+1), ties to the lowest index. `uniform`: sqrt(T), ties within 1e-6 at random (puct)."""
    max_considered_actions: int = 16
    """Root actions that sequential halving starts with (gumbel)."""
    gumbel_scale: float = 1.0
    """Scale of the Gumbel noise at the root; 0: none (gumbel)."""
    c_visit: float = 50.0
    """Added to the largest visit count in the weight of Q (gumbel)."""
    c_scale: float = 0.1
    """Scale of Q against the logits (gumbel)."""
    min_q_range: float = 1e-8
    """Smallest range of a node's Q that is stretched to 1; a larger one keeps small differences small (gumbel)."""


@dataclass(frozen=True)
class ActorConfig:
    """Self-play."""

    actors: int = 0
    """Actor processes; 0: one per shard."""
    envs: int = 16
    """Environments per actor, stepped in lock-step; each is one lane of replay."""
    temperatures: tuple[float, ...] = (1.0,)
    """Visit counts to the power 1/T are the odds of an action (puct)."""
    temperature_changes: tuple[float, ...] = ()
    """Fractions of all train steps at which the next temperature takes over."""


@dataclass(frozen=True)
class ReplayConfig:
    """The shards and how they are sampled."""

    shards: int = 0
    """Parts of the replay, each with a reanalyzer of its own; 0: one per GPU that is to have one, 1 on the CPU."""
    capacity_steps: int = 1_000_000
    """Rows over all lanes; never more than the run can fill are allocated."""
    alpha: float = 0.6
    """Exponent of the priorities."""
    beta_start: float = 0.4
    """Exponent of the importance weights at the first train step."""
    beta_end: float = 1.0
    """Exponent of the importance weights at the last train step; linear in between."""
    uniform_share: float = 0.1
    """Share of uniform sampling mixed in: P = (1 - share) p^alpha / sum + share / N."""
    device_mirror: str = choice("auto", "auto", "on", "off")
    """Keep the frames on each GPU that reads them; `auto`: where they fit beside all else that the run takes
    there, as estimated when it starts (inline: into half of what is free)."""


@dataclass(frozen=True)
class TargetConfig:
    """What the learner is taught. The discount is `search.discount`."""

    unroll_steps: int = 5
    """K: model steps unrolled from a sampled position; 0 trains no dynamics (for ablation only)."""
    td_steps: int = 5
    """n: rewards summed before the bootstrap, for fresh data."""
    td_decay_fraction: float = 0.3
    """n shrinks by one per this fraction of the planned env steps in age; 0: never."""
    value: str = choice("network", "network", "root", "mixed")
    """Bootstrap from the target network's value or from its search's root value; `mixed` (EfficientZero V2): from the
    network's value at first and for fresh data, the searched value itself for older data."""
    mixed_start_fraction: float = 0.3
    """Fraction of the main train steps from which on searched values are used (mixed). B.9."""
    mixed_fresh_fraction: float = 0.05
    """Fraction of the planned env steps up to whose age data counts as fresh (mixed). B.9."""
    interval_samples: int = 51_200
    """Samples trained on between two target networks; each is the weights of one interval before."""


@dataclass(frozen=True)
class ReanalyzeConfig:
    """Fresh policies and values from the target network."""

    policy_share: float = 1.0
    """Share of a batch whose policy targets are searched anew; the rest keep the actor's visit fractions."""
    memo: bool = True
    """Search a position at most once per target network."""
    root_noise: bool = True
    """Root noise in reanalysis, keyed by (seed, lane, step, version)."""
    search_batch: int = 1024
    """Positions per search call; bounds memory."""
    ahead: str = choice("auto", "auto", "on", "off")
    """Search for the next target network in time that is left over (with the memo). `auto`: on GPUs, as processes."""
    ahead_batch: int = 256
    """Positions searched ahead in one go: a batch that is asked for meanwhile waits for it."""


@dataclass(frozen=True)
class RefreshConfig:
    """Priority Refresh: priorities judged anew by the newest weights, oldest first."""

    enabled: bool = True
    """Whether priorities are refreshed at all."""
    per_sample: float = 1.0
    """Positions refreshed per sample that is trained on: work is counted, not timed."""
    slice: int = 256
    """Positions refreshed in one pass."""


@dataclass(frozen=True)
class LearnerConfig:
    """The loss and its data."""

    ranks: int = 0
    """Learner processes that train one network together; 0: one per GPU that is to have one, 1 on the CPU."""
    batch_size: int = 256
    """Samples per train step over all ranks."""
    prefix_coefficient: float = 1.0
    """Weight of the loss of value prefixes, or rewards."""
    value_coefficient: float = 0.25
    """Weight of the loss of values."""
    policy_coefficient: float = 1.0
    """Weight of the loss of policies."""
    consistency_coefficient: float = 2.0
    """Weight of the loss between unrolled and observed states; 0: none."""
    consistency_steps: int = 0
    """Unrolled steps that the consistency loss looks at; 0: all of `target.unroll_steps`."""
    consistency_every: int = 1
    """It looks at every n-th sample of a batch, n times as much: its targets cost a pass of the representation each."""
    dynamics_gradient_scale: float = 0.5
    """Scale of each unrolled state's total gradient (the reference's own-step form)."""
    gradient_clip: float = 5.0
    """Largest global norm of the gradient, after the division by the unroll steps."""
    shift_px: int = 4
    """Random shift by up to this many pixels, edges replicated (images); 0: none."""
    intensity_scale: float = 0.05
    """Random brightness 1 + scale * clip(normal, +-2) (images); 0: none."""
    publish_interval_samples: int = 25_600
    """Samples trained on between two sets of weights for the actors."""
    folded_targets: bool = False
    """Consistency targets by running statistics, folded into the weights, instead of the batch's (an ablation)."""
    cuda_graph: bool = True
    """Capture a train step once and replay it from then on (on a GPU)."""
    norms: str = choice("fused", "torch", "compiled", "fused")
    """On a GPU batch norm, residual and ReLU: one by one, fused by torch.compile, which takes minutes at the start, or
    by `kernels/norm_act`, which moves the least memory. `make gpu-check` measures which is fastest."""


@dataclass(frozen=True)
class OptimizerConfig:
    name: str = choice("sgd", "sgd", "clipped_lars", "lars", "adamw")
    """`lars`: clipped_lars without the clip."""
    learning_rate: float = 0.2
    """The rate after the warm-up, before any decay."""
    momentum: float = 0.9
    """Momentum of sgd, clipped_lars and lars, beta 1 of adamw."""
    weight_decay: float = 1e-4
    """Decay of the weights (adamw: decoupled)."""
    trust: float = 0.02
    """A layer's step as a share of the norm of its weights, before the rate and the clip (clipped_lars, lars)."""
    clip: float = 10.0
    """Largest trust ratio, the factor on a layer's gradient (clipped_lars)."""
    eps: float = 1e-8
    """Added to the norm that a trust ratio divides by (clipped_lars, lars)."""
    warmup_fraction: float = 0.01
    """Fraction of the main train steps over which the rate grows linearly from 0."""
    decay_factor: float = 0.1
    """What the rate is multiplied by at each decay."""
    decay_fraction: float = 1.0
    """The rate is multiplied by decay_factor every this fraction of the main train steps after the warm-up."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How long a run is. Every other schedule is a fraction of it."""

    env_steps: int = 100_000
    """Agent steps played in all, the head start included."""
    train_steps: int = 100_000
    """Train steps paced with the env steps (the main phase)."""
    frozen_train_steps: int = 20_000
    """Train steps after the last env step, on frozen data."""
    head_start_env_steps: int = 2_000
    """Env steps by random actions before the learner starts."""
    pacing_slack_env_steps: int = 0
    """How far play may be ahead of learning; at least one tick of all envs and two train steps' play."""

    @property
    def total_train_steps(self) -> int:
        return self.train_steps + self.frozen_train_steps


@dataclass(frozen=True)
class PlacementConfig:
    """Which GPU each process works on. Counts: `actor.actors`, `replay.shards`, `learner.ranks`."""

    kind: str = choice("auto", "auto", "colocated", "split")
    """`colocated`: every GPU hosts all roles. `split`: one GPU in eight hosts no learner. `auto`: colocated."""
    actors: tuple[int, ...] = ()
    """The GPU of each actor; empty: by kind."""
    shards: tuple[int, ...] = ()
    """The GPU of each shard's reanalyzer; empty: by kind."""
    learners: tuple[int, ...] = ()
    """The GPU of each learner rank; empty: by kind."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Scores: full games, no root noise, raw rewards."""

    episodes: int = 32
    """Episodes at the end of the run."""
    interval_train_steps: int = 10_000
    """Train steps between evaluations; 0: only at the end."""
    interval_episodes: int = 32
    """Episodes of an evaluation on the interval."""
    parallel_envs: int = 32
    """Episodes played side by side as one batch."""
    num_simulations: int = 0
    """Simulations per search in evaluation; 0: as in training."""
    action: str = choice("most_visited", "most_visited", "sampled")
    """`sampled`: drawn from the policy that the search improved, for policies that have learnt to mix actions."""
    blind: bool = True
    """At the end of the run score the blind twin, too: the agent's actions as often, drawn without looking."""
    video: bool = True
    """Film the first evaluation episode at the end of the run."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Whole checkpoints, which a run can be resumed from: on an interval, at the end and where it is interrupted."""

    interval_minutes: float = 10.0
    """Minutes between two of them, so at most so much work is lost; 0: not by the clock."""
    interval_train_steps: int = 0
    """Train steps between two of them; 0: not by steps."""
    keep_last: int = 2
    """Whole checkpoints kept; of older ones only the weights that were scored stay. 0: none are written, nor replay."""
    restarts: int = 3
    """Times that a run whose learners died goes on from its last checkpoint by itself."""


@dataclass(frozen=True)
class SupervisorConfig:
    """Looking after the processes of a run."""

    silent_s: float = 15.0
    """A process that shows no sign of life for so long (it says twice a second that it lives) is killed."""
    hang_s: float = 120.0
    """A role that has not finished a step, nor a wait, in so long is killed; a step takes seconds. For first
    steps, which compile and capture, `start_s` holds."""
    start_s: float = 300.0
    """A process that does not begin to work, or is in one of its first steps, for so long is killed: imports,
    compilations (`learner.norms=compiled` takes minutes), a starved machine."""
    max_restarts: int = 5
    """Times that an actor, or a reanalyzer, is replaced in a run; dying once more ends the run."""
    record_interval_s: float = 10.0
    """Time between two records of rings, waits and lags in the metrics."""


@dataclass(frozen=True)
class ProfileConfig:
    """What `--profile` records besides spans."""

    kernels: bool = False
    """What each GPU does, by torch.profiler, in the same trace. Costs time and is large: a few seconds are enough."""
    nvtx: bool = False
    """Spans as NVTX ranges too, for a profiler that watches from outside (on a GPU)."""


@dataclass(frozen=True)
class Config:
    """A whole run. `preset` names the YAML file that it began from.

    Cadence is counted in samples, so that it stays what it is with another batch size; the two properties at the end
    say what it is in train steps.
    """

    preset: str = "efficientzero"
    """The file of `configs/` that a run began from (`--preset`)."""
    seed: int = 0
    """Of everything random: games, networks, searches, draws."""
    gpus: int = 0
    """GPUs to use; 0 is the CPU."""
    cpu_threads: int = 0
    """Threads of tensor operations of each process; 0: as many as there are cores, shared out; inline 1 for an mlp."""
    shm_dir: str = ""
    """A directory for shared segments as files, where /dev/shm is too small; empty: /dev/shm."""
    run_dir: str = ""
    """Where results go; empty: runs/<game>-<preset>-seed<seed>-<number>."""
    init_from: str = ""
    """A run or checkpoint whose weights a new run begins with; all else begins anew."""
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
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)

    @property
    def target_interval(self) -> int:
        """Train steps between two target networks."""
        return max(1, round(self.target.interval_samples / self.learner.batch_size))

    @property
    def publish_interval(self) -> int:
        """Train steps between two sets of weights for the actors."""
        return max(1, round(self.learner.publish_interval_samples / self.learner.batch_size))


def get(config: Config, path: str):
    """The value at a dotted path, `get(config, "search.discount")`."""
    value = config
    for name in path.split("."):
        value = getattr(value, name)
    return value
