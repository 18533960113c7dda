"""A run's initial network."""

from pathlib import Path

import torch

from speedyzero.checkpoint.manifest import MANIFEST_FILE
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.config import Config
from speedyzero.env.registry import GameInfo
from speedyzero.learner.state import load_weights_into
from speedyzero.model.base import Network
from speedyzero.model.build import build_network
from speedyzero.system import keyed_random


def first_network(config: Config, game: GameInfo, *, begun: bool = False) -> Network:
    """Initialised from the run's seed, or with the weights of `init_from`. Raises ValueError if those do not fit.

    begun: a checkpoint's weights will replace all others, so `init_from`, which may no longer exist, is not read.
    """
    torch.manual_seed(keyed_random.seed_for(config.seed, keyed_random.INIT))
    network = build_network(config, game.spec, game.num_actions)
    if config.init_from and not begun:
        where = Path(config.init_from)
        directory = where if (where / MANIFEST_FILE).is_file() else newest(where)
        if directory is None:
            raise ValueError(f"init_from={where}: neither a checkpoint nor a run's directory with one")
        try:
            load_weights_into(network, load_weights(directory).state)
        except ValueError as error:
            raise ValueError(f"init_from={where}: {error}") from error
    return network
