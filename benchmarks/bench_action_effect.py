"""How much does one decision of a game matter, at several frame skips? What a search could find out, and a run learn.

From positions of random play each action is tried several times, followed by random play: the discounted, clipped
rewards until a life is lost (or for `--frames` frames) are the returns. What differs between actions, once the noise
of the random play after them is taken off, is the advantage that a network has to see in its samples; their number
grows with the square of noise over advantage. It was made to find out why UpNDown was not learnt at 4 frames a
decision: a car's answer to the joystick takes longer, and the next decision undoes it.

    make bench NAME=action_effect ARGS="--game UpNDown --skips 4 8 12"

Emulators only, no network. Axes: P positions, A actions, M tries.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

import numpy as np
from ale_py import ALEInterface, LoggerMode, roms

from benchmarks.common import write_result
from speedyzero.config import EnvConfig
from speedyzero.env.atari_roms import rom_of_name
from speedyzero.env.registry import action_names

DISCOUNT = 0.997  # a frame
APART_FRAMES = 80  # between two positions


@dataclass(frozen=True)
class Effect:
    """Of one decision at one frame skip, in units of discounted clipped reward."""

    frame_skip: int
    advantage_sd: float  # between a position's actions, noise taken off; 0 where noise is all that is seen
    advantage_sd_ci95: tuple[float, float]  # bootstrapped over positions
    noise_sd: float  # of the return after one action
    value_sd: float  # between positions
    mean_return: dict[str, float]  # of each action
    mean_return_se: float

    @property
    def samples(self) -> float:
        """After which an advantage stands out of the noise: the square of their ratio."""
        return float("inf") if self.advantage_sd == 0 else (self.noise_sd / self.advantage_sd) ** 2


class Game:
    """One emulator whose state can be kept and brought back."""

    def __init__(self, name: str, seed: int):
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._ale = ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setFloat("repeat_action_probability", 0.0)
        rom = roms.get_rom_path(rom_of_name()[name])
        assert rom is not None, name
        self._ale.loadROM(rom)
        self._ale.reset_game()
        self._actions = self._ale.getMinimalActionSet()
        self.num_actions = len(self._actions)

    def step(self, action: int, frame_skip: int) -> float:
        """Raw reward. A game that is over begins anew."""
        if self._ale.game_over():
            self._ale.reset_game()
        return sum(self._ale.act(self._actions[action]) for _ in range(frame_skip))

    def returns(self, tries: int, frame_skip: int, *, frames: int, random: np.random.Generator) -> np.ndarray:
        """Of every action from here, [A, M]; the game stands afterwards where it stood."""
        here, lives = self._ale.cloneState(), self._ale.lives()
        found = np.zeros((self.num_actions, tries))
        for action in range(self.num_actions):
            for attempt in range(tries):
                self._ale.restoreState(here)
                for decision in range(-(-frames // frame_skip)):
                    chosen = action if decision == 0 else int(random.integers(self.num_actions))
                    reward = self.step(chosen, frame_skip)
                    found[action, attempt] += DISCOUNT ** (frame_skip * decision) * np.sign(reward)
                    if self._ale.lives() < lives or self._ale.game_over():
                        break
        self._ale.restoreState(here)
        return found


def play(name: str, frame_skip: int, *, positions: int, tries: int, frames: int, seed: int) -> np.ndarray:
    """Returns from positions along random play, [P, A, M]."""
    game, random = Game(name, seed), np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < positions:
        for _ in range(max(1, APART_FRAMES // frame_skip)):
            game.step(int(random.integers(game.num_actions)), frame_skip)
        found.append(game.returns(tries, frame_skip, frames=frames, random=random))
    return np.array(found)


def effect(returns: np.ndarray, frame_skip: int, names: tuple[str, ...], *, seed: int = 0) -> Effect:
    """returns: [P, A, M]."""
    positions, _, tries = returns.shape
    noise = returns.var(axis=2, ddof=1).mean(axis=1)  # [P]
    # Means of M tries vary by the noise too: what is beyond it is the actions'.
    excess = returns.mean(axis=2).var(axis=1, ddof=1) - noise / tries  # [P]
    random = np.random.default_rng(seed)
    drawn = excess[random.integers(positions, size=(1000, positions))].mean(axis=1)
    low, high = np.sqrt(np.maximum(np.quantile(drawn, (0.025, 0.975)), 0.0))
    return Effect(
        frame_skip=frame_skip,
        advantage_sd=float(np.sqrt(max(excess.mean(), 0.0))),
        advantage_sd_ci95=(float(low), float(high)),
        noise_sd=float(np.sqrt(noise.mean())),
        value_sd=float(returns.mean(axis=(1, 2)).std()),
        mean_return=dict(zip(names, returns.mean(axis=(0, 2)).tolist(), strict=True)),
        mean_return_se=float(np.sqrt(noise.mean() / (positions * tries))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="UpNDown")
    parser.add_argument("--skips", type=int, nargs="+", default=[4, 8, 12], metavar="FRAMES")
    parser.add_argument("--positions", type=int, default=160)
    parser.add_argument("--tries", type=int, default=4, help="of each action from each position, 2 or more (default 4)")
    parser.add_argument("--frames", type=int, default=200, help="looked ahead (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = action_names(EnvConfig(game=arguments.game))
    print(f"{'frames':>6} {'advantage':>9} {'interval':>15} {'noise':>6} {'value':>6} {'samples':>8}  mean returns")
    effects = []
    for skip in arguments.skips:
        returns = play(
            arguments.game,
            skip,
            positions=arguments.positions,
            tries=arguments.tries,
            frames=arguments.frames,
            seed=arguments.seed,
        )
        found = effect(returns, skip, names)
        effects.append(found)
        low, high = found.advantage_sd_ci95
        means = ", ".join(f"{name} {value:.2f}" for name, value in found.mean_return.items())
        print(
            f"{skip:6} {found.advantage_sd:9.3f} {f'{low:.3f} to {high:.3f}':>15} {found.noise_sd:6.2f} "
            f"{found.value_sd:6.2f} {found.samples:8.1f}  {means} (each +- {found.mean_return_se:.2f})",
            flush=True,
        )
    results = {**vars(arguments), "effects": [asdict(found) for found in effects]}
    print(f"written to {write_result('bench_action_effect', results, packages=('ale-py', 'numpy'))}")


if __name__ == "__main__":
    main()
