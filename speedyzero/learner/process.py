"""The learner as a process."""

from collections.abc import Sequence
from functools import partial

from speedyzero.checkpoint.stored import Checkpoint, open_checkpoint
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.learner.first_network import first_network
from speedyzero.learner.group import LoneLearner, joined_group
from speedyzero.learner.group_saver import GroupSaver
from speedyzero.learner.learner import Learner
from speedyzero.learner.saving import checkpoint_meta, save_to_score
from speedyzero.learner.state import LearnerState
from speedyzero.replay.shard import Shard
from speedyzero.runtime.role_process import ProcessSpec, RoleProcess, role_process
from speedyzero.topology.edges import LearnerEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.tracing.spans import Span

_SAVE = Span("save")


def main(spec: ProcessSpec, rank: int) -> None:
    """Train with the other ranks until the last train step or until the run is stopped; the first rank of all saves the
    weights. rank: on this node.
    """
    wiring = spec.wiring
    with (
        role_process(spec) as process,
        joined_group(
            rank,
            len(wiring.placement.learners),
            meeting_file=wiring.run.meeting_file,
            device=spec.device,
            launch=spec.launch,
            on_wait=lambda waits: process.report_progress("awaits_group", int(waits)),
        ) as group,
    ):
        shards = [process.shard(feed.shard) for feed in wiring.placement.feeds if feed.learner == rank]
        checkpoint = open_checkpoint(spec.resume.checkpoint) if spec.resume else None
        ends = process.ends(LearnerEdges)
        learner = build_learner(spec.config, ends, shards, device=spec.device, group=group, checkpoint=checkpoint)
        _train(process, learner)


def build_learner(
    config: Config,
    edges: LearnerEdges,
    shards: Sequence[Shard],
    *,
    device: str,
    group: LoneLearner | None = None,
    checkpoint: Checkpoint | None = None,
) -> Learner:
    """One rank of the learner group, or the only one, of a run as processes or inline.

    shards: that it draws from, in the order of its batches' edges. checkpoint: to resume from.
    """
    state = LearnerState.of(checkpoint) if checkpoint else None
    network = first_network(config, check_game(config.env), begun=state is not None)
    return Learner(config, edges, Pacing.of(config), network, shards, device=device, group=group, state=state)


def _train(process: RoleProcess, learner: Learner) -> None:
    """The training loop. Saves weights and full checkpoints when due, and at the end or when interrupted.

    All ranks reach every save at the same train step and average their buffers.
    """
    spec, board, share = process.spec, process.board, process.spec.launch.share
    game = check_game(spec.config.env)
    total = spec.config.schedule.total_train_steps
    saver = GroupSaver(process, learner)
    while learner.train_step < total and not learner.has_left:
        goal = learner.train_step + 1
        process.loop(learner, done=partial(_reached, learner, goal))
        step = learner.train_step
        is_scored, is_whole = learner.due_checkpoint() is not None, saver.due()
        if not (is_scored or is_whole) and process.stop_requested():  # not between collective operations
            learner.leave()
        is_over = learner.has_left or step == total
        if is_scored or is_whole or is_over:
            with _SAVE:
                learner.group.average_buffers()
                if learner.reports:
                    env_steps = board.env_steps * share.nodes  # the nodes play in step
                    whole = share.whole(spec.config)
                    meta = checkpoint_meta(whole, game, env_steps=env_steps, step=step, nodes=share.nodes)
                    if learner.group.rank == 0 and (is_scored or is_over):
                        is_saved = save_to_score(spec.run_dir, learner, meta) is None
                        process.report_progress("checkpoint_step" if is_saved else "unscored_step", step)
                    if is_whole or is_over:
                        saver.save(meta)
    saver.wait()
    process.finished()


def _reached(learner: Learner, goal: int) -> bool:
    return learner.train_step >= goal or learner.has_left
