"""CartPole on this CPU: env steps/s collected, updates/s of the learner alone, and of the whole loop.

The setting is the one LightZero's EfficientZero was measured in on the same kind of machine (the design's performance
page): an MLP, 8 environments, 25 simulations, batch 256. It had about 117 env steps/s and 2.2 updates/s, quoted, not
run here; wanted is ten times that.

    make bench NAME=cpu_training
"""

from benchmarks.common import Figure, parser, report, time_by_turns
from speedyzero.arguments.resolve import resolve
from speedyzero.supervisor.inline import InlineRun, build_run

SETTINGS = [
    "actor.envs=8",
    "search.num_simulations=25",
    "learner.batch_size=256",
    "schedule.env_steps=100000",
    "schedule.train_steps=25000",
]
TICKS, UPDATES, LOOP_UPDATES = 100, 25, 25


def collector() -> InlineRun:
    """A run whose actor is never held back; its first search compiles here."""
    run = build_run(
        resolve("cartpole", "CartPole-v1", 0, 0, None, [*SETTINGS, "schedule.pacing_slack_env_steps=90000"])
    )
    while run.edges.board.env_steps < run.config.schedule.head_start_env_steps + run.config.actor.envs:
        run.actor.step()
        run.reanalyzer.step()
    return run


def collect(run: InlineRun) -> None:
    for _ in range(TICKS):
        run.actor.step()
        run.edges.steps.get()
        for _ in run.edges.metrics.drain():
            pass


def loop(run: InlineRun, to_train_step: int) -> None:
    while run.edges.board.train_steps < to_train_step:
        run.turn()
        for _ in run.edges.metrics.drain():
            pass


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=15, help="timings of each subject (default 15)")
    repeats = options.parse_args().repeats
    playing = collector()
    learning = build_run(resolve("cartpole", "CartPole-v1", 0, 0, None, SETTINGS))
    loop(learning, 200)  # a replay and a memo as in the middle of a run
    while learning.edges.batches.empty:
        learning.reanalyzer.step()
    batch = learning.edges.batches.get()

    def train() -> None:
        for _ in range(UPDATES):
            learning.learner.train_on(batch, 200)

    subjects = {
        "collect": lambda: collect(playing),
        "learner": train,
        "loop": lambda: loop(learning, learning.edges.board.train_steps + LOOP_UPDATES),
    }
    turns = time_by_turns(subjects, repeats=repeats)
    figures = [
        Figure.of(name, [count / seconds for seconds in turns[name].wall_s], unit, wanted)
        for name, count, unit, wanted in (
            ("collect", TICKS * playing.config.actor.envs, "env steps/s", "1,170 (LightZero 117)"),
            ("learner", UPDATES, "updates/s", "22 (LightZero 2.2)"),
            ("loop", LOOP_UPDATES, "updates/s", ""),
        )
    ]
    report("bench_cpu_training", figures, packages=("torch", "numba", "numpy", "gymnasium"))


if __name__ == "__main__":
    main()
