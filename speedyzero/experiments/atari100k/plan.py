"""The plan of a benchmark: one run for each game and seed. Starts and writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from speedyzero.arguments.resolve import resolve, visible_gpus
from speedyzero.config.settings import near
from speedyzero.evaluate.human_normalised import benchmark_games, benchmark_name
from speedyzero.experiments.grid.run import GridRun

PRESET = "atari100k"


@dataclass(frozen=True)
class Benchmark:
    """Everything that determines the runs."""

    games: tuple[str, ...]
    seeds: tuple[int, ...]
    preset: str = PRESET
    gpus: int | None = None
    """Per run; None: one if there is any, otherwise the CPU."""
    settings: tuple[str, ...] = ()
    """For all runs, as key=value."""
    inline: bool = False


def read_games(words: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """The games in `--games`' arguments by their usual names, each once, and the settings (key=value) among them.

    None: all 26. Raises ValueError for any other game.
    """
    if words is None:
        return tuple(benchmark_games()), []
    games: dict[str, None] = {}
    settings = []
    for word in words:
        if "=" in word:
            settings.append(word)
            continue
        name = benchmark_name(word)
        if name is None:
            raise ValueError(
                f"--games {word}: none of the 26 games of Atari 100k{near(word, benchmark_games())}; there are "
                f"{', '.join(benchmark_games())}"
            )
        games[name] = None
    if not games:
        raise ValueError("--games: name one or more, or leave --games out for all 26")
    return tuple(games), settings


def plan_runs(benchmark: Benchmark) -> tuple[GridRun, ...]:
    """Every run, seed by seed, so that an interrupted benchmark has all games of its finished seeds.

    Without films unless set otherwise. Raises ValueError for whatever `resolve` rejects.
    """
    gpus = min(1, visible_gpus()) if benchmark.gpus is None else benchmark.gpus
    video = () if any(one.startswith("evaluate.video=") for one in benchmark.settings) else ("evaluate.video=false",)
    settings = (*video, *benchmark.settings)
    runs = []
    for seed in benchmark.seeds:
        for game in benchmark.games:
            config = resolve(benchmark.preset, game, seed, gpus, None, settings)
            _check_settings(config.run_dir, config.env.game, config.seed, game=game, seed=seed)
            runs.append(GridRun(game, seed, config, settings))
    return tuple(runs)


def _check_settings(run_dir: str, game_now: str, seed_now: int, *, game: str, seed: int) -> None:
    """Raises ValueError for settings that override a run's directory, game or seed."""
    if run_dir:
        raise ValueError(f"run_dir={run_dir}: a benchmark gives each run a directory of its own; choose --out")
    if game_now != game:
        raise ValueError(f"env.game={game_now}: games are chosen with --games")
    if seed_now != seed:
        raise ValueError(f"seed={seed_now}: seeds are 0 to N - 1 of --seeds N")
