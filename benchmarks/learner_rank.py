"""One of the learner ranks that `bench_learner_group.py` times: `python -m benchmarks.learner_rank RANK RANKS FILE`.

Ways of averaging gradients, in turns: one flat all-reduce after the backward pass (what the learner does), and
DistributedDataParallel, which reduces buckets while the backward pass goes on. Beside them rank 0 alone trains on the
whole batch while the others wait. Every rank has one thread, and prints the seconds per update as JSON: by the clock,
and of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.learner.batch import Batch
from speedyzero.learner.group import Group, LoneLearner, joined_group
from speedyzero.learner.trainer import Trainer
from speedyzero.model.build import build_network

CPU = torch.device("cpu")


class LossModule(nn.Module):
    """A trainer's loss as a forward pass, as DistributedDataParallel wants it."""

    def __init__(self, trainer: Trainer):
        super().__init__()
        self.network, self._loss = trainer.network, trainer._loss

    def forward(self, batch: Batch) -> torch.Tensor:
        return self._loss(batch).total


def random_batch(config: Config, game: GameInfo, size: int) -> Batch:
    """Inputs and targets of the right shapes."""
    generator = torch.Generator().manual_seed(0)
    unroll, actions, stack = config.target.unroll_steps, game.num_actions, config.env.stack
    if game.spec.is_image:
        height, width, channels = game.spec.shape
        images = torch.rand(unroll + 1, size, stack * channels, height, width, generator=generator)
        stacks = [one.contiguous(memory_format=torch.channels_last) for one in images]
    else:
        stacks = list(torch.rand(unroll + 1, size, stack * game.spec.shape[0], generator=generator))
    return Batch(
        root=stacks[0],
        following=tuple(stacks[1:]),
        action=torch.randint(actions, (size, unroll), generator=generator),
        action_mask=torch.ones(size, unroll),
        value=torch.randn(size, unroll + 1, generator=generator),
        prefix=torch.randn(size, unroll, generator=generator),
        policy=torch.softmax(torch.randn(size, unroll + 1, actions, generator=generator), -1),
        weight=torch.ones(size),
    )


def first_rows(batch: Batch, rows: int) -> Batch:
    """What falls to one rank."""
    parts = {
        name: tuple(one[:rows] for one in value) if isinstance(value, tuple) else value[:rows]
        for name, value in vars(batch).items()
    }
    return Batch(**parts)


def ddp_update(config: Config, trainer: Trainer, ddp: nn.Module, batch: Batch) -> None:
    trainer.optimizer.zero_grad(set_to_none=True)
    ddp(batch).backward()
    torch.nn.utils.clip_grad_norm_(trainer.network.parameters(), config.learner.gradient_clip, foreach=True)
    trainer.optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rank", type=int)
    parser.add_argument("ranks", type=int)
    parser.add_argument("meeting_file", type=Path)
    parser.add_argument("preset")
    parser.add_argument("game")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    where = {"meeting_file": arguments.meeting_file, "device": "cpu"}
    with joined_group(arguments.rank, arguments.ranks, **where) as group:
        print(json.dumps(timed(arguments, group)))


def timed(arguments: argparse.Namespace, group: Group) -> dict[str, dict[str, list[float]]]:
    config = resolve(arguments.preset, arguments.game, 0, 0)
    game = check_game(config.env)

    def trainer(of_group) -> Trainer:
        torch.manual_seed(0)
        return Trainer(config, build_network(config, game.spec, game.num_actions), of_group, device=CPU)

    whole = random_batch(config, game, config.learner.batch_size)
    part = first_rows(whole, config.learner.batch_size // arguments.ranks)
    alone, flat, wrapped = trainer(LoneLearner()), trainer(group), trainer(LoneLearner())
    ddp = DistributedDataParallel(LossModule(wrapped), broadcast_buffers=False, gradient_as_bucket_view=True)
    ways: dict[str, Callable[[], object]] = {
        "flat": lambda: flat.update(part, 1),
        "ddp": lambda: ddp_update(config, wrapped, ddp, part),
        "alone": lambda: alone.update(whole, 1) if arguments.rank == 0 else None,
    }
    clock_s: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds + 1):
        for name, update in ways.items():
            dist.barrier()
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            for _ in range(arguments.updates):
                update()
            if turn:  # the first is the warm-up
                clock_s[name].append((time.perf_counter() - started_s) / arguments.updates)
                cpu_s[name].append((time.process_time() - started_cpu_s) / arguments.updates)
    dist.barrier()
    return {"clock_s": clock_s, "cpu_s": cpu_s}


if __name__ == "__main__":
    main()
