"""Two processes on one GPU, one that searches and one that trains: each alone, then both at once.

That is what a colocated run does (`placement.kind`): their kernels take turns in slices of time. The shares are of the
rate alone; a sum above 1 says that two processes get more done than one after the other would.

    worker -> stage   None         warm
    stage -> worker   3.0          work for so many seconds
    worker -> stage   1234.5       items a second
    stage -> worker   (closed)     end
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.learner import WARM_STEPS, Bench
from benchmarks.gpu.networks import atari_config, frame_spec, random_frames, random_weights
from speedyzero.model.agent import Agent
from speedyzero.model.observation import to_network_input
from speedyzero.system.current_device import make_current

ACTIONS = 18
UNITS = {"search": "searches/s", "train": "samples/s"}


def run(context: Context) -> dict[str, Any]:
    found = share(context)
    for role, unit in UNITS.items():
        alone, together = found["alone"][role], found["together"][role]
        print(f"{role} {alone:,.0f} {unit} alone, {together:,.0f} beside the other")
    return {**found, "seen": f"sum of shares {found['sum_of_shares']:.2f}"}


def share(context: Context) -> dict[str, Any]:
    """Rates and shares. Raises RuntimeError where a worker dies, TimeoutError where there is no time."""
    alone_s, together_s = context.size((2.0, 4.0), (0.3, 0.5))
    workers = [Worker(role, context) for role in UNITS]
    try:
        for worker in workers:
            worker.answer()  # warm
        alone, together = {}, {}
        for worker in workers:
            worker.pipe.send(alone_s)
            alone[worker.role] = worker.answer()
        for worker in workers:
            worker.pipe.send(together_s)
        for worker in workers:
            together[worker.role] = worker.answer()
    finally:
        for worker in workers:
            worker.end()
    shares = {role: together[role] / alone[role] for role in UNITS}
    return {"alone": alone, "together": together, "shares": shares, "sum_of_shares": sum(shares.values())}


class Worker:
    """A worker seen from the stage."""

    def __init__(self, role: str, context: Context, *, target: Callable[..., None] | None = None):
        """target: called with role, pipe, out and is_rehearsal; None: `work`."""
        self.role, self._deadline_s = role, context.deadline_s
        self.pipe, its_end = multiprocessing.Pipe()
        arguments = (role, its_end, context.out, context.is_rehearsal)
        self._process = multiprocessing.get_context("spawn").Process(target=target or work, args=arguments)
        self._process.start()
        its_end.close()  # so that its death ends the pipe

    def answer(self) -> Any:
        if not self.pipe.poll(max(0.0, self._deadline_s - time.monotonic())):
            raise TimeoutError(f"the worker {self.role} said nothing in time")
        try:
            return self.pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the worker {self.role} ended with {self._process.exitcode}") from None

    def end(self) -> None:
        """Let it end, and see that it does."""
        self.pipe.close()
        self._process.join(5.0)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


def work(role: str, pipe: Connection, out: Path, is_rehearsal: bool, *, device: str = "") -> None:
    """A worker's life. device: empty: the first GPU."""
    context = Context.of(out=out, is_rehearsal=is_rehearsal, limit_s=0.0, result_path=None)
    if device:
        context = replace(context, device=torch.device(device))
        make_current(device)
    unit = {"search": searching, "train": training}[role](context)
    pipe.send(None)
    while True:
        try:
            seconds = pipe.recv()
        except EOFError:
            return
        started_s, items = time.monotonic(), 0
        while time.monotonic() - started_s < seconds:
            items += unit()
        context.sync()
        pipe.send(items / (time.monotonic() - started_s))


def searching(context: Context) -> Callable[[], int]:
    """As a reanalyzer does: root inference and search, results on the host; returns how many."""
    batch, simulations = context.size((1024, 50), (4, 4))
    config = atari_config(simulations=simulations, is_tiny=context.is_rehearsal, gpus=0 if context.is_rehearsal else 1)
    agent = Agent(config, frame_spec(config), ACTIONS, device=str(context.device))
    agent.load(random_weights(config, ACTIONS, seed=1), version=0)
    frames = torch.from_numpy(random_frames(config, batch, seed=2)).to(context.device)
    observation = to_network_input(frames).to(agent.input_dtype)

    def search() -> int:
        agent.search_from(agent.root_from(observation)).action.cpu()
        return batch

    for _ in range(5):
        search()
    return search


def training(context: Context) -> Callable[[], int]:
    """As the learner does: one update under way while the next is started; returns how many samples."""
    batch = context.size(2048, 4)
    loop = Bench(context).loop(batch, cuda_graph=not context.is_rehearsal)
    steps = itertools.count()

    def train() -> int:
        loop.step(next(steps))
        return batch

    for _ in range(WARM_STEPS):
        train()
    return train
