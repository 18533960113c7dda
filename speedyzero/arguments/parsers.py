"""The arguments of each command: flags, defaults and help. `cli.py` checks their values."""

from __future__ import annotations

from pathlib import Path

from speedyzero.arguments.command_line import Parser
from speedyzero.config import EvaluateConfig, choices
from speedyzero.config.documents import presets

GRIDS = ("one-at-a-time", "full")


def train_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Train an agent and score it.")
    parser.add_argument(
        "--game", help="an Atari game (Pong), a Gymnasium id (CartPole-v1), Catch, or your own: my_module:MyGame-v0"
    )
    parser.add_argument("--preset", help=f"{', '.join(presets())}; default: what suits the game and the machine")
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument("--gpus", type=int, help="how many to use; 0 is the CPU; default: every visible one")
    parser.add_argument("--run-dir", help="a new or empty directory; default: runs/<game>-<preset>-seed<seed>-<number>")
    parser.add_argument("--inline", action="store_true", help="one process, bit-reproducible on a CPU")
    parser.add_argument("--resume", nargs="?", const="", metavar="DIR", help="continue a run or checkpoint")
    parser.add_argument("--force", action="append", default=[], metavar="SETTING", help="may differ in a resumed run")
    parser.add_argument(
        "--reshard",
        action="store_true",
        help="resume with other numbers of GPUs, actors, envs, shards, in a new directory",
    )
    parser.add_argument(
        "--profile", nargs="?", const="", metavar="SECONDS", help="write a trace; default: of the whole run"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="any setting, as search.num_simulations=16")
    return parser


def evaluate_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Score a run's newest weights on full games.")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="or a checkpoint's directory, copied anywhere")
    parser.add_argument("--game", help="the run's; needed if it is your own, my_module:MyGame-v0")
    parser.add_argument("--seed", type=int, default=0, help="of the evaluation's games; default: 0")
    parser.add_argument("--episodes", type=int, help="default: as the run was evaluated at its end")
    parser.add_argument("--action", choices=choices(EvaluateConfig, "action"), help="default: as the run was evaluated")
    parser.add_argument("--video", type=Path, help="film one episode into this .mp4 or .gif file")
    parser.add_argument(
        "--blind", action="store_true", help="score its blind twin, too: the same actions as often, without looking"
    )
    return parser


def ablate_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Compare runs that differ in one part, over seeds.")
    parser.add_argument("--game", help="as for train")
    parser.add_argument("--preset", help="as for train")
    parser.add_argument("--gpus", type=int, help="for each run; runs that fit go side by side")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N - 1; default: 5")
    parser.add_argument(
        "--vary",
        nargs="+",
        required=True,
        metavar="key[=value,...]",
        help="what to compare; without values: a switch's both, a choice's all",
    )
    parser.add_argument(
        "--grid", choices=GRIDS, default=GRIDS[0], help="from the preset one change at a time, or all combinations"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time; default: as many as fit")
    parser.add_argument("--inline", action="store_true", help="each run in one process")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new, or of the same ablation to continue"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for all runs")
    return parser


def atari100k_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="The 26 games of Atari 100k, over seeds.")
    parser.add_argument("--games", nargs="+", metavar="GAME", help="some of the 26 (Pong Breakout); default: all")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N - 1; default: 5")
    parser.add_argument("--preset", default="atari100k", help="as for train; default: atari100k")
    parser.add_argument("--gpus", type=int, help="for each run, 0 is the CPU; default: 1 if there is one")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time; default: as many as GPUs allow, CPU: 1")
    parser.add_argument("--inline", action="store_true", help="each run in one process")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/atari100k-<preset>; the same to resume")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for all runs")
    return parser
