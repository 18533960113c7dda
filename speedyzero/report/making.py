"""Writes the files of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from speedyzero.report.command import PAGE_FILE, PICTURES_FOLDER
from speedyzero.report.figures import (
    Picture,
    certainty_picture,
    knowledge_picture,
    loss_picture,
    replay_picture,
    score_picture,
    speed_picture,
)
from speedyzero.report.groups import Group, group_runs
from speedyzero.report.page import page
from speedyzero.report.reading import RunRecord
from speedyzero.report.utilisation import utilisation_picture
from speedyzero.system.atomic_file import write_atomically


def make_report(runs: Sequence[RunRecord], out: Path) -> Path:
    """Write the page and its pictures, print where, and return the page's path."""
    groups = group_runs(runs)
    pictures = draw(groups)
    folder = out / PICTURES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_atomically(folder / f"{picture.name}.png", picture.png)
    path = out / PAGE_FILE
    write_atomically(path, page(groups, pictures).encode())
    print(f"written   {path}, and its pictures in {folder}")
    return path


def draw(groups: Sequence[Group]) -> list[Picture]:
    """All pictures, in the page's order."""
    games = dict.fromkeys(group.game for group in groups)
    pictures = []
    for game in games:
        of_game = [group for group in groups if group.game == game]
        title = "Score" if len(games) == 1 else f"Score in {game}"
        name = "score" if len(games) == 1 else f"score-{''.join(c if c.isalnum() else '-' for c in game)}"
        pictures.append(score_picture(of_game, title=title, name=name))
    pictures += [knowledge_picture(groups), loss_picture(groups), certainty_picture(groups), replay_picture(groups)]
    utilisation = utilisation_picture(groups)
    return [*pictures, *([utilisation] if utilisation else []), speed_picture(groups)]
