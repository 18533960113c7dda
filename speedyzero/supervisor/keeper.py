"""A run's records and console output: metrics, progress, scores."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from speedyzero.checkpoint.manifest import checkpoint_dir, is_finished
from speedyzero.checkpoint.scores import read_scores
from speedyzero.config import Config
from speedyzero.config.documents import deviations
from speedyzero.env.base import learns_sign
from speedyzero.env.registry import check_game
from speedyzero.evaluate.checkpointed import evaluate_checkpoint
from speedyzero.evaluate.human_normalised import reference_scores
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.evaluate.video import Film
from speedyzero.nodes.share import WHOLE, Share
from speedyzero.observe.metrics import MetricsWriter
from speedyzero.observe.progress import GamesProgress, Progress
from speedyzero.observe.run_dir import summary
from speedyzero.observe.system import record_system
from speedyzero.supervisor.alarms import Alarms
from speedyzero.topology.records import MetricRecord

MOST_DIFFERENCES_LISTED = 25  # more is another design, not a variant of the paper's
PAPER_ENV_STEPS, SHORT_RUN = 100_000, 0.1
# Metrics that progress shows beside the score.
_SHOWN = {
    "learner/loss": "loss",
    "actor/value_return_correlation": "values",
    "actor/policy_information": "nats",
}


class RunKeeper:
    """Records of one run, inline or as processes. Of several nodes the first shows the progress of all."""

    def __init__(self, config: Config, run_dir: Path, *, share: Share = WHOLE):
        self._config, self._run_dir, self._node = config, run_dir, share.node
        schedule = share.whole(config).schedule
        record_system(run_dir, gpus=config.gpus)
        self._progress = Progress(env_steps_total=schedule.env_steps, train_steps_total=schedule.total_train_steps)
        self.metrics = MetricsWriter(run_dir, say=self.note)
        self._shown: dict[str, float] = {}
        self.alarms = Alarms(config, self.note)

    def record(self, records: Iterable[MetricRecord]) -> None:
        """Write metrics, and keep those that progress shows."""
        for record in records:
            self.metrics.write(record.name, record.value, record.step)
            self.alarms.on_metric(record)
            if record.name == "actor/game_score":
                previous = self._shown.get("score", record.value)
                self._shown["score"] = 0.9 * previous + 0.1 * record.value
            if record.name in _SHOWN:
                self._shown[_SHOWN[record.name]] = record.value

    def progress(self, *, env_steps: int, train_steps: int, limit: str = "") -> None:
        """limit: the current bottleneck, if there is one."""
        if self._node == 0:
            self._progress.update(env_steps, train_steps, limit=limit, **self._shown)

    def note(self, line: str) -> None:
        self._progress.note(line if self._node == 0 else f"node {self._node}: {line}")

    def evaluate(self, step: int, *, episodes: int, **how: Any) -> EvaluationResult:
        """Score a train step's weights in this process, and record how long. how: as for `evaluate_checkpoint`."""
        started_s = time.monotonic()
        result = evaluate_checkpoint(self._config, self._run_dir, step=step, episodes=episodes, **how)
        self.book_score(step)
        self.metrics.write("evaluate/training_waited_s", time.monotonic() - started_s, step)
        return result

    def book_score(self, step: int) -> None:
        """Record and report the score of the last evaluation, by the evaluator or by this process."""
        last = read_scores(self._run_dir)["last"]
        assert last["step"] == step, f"scores.json is of train step {last['step']}, not {step}"
        self.metrics.write("evaluate/mean_score", last["mean"], step)
        if last["ci95"] is not None:
            for name, bound in zip(("low", "high"), last["ci95"], strict=True):
                self.metrics.write(f"evaluate/mean_score_{name}", bound, step)
        self.note(f"evaluation at train step {step}: {last['summary']}")

    def finish(self, step: int) -> EvaluationResult:
        """The final evaluation, filmed if configured. Raises RuntimeError if the final weights were not saved."""
        evaluation = self._config.evaluate
        if not is_finished(checkpoint_dir(self._run_dir, step)):
            raise RuntimeError(
                f"trained to train step {step}, but the weights could not be saved: nothing to score. Make room in "
                f"{self._run_dir}, then continue from the last whole checkpoint with --resume"
            )
        self._progress.close()
        self.note(f"evaluating {evaluation.episodes} episodes ...")
        with ExitStack() as stack:
            film, progress = None, stack.enter_context(GamesProgress("evaluation"))
            if evaluation.video:
                videos = self._run_dir / "videos"
                videos.mkdir(exist_ok=True)
                fps = check_game(self._config.env).frames_per_second
                film = stack.enter_context(Film(videos / f"step_{step:09d}.mp4", frames_per_second=fps))
            return self.evaluate(
                step, episodes=evaluation.episodes, film=film, blind=evaluation.blind, progress=progress
            )

    def close(self) -> None:
        self.metrics.close()  # may print a note
        if self._node == 0:
            self._progress.close()


