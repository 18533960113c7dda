"""The parts of a train step one by one, queued as a step queues them.

gather      stack_gather with augmentation: root and K target stacks      copy in    into the step's static memory
keep        what a bad batch must leave alone, before the step            targets    representation and projector
forward     unroll and losses                                             backward   gradients
step        clip, optimiser                                               undo       choose between old and new
"""

from types import SimpleNamespace

import torch

from benchmarks.gpu.learner_batches import BatchSource
from benchmarks.gpu.timing import Subject, Times, time_chain
from speedyzero.config import Config
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.device_step import make_state, state_tensors
from speedyzero.learner.optimizers import build_optimizer
from speedyzero.learner.static_batch import StaticBatch
from speedyzero.learner.undo import Undo
from speedyzero.model.base import Network
from speedyzero.model.blocks import PAD_CHANNELS_TO, use_norms


def time_parts(
    config: Config, network: Network, source: BatchSource, device: torch.device, *, rounds: int
) -> dict[str, Times]:
    """Of one step, in order: what `Trainer` and `DeviceStep` do, cut up. network: changes."""
    network = network.to(device).train()
    if device.type == "cuda":
        use_norms(network, config.learner.norms)
    optimizer = build_optimizer(config.optimizer, network, capturable=True)
    rate = torch.zeros((), device=device)
    for group in optimizer.param_groups:
        group["lr"] = rate
    make_state(optimizer)
    rate.fill_(1e-3)
    undo = Undo([*network.parameters(), *network.buffers(), *state_tensors(optimizer)])
    good = torch.ones((), dtype=torch.bool, device=device)
    loss_of = BatchLoss(config, network, device=device)
    held = SimpleNamespace(batch=source.read(0), views=None, loss=None)
    image_dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    inputs = StaticBatch(held.batch, image_dtype=image_dtype, pad_channels_to=PAD_CHANNELS_TO)

    def gather(number: int) -> None:
        held.batch = source.read(number)

    def targets(_: int) -> None:
        network.zero_grad(set_to_none=True)
        held.views = loss_of.views(inputs.batch)

    def forward(_: int) -> None:
        held.loss = loss_of.against(inputs.batch, held.views)

    def backward(_: int) -> None:
        held.loss.total.backward()
        held.loss = None

    def step(_: int) -> None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.learner.gradient_clip, foreach=True)
        optimizer.step()

    parts: dict[str, Subject] = {
        "gather": gather,
        "copy in": lambda _: inputs.fill(held.batch),
        "keep": lambda _: undo.keep(),
        "targets": targets,
        "forward": forward,
        "backward": backward,
        "step": step,
        "undo": lambda _: undo.restore_unless(good),
    }
    time_chain(parts, device, rounds=3)
    return time_chain(parts, device, rounds=rounds)
