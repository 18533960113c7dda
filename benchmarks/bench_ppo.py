"""What a student would pick instead: Stable-Baselines3's PPO for the same minutes on the same cores.

Settings are its zoo's for Atari (RL Baselines3 Zoo, `hyperparams/ppo.yml`): 8 environments, 128 steps, 4 epochs of
batches of 256, rate 2.5e-4 and clip 0.1 falling linearly over 10 million steps, entropy 0.01, value 0.5, 4 stacked
frames of 84 pixels, 4 frames an action, no sticky actions. Scores are its training games, unclipped, of whole games.

    .venv/bin/python -m pip install -c constraints.txt -e '.[ppo]'
    make bench NAME=ppo ARGS="--game Pong --minutes 30 --seed 0"

Adds a line to results/bench_ppo.jsonl; `make bench NAME=laptop` draws it beside our runs.
"""

import time

from benchmarks.common import Figure, parser, report

PLANNED_STEPS, FRAME_SKIP = 10_000_000, 4


def train(game: str, minutes: float, seed: int, threads: int) -> list[list[float]]:
    """(minute, frames, score) of every game that ended."""
    import ale_py
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    gymnasium.register_envs(ale_py)
    torch.set_num_threads(threads)
    games: list[list[float]] = []
    started_s = time.monotonic()

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            minute = (time.monotonic() - started_s) / 60
            for info in self.locals["infos"]:
                if "episode" in info:  # of whole games: the monitor lies below the wrapper that ends at a lost life
                    games.append([round(minute, 3), FRAME_SKIP * self.num_timesteps, float(info["episode"]["r"])])
            return minute < minutes

    environments = make_atari_env(
        f"{game}NoFrameskip-v4", n_envs=8, seed=seed, env_kwargs={"repeat_action_probability": 0.0}
    )
    model = PPO(
        "CnnPolicy",
        VecFrameStack(environments, n_stack=4),
        n_steps=128,
        n_epochs=4,
        batch_size=256,
        learning_rate=lambda left: 2.5e-4 * left,
        clip_range=lambda left: 0.1 * left,
        vf_coef=0.5,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
    )
    model.learn(PLANNED_STEPS, callback=Watch())
    return games


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--game", default="Pong")
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=2, help="of torch")
    arguments = options.parse_args()
    games = train(arguments.game, arguments.minutes, arguments.seed, arguments.threads)
    what = f"{arguments.game}, {arguments.minutes:g} minutes, seed {arguments.seed}: the last 20 games"
    figures = [Figure.of(what, [score for _, _, score in games[-20:]] or [float("nan")], "")]
    packages = ("stable-baselines3", "torch", "ale-py", "gymnasium", "numpy")
    report("bench_ppo", figures, packages=packages, game=arguments.game, seed=arguments.seed, games=games)


if __name__ == "__main__":
    main()