def print_plan(config: Config, run_dir: Path, *, processes: str, resumed_step: int | None = None) -> None:
    """Print what the run will do, where results go, and what differs from the paper."""
    schedule = config.schedule
    device = f"{config.gpus} GPU" if config.gpus else "CPU"
    batches = f"{schedule.total_train_steps} train steps of {config.learner.batch_size} samples"
    print(f"{config.env.game}, preset {config.preset}, seed {config.seed}, {device}, {processes}")
    print(f"to do    {schedule.env_steps} env steps, {batches}")
    if resumed_step is not None:
        print(f"resumes  at train step {resumed_step}")
    print(f"results  {run_dir}")
    game = check_game(config.env)
    learnt = "their signs" if learns_sign(config.env, game.kind) else "what the game pays"
    print(f"rewards  learnt from {learnt} (env.clip_reward={config.env.clip_reward}); scores are what the game pays")
    if not game.has_limit:
        train, evaluation = config.env.train_limit_frames, config.env.eval_limit_frames
        print(
            f"limit    the game has none of its own: cut off after {train} steps in training (env.train_limit_frames), "
            f"{evaluation} in evaluation (env.eval_limit_frames)"
        )
    if game.kind == "atari":  # the paper covers only Atari
        share = schedule.env_steps / PAPER_ENV_STEPS
        if share < SHORT_RUN:
            random = reference_scores(config.env.game)
            known = f" ({random.random:g})" if random else ""
            print(
                f"expect   a score near random play's{known}: {share:.0%} of the paper's env steps show that it works"
            )
        differences = deviations(config)
        are_listed = len(differences) <= MOST_DIFFERENCES_LISTED
        how = " (here <- paper):" if are_listed else ": a preset of its own; config.yaml has all settings"
        print(f"differs from EfficientZero's paper in {len(differences)} settings{how}")
        for difference in differences if are_listed else ():
            print(f"  {difference.field:40} {difference.here} <- {difference.paper}")


def print_summary(
    run_dir: Path, result: EvaluationResult, *, env_steps: int, train_steps: int, duration_s: float, film: bool
) -> None:
    """Print what was done, the score, and how to continue."""
    scores = read_scores(run_dir)
    last, best, lines = scores["last"], scores["best"], [str(result)]
    lines.append(
        f"best         {best['mean']:.6g}, at train step {best['step']} (picked by its score, so no fair measure)"
    )
    if last["blind_twin"] is not None:
        lines.append(f"blind twin   {last['blind_twin']['summary']}: random actions at the agent's frequencies")
    nats = last["policy_information"]
    lines.append(f"policy       {nats:.2f} nats of information about the observation (0: one policy for all)")
    print(
        summary(
            run_dir,
            game=result.game,
            env_steps=env_steps,
            train_steps=train_steps,
            duration_s=duration_s,
            score="\n".join(lines),
            film=film,
        )
    )
