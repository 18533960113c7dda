"""Measures the cost of operations on this machine: an inline run whose roles are timed separately.

Uses CPU time of one thread, which other load affects little. The head start times the environments alone; a few train
steps then time searches, values and training. The host cost of a batch is sampling and planning its targets.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.model.agent import Agent
from speedyzero.model.flat import flatten
from speedyzero.plan.costs import Costs
from speedyzero.reanalyze.targets import plan_targets
from speedyzero.replay.sampler import Sample
from speedyzero.supervisor.inline import InlineRun, build_run

HEAD_START_TICKS, REPEATS, WARM_UP = 60, 6, 2


def measured(config: Config) -> Costs:
    """Costs on the CPU. Takes about as long as ten train steps."""
    lanes = config.actor.envs
    least = lanes * (config.target.unroll_steps + config.target.td_steps + config.env.stack + 2)
    head = max(HEAD_START_TICKS * lanes, least)
    short = replace(
        config,
        cpu_threads=1,
        schedule=replace(config.schedule, head_start_env_steps=head, env_steps=40 * head, train_steps=1_000),
        reanalyze=replace(config.reanalyze, memo=False),
        actor=replace(config.actor, actors=1),
        replay=replace(config.replay, shards=1),
        learner=replace(config.learner, ranks=1),
    )
    run = build_run(short)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _timed(run, short, head)
    finally:
        torch.set_num_threads(threads)
        run.close()


def _timed(run: InlineRun, config: Config, head: int) -> Costs:
    board, maker = run.edges.board, run.reanalyzer
    played_s = 0.0
    while board.env_steps < head:
        started_s = time.process_time()
        run.actor.step()
        played_s += time.process_time() - started_s
        run.reanalyzer.step()  # drains the played steps: the edge holds only a few ticks
    env_step_s = played_s / board.env_steps
    for _ in range(WARM_UP):
        run.turn()
    batch = config.learner.batch_size
    sample = maker.sampler.draw(batch)
    agent, memo = Agent(config, run.game.spec, run.game.num_actions), maker.memo
    agent.load(flatten(run.learner.network), version=0)
    count = min(batch, config.reanalyze.search_batch, 256)
    lane, step = sample.lane[:count], sample.step[:count]
    search_s = _cost(lambda: memo.policies(agent, lane, step)) / count
    value_s = _cost(lambda: memo.network_values(agent, lane, step)) / count
    batch_s = max(0.0, _cost(lambda: _host_part(run, sample)))
    learner_s = _learner_cost(run) / batch
    return Costs(
        search_s=search_s,
        value_s=value_s,
        sample_s=learner_s,
        refresh_s=value_s,
        host_env_step_s=env_step_s,
        host_batch_s=batch_s,
        source="measured on this machine, processor time of one thread",
    )


def _host_part(run: InlineRun, sample: Sample) -> None:
    """Sampling and target planning, without the networks."""
    maker, target, search = run.reanalyzer, run.config.target, run.config.search
    drawn = maker.sampler.draw(len(sample.lane))
    plan_targets(
        maker.shard,
        drawn.lane,
        drawn.step,
        np.full(len(drawn.lane), target.td_steps),
        unroll_steps=target.unroll_steps,
        discount=search.discount,
        prefix_horizon=search.prefix_horizon,
    )


def _learner_cost(run: InlineRun) -> float:
    """CPU seconds of one train step, median."""
    costs: list[float] = []
    while len(costs) < REPEATS:
        run.actor.step()
        run.reanalyzer.step()
        before = run.learner.train_step
        started_s = time.process_time()
        run.learner.step()
        if run.learner.train_step > before:
            costs.append(time.process_time() - started_s)
    return sorted(costs)[len(costs) // 2]


def _cost(work: Callable[[], object]) -> float:
    """CPU seconds, median of some repetitions after a warm-up."""
    work()
    costs = []
    for _ in range(REPEATS):
        started_s = time.process_time()
        work()
        costs.append(time.process_time() - started_s)
    return sorted(costs)[len(costs) // 2]
