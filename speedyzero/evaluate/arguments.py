"""Arguments of `evaluate`."""

from collections.abc import Sequence
from pathlib import Path

from speedyzero.arguments.command_line import Action, Parser, at_least, check_writable, parse
from speedyzero.config import EvaluateConfig, choices

VIDEO_SUFFIXES = (".mp4", ".gif")


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Score a run's newest weights on full games.")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="or a checkpoint's directory, copied anywhere")
    parser.add_argument("--game", help="the run's; needed if it is your own, my_module:MyGame-v0")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the evaluation's games; default: 0")
    parser.add_argument("--episodes", type=at_least(1), help="default: as the run was evaluated at its end")
    parser.add_argument("--action", choices=choices(EvaluateConfig, "action"), help="default: as the run was evaluated")
    parser.add_argument("--video", type=Path, help="film one episode into this .mp4 or .gif file")
    parser.add_argument(
        "--blind", action="store_true", help="also score its blind twin: random actions at the agent's frequencies"
    )
    return parser


def check(argv: Sequence[str], prog: str) -> Action:
    """The action of `evaluate` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), argv)
    run_dir, video = Path(flags.run_dir), flags.video
    if video is not None:
        if video.suffix not in VIDEO_SUFFIXES:
            raise ValueError(f"--video {video}: must end in {' or '.join(VIDEO_SUFFIXES)}")
        check_writable(video.parent, f"--video {video}")
    from speedyzero.env.registry import check_drawable, try_game
    from speedyzero.evaluate.command import evaluate_run, load_agent
    from speedyzero.evaluate.source import find_source

    source = find_source(run_dir, game=flags.game)
    config = source.config
    try_game(config.env)
    if video is not None:
        check_drawable(config.env, f"--video {video}")
    load_agent(config, source.weights)
    episodes = config.evaluate.episodes if flags.episodes is None else flags.episodes
    options = {"action": flags.action, "blind": flags.blind, "seed": flags.seed}
    return lambda: evaluate_run(run_dir, episodes, video, **options)
