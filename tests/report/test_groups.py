"""Which runs share a curve, and what they are called."""

from dataclasses import replace
from pathlib import Path

from speedyzero.config import get
from speedyzero.config.settings import SETTINGS, build
from speedyzero.report.groups import group_runs
from speedyzero.report.reading import RunRecord, read_run
from tests.report.run_dirs import make_run


def changed(run: RunRecord, name: str, **settings: object) -> RunRecord:
    """The same run under another name and with other settings, "actor__envs" for actor.envs."""
    values = {path: get(run.config, path) for path in SETTINGS}
    values |= {path.replace("__", "."): value for path, value in settings.items()}
    return replace(run, run_dir=run.run_dir.with_name(name), config=build(values))


def test_seeds_share_a_curve_and_settings_do_not(tmp_path: Path):
    run = read_run(make_run(tmp_path / "run"))
    other = changed(run, "other", learner__batch_size=32)
    groups = group_runs([run, changed(run, "a", seed=1), other, changed(run, "b", seed=2, cpu_threads=2)])
    assert [[run.config.seed for run in group.runs] for group in groups] == [[0, 1, 2], [0]]
    assert [group.label.split(", ")[-1] for group in groups] == ["learner.batch_size=256", "learner.batch_size=32"]
    assert len({group.colour for group in groups}) == 2


def test_labels_name_what_tells_runs_of_a_game_apart_and_no_more(tmp_path: Path):
    """Another game's settings are none of theirs; where too much differs the name tells runs apart."""
    run = read_run(make_run(tmp_path / "run"))
    few = [
        changed(run, "a", search__num_simulations=8, actor__envs=3),
        changed(run, "b", search__num_simulations=8, actor__envs=4),
        changed(run, "c", env__game="Catch", preset="catch", env__stack=1),
    ]
    many = [few[0], changed(few[0], "b", learner__batch_size=16), changed(few[1], "d", search__num_simulations=4)]
    labels = [[group.label.removeprefix("Pong, laptop, ") for group in group_runs(runs)] for runs in (few, many)]
    eight = "search.num_simulations=8, actor.envs=3"
    assert labels[0] == ["actor.envs=3", "actor.envs=4", "Catch, catch"]
    assert labels[1] == [f"{eight} (a)", f"{eight} (b)", "search.num_simulations=4, actor.envs=4"]
