"""Finds the weights to evaluate: in a run directory, or in a checkpoint copied anywhere."""

from dataclasses import dataclass
from pathlib import Path

from speedyzero.checkpoint.manifest import CHECKPOINTS_FOLDER, MANIFEST_FILE
from speedyzero.checkpoint.weights_file import SavedWeights, load_weights, newest
from speedyzero.config import Config
from speedyzero.config.documents import load_config, read_config_document
from speedyzero.env import user_modules


@dataclass(frozen=True)
class Source:
    """Verified weights with the settings they were trained with."""

    config: Config
    weights: SavedWeights
    results: Path  # where results are written: the run directory, or the parent directory of a copied checkpoint


def find_source(directory: str | Path, game: str | None = None) -> Source:
    """A run's newest weights, or a checkpoint's own.

    game: as given by the user, which permits importing its module. Raises ValueError, one line, for anything missing or
    damaged, for a game other than the run's, and for a game whose module is not permitted.
    """
    source = _found(Path(directory))
    played = source.config.env.game
    if game is not None:
        if game != played:
            raise ValueError(f"--game {game}: {directory} plays {played}")
        user_modules.allow(game)
    user_modules.check_allowed(played)
    return source


def _found(directory: Path) -> Source:
    if (directory / MANIFEST_FILE).is_file():
        weights = load_weights(directory)
        if "config" not in weights.meta:
            raise ValueError(f"checkpoint {directory} has no settings of its own: name the directory of its run")
        config = read_config_document(weights.meta["config"], f"checkpoint {directory}")
        parent = directory.resolve().parent
        return Source(config, weights, parent.parent if parent.name == CHECKPOINTS_FOLDER else parent)
    path = directory / "config.yaml"
    if not path.is_file():
        raise ValueError(
            f"{directory}: neither a run's directory (no config.yaml) nor a checkpoint; name one, as "
            "runs/Pong-laptop-seed0-001"
        )
    found = newest(directory)
    if found is None:
        raise ValueError(f"{directory} has no whole checkpoint: nothing to evaluate")
    return Source(load_config(path), load_weights(found), directory)
