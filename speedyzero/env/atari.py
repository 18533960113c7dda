"""Atari through ale-py's vector environment, with our own handling of lives, truncation and seeds.

Differences from ale-py 0.12.1:

- Lost lives are derived from the number of lives. The library's `life_loss_info` gives the same flags, but reports a
  game truncated in the tick of a lost life as terminated only.
- The frame limit is counted here. The library stops before a tick's last raw frame is taken, so the frame from which a
  truncated game bootstraps would be mixed with the previous tick's.
- Each game is seeded: after the library's own new game (NEXT_STEP) the lane is reset once more with its own seed. That
  reloads the ROM (about 70 ms per game) and makes a game independent of its emulator's earlier games.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from ale_py.vector_env import AtariVectorEnv

from speedyzero.config import EnvConfig
from speedyzero.env import atari_roms
from speedyzero.env.atari_ids import read_id
from speedyzero.env.base import EnvStep, GameInfo, ObservationSpec, learns_sign
from speedyzero.env.image import picture
from speedyzero.system import keyed_random

EXAMPLE = "Atari game (Pong)"
_MAX_THREADS = 4  # parallel emulators per process; other processes need the remaining cores


def known_names() -> Collection[str]:
    return atari_roms.rom_of_name()


def find(config: EnvConfig) -> GameInfo | None:
    """The game of a ROM by its plain name.

    Raises ValueError for a ROM without a single-player game, and for a Gymnasium id: the settings that an id implies
    are set only by the command line.
    """
    if (atari := read_id(config.game)) is not None:
        implied = " ".join(f"{path}={value}" for path, value in atari[1].items())
        raise ValueError(f"env.game={config.game!r}: use {atari[0]} with {implied}")
    name = atari_roms.find_name(config.game)
    if name is None:
        return None
    num_actions = len(atari_roms.action_names(name, full_action_space=config.full_action_space))
    return GameInfo("atari", name, frame_spec(config), num_actions)


def make(
    config: EnvConfig, game: GameInfo, *, lanes: int, seed: int, first_lane: int, evaluation: bool, render: bool
) -> AtariLanes:
    rom = atari_roms.rom_of_name()[game.name]
    return AtariLanes(config, rom, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation)


def action_names(config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
    return atari_roms.action_names(game.name, full_action_space=config.full_action_space)


def frame_spec(config: EnvConfig) -> ObservationSpec:
    return ObservationSpec(
        (config.image_size_px, config.image_size_px, 1 if config.grayscale else 3), np.dtype(np.uint8)
    )


class AtariLanes:
    """E games of one ROM (ale-py's id, "ms_pacman"); see `base.LaneEnv`.

    In evaluation, lost lives are not reported and the evaluation's frame limit applies.
    """

    def __init__(
        self, config: EnvConfig, rom: str, *, lanes: int, seed: int, first_lane: int = 0, evaluation: bool = False
    ):
        limit_frames = config.eval_limit_frames if evaluation else config.train_limit_frames
        self._limit_ticks = -(-limit_frames // config.frame_skip)
        self._learns_sign = learns_sign(config, "atari")
        self._report_lives = config.life_loss_is_terminal and not evaluation
        self._seed = seed
        self._first_lane = first_lane
        self._env = AtariVectorEnv(
            rom,
            lanes,
            num_threads=min(lanes, _MAX_THREADS),
            max_num_frames_per_episode=limit_frames + 2 * config.frame_skip,  # not reached: games are truncated earlier
            repeat_action_probability=config.sticky_actions,
            full_action_space=config.full_action_space,
            img_height=config.image_size_px,
            img_width=config.image_size_px,
            grayscale=config.grayscale,
            stack_num=1,
            frameskip=config.frame_skip,
            maxpool=True,
            noop_max=config.noop_max,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            use_fire_reset=False,
        )
        self.num_lanes = lanes
        self.num_actions = len(self._env.ale.get_action_set())
        self.spec = frame_spec(config)

    def reset(self, first_game: int = 0) -> np.ndarray:
        lanes = self.num_lanes
        self._game = np.full(lanes, first_game, np.int64)  # number of each lane's next game
        self._ticks = np.zeros(lanes, np.int64)  # of the current game
        self._lives = np.zeros(lanes, np.int32)
        self._ended = np.zeros(lanes, np.bool_)
        self._frame = np.empty((lanes, *self.spec.shape), np.uint8)
        self._begin(np.ones(lanes, np.bool_))
        return self._frame

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        self._game[mask], self._ended[mask] = game[mask], False
        self._frame = self._frame.copy()  # arrays returned before must not change
        self._begin(mask)
        return self._frame

    def step(self, action: np.ndarray) -> EnvStep:
        # The library hangs after an invalid action.
        assert action.shape == (self.num_lanes,) and action.min() >= 0 and action.max() < self.num_actions, action
        started = self._ended
        observation, reward, game_over, _, info = self._env.step(np.where(started, 0, action))
        self._frame = observation.reshape(self.num_lanes, *self.spec.shape)  # new memory in every tick
        raw_reward = reward.astype(np.float32)
        lives_before, self._lives = self._lives, info["lives"]
        self._ticks += 1
        if started.any():
            self._begin(started)
            raw_reward[started] = 0
            game_over[started] = False
        truncated = (self._ticks >= self._limit_ticks) & ~game_over
        self._ended = game_over | truncated
        # A drop to 0 is not reported, as in the reference, because most games are over then. (Four games, among them
        # Frogger and BankHeist, play their last life at 0; for them only the end is reported.)
        life_lost = (self._lives < lives_before) & (self._lives > 0) & ~self._ended & ~started
        if not self._report_lives:
            life_lost[:] = False
        return EnvStep(
            frame=self._frame,
            reward=np.sign(raw_reward) if self._learns_sign else raw_reward,
            raw_reward=raw_reward,
            game_over=game_over,
            life_lost=life_lost,
            truncated=truncated,
            started=started,
        )

    def render(self, lane: int) -> np.ndarray:
        return picture(self._frame[lane])

    def close(self) -> None:
        """Stop the emulators and their threads."""
        del self._env

    def _begin(self, mask: np.ndarray) -> None:
        """Start the next game in each lane of `mask`, [E] bool."""
        seeds = [
            keyed_random.seed_for(self._seed, keyed_random.ENV_SEED, self._first_lane + lane, int(self._game[lane]))
            for lane in np.flatnonzero(mask).tolist()
        ]
        observation, info = self._env.reset(seed=np.array(seeds), options={"reset_mask": mask})
        self._frame[mask] = observation.reshape(self._frame.shape)[mask]
        self._lives[mask] = info["lives"][mask]
        self._game[mask] += 1
        self._ticks[mask] = 0
