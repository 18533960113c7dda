"""Fixed weights, batch and search of the parity test: every number a keyed draw, the same on every machine.

Axes: B batch, K unroll steps, A actions.
"""

import math

import numpy as np
import torch

from speedyzero.config import CodecConfig, ModelConfig
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.system import keyed_random

BATCH, UNROLL, ACTIONS, STACK, IMAGE_PX = 6, 5, 6, 2, 96
MODEL = ModelConfig(
    stem_channels=4, latent_channels=8, reduced_channels=3, head_hidden=7, lstm_hidden=12,
    projector_hidden=11, projector_out=10, predictor_hidden=9,
    value_codec=CodecConfig(limit=10.0, step=1.0), prefix_codec=CodecConfig(limit=5.0, step=1.0),
)  # fmt: skip
DISCOUNT = 0.997**4
SIMULATIONS, ROOTS = 50, 8


def draws(number: int, *shape: int) -> np.ndarray:
    """Uniform in (-1, 1), float64. number: names the array."""
    keys = keyed_random.keys(7, keyed_random.INIT, number, np.arange(math.prod(shape)))
    return 2.0 * keyed_random.uniform(keys, 1)[:, 0].reshape(shape) - 1.0


def fixed_network() -> EfficientZeroNetwork:
    """In training mode, nothing in it at its initial value."""
    network = EfficientZeroNetwork(
        MODEL, in_channels=3 * STACK, image_size_px=IMAGE_PX, num_actions=ACTIONS, prefix_horizon=5
    )
    with torch.no_grad():
        for number, (name, tensor) in enumerate(sorted(network.state_dict().items())):
            if name.endswith("num_batches_tracked"):
                continue
            drawn = draws(number, *tensor.shape)
            if name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
                drawn = 1.0 + 0.3 * drawn
            elif tensor.dim() == 1:
                drawn = 0.2 * drawn
            else:
                drawn = drawn * math.sqrt(3.0 / math.prod(tensor.shape[1:]))
            tensor.copy_(torch.from_numpy(drawn))
    return network.train()


def fixed_batch() -> dict[str, np.ndarray]:
    """frames [B, K + S, 3, H, W] in 0..255, action, action_mask [B, K], value [B, K+1], prefix [B, K], policy
    [B, K+1, A], weight [B]. Masked steps are those past an end: no policy, no value."""
    frames = np.round(127.5 * (1.0 + draws(1001, BATCH, UNROLL + STACK, 3, IMAGE_PX, IMAGE_PX)))
    action = np.floor(0.5 * (1.0 + draws(1002, BATCH, UNROLL)) * ACTIONS).astype(np.int64)
    steps = np.array([5, 5, 3, 1, 5, 0])[:, None]  # taken in the root's episode
    mask = np.arange(UNROLL) < steps
    states = np.arange(UNROLL + 1) <= steps
    policy = np.exp(2.0 * draws(1005, BATCH, UNROLL + 1, ACTIONS))
    policy /= policy.sum(-1, keepdims=True)
    return {
        "frames": frames.astype(np.float32),
        "action": action,
        "action_mask": mask.astype(np.float32),
        "value": (8.0 * draws(1003, BATCH, UNROLL + 1) * states).astype(np.float32),
        "prefix": (3.0 * draws(1004, BATCH, UNROLL) * mask).astype(np.float32),
        "policy": (policy * states[..., None]).astype(np.float32),
        "weight": (0.5 + 0.5 * np.abs(draws(1006, BATCH))).astype(np.float32),
    }


def fixed_episode() -> dict[str, np.ndarray]:
    """A game of 23 steps that ends: reward [23], the network's value of each of its states [23]; positions [P] whose
    targets are made, with td_steps [P]."""
    reward = np.where(np.abs(draws(1011, 23)) > 0.6, np.sign(draws(1012, 23)), 0.0)
    return {
        "reward": reward.astype(np.float32),
        "value": (2.0 * draws(1013, 23)).astype(np.float32),
        "position": np.array([0, 4, 9, 14, 16, 18, 20, 22]),
        "td_steps": np.array([5, 5, 4, 5, 3, 5, 2, 1]),
    }


def fixed_noise() -> np.ndarray:
    """Of the search's roots, [ROOTS, A] float32."""
    weight = np.abs(draws(1021, ROOTS, ACTIONS)) ** 3
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)
