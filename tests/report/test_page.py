"""The page: which numbers stand in it, that it holds all that it shows, and that a real browser has no complaint."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

from speedyzero.report.figures import Picture
from speedyzero.report.groups import group_runs
from speedyzero.report.page import page
from speedyzero.report.reading import read_run
from tests.faults.rights import go_without
from tests.report.run_dirs import make_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --enable-logging=stderr --dump-dom".split()
PLANTED = '<img src="http://planted.invalid/picture.png"><script>document.title = "planted"</script>'


def made(*run_dirs: Path) -> str:
    return page(group_runs([read_run(run_dir) for run_dir in run_dirs]), [Picture("score", "<more>", "", b"png")])


def rows(text: str) -> list[list[str]]:
    """The cells of every table, without their tags."""
    found = [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in text.split("<tr")[1:]]
    return [[unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in found]


def test_the_result_stands_beside_published_scores_where_there_are_any(tmp_path: Path):
    found = rows(made(make_run(tmp_path / "run")))
    assert found[1][5:] == ["-15 (-16.5 to -13.75), 32 games", "0.161", "-13 at train step 200", "-20.4"]
    assert ["raw score", "-20.7", "14.6", "20.1"] in found
    text = made(make_run(tmp_path / "catch", "Catch", preset="catch", final_score=7.0))
    assert "7 (5.5 to 8.25), 32 games" in rows(text)[1] and "human-normalised" not in text


def test_seeds_are_listed_and_averaged(tmp_path: Path):
    run_dirs = [make_run(tmp_path / f"{i}", seed=i, final_score=score) for i, score in enumerate((-10, -12, -17))]
    found = rows(made(*run_dirs))
    assert [row[5].partition(" ")[0] for row in found[1:4]] == ["-10", "-12", "-17"]
    assert found[4][5:7] == ["-13 (-17 to -10), 3 evaluated", f"{(-13 + 20.7) / 35.3:.3f}"]


def test_policy_and_value_and_utilisation_in_numbers(tmp_path: Path):
    found = rows(made(make_run(tmp_path / "run")))
    assert ["run", "0.83", "0.50", "0.70", "0.74", "0.10"] in found
    assert ["learner-0", "50 %", "25 %", "12 %", "0 %", "0 %"] in [row[:6] for row in found]


def test_settings_system_and_state(tmp_path: Path):
    begun = make_run(tmp_path / "begun", reached=80, sittings=2, settings=["learner.batch_size=32"])
    text = made(begun, make_run(tmp_path / "other"))
    found = rows(text)
    for row in (["learner.batch_size", "32", "256"], ["env.image_size_px", "64", "96"]):
        assert found.count(row) == 1, row
    assert "stopped at train step 76 of 400; resumed 1 time" in found[1] and "not evaluated yet" in found[1]
    systems = [row[2:] for row in found if row[:2] == ["begun", "2026-01-02 03:04:05 UTC"]]
    assert len(systems) == 2 and {"16 cores, A Processor of 64 Cores", "2 x H100 80GB HBM3"} < set(systems[0])
    assert unescape(text).count('"search.num_simulations": 16') == 2


def test_what_a_run_says_is_text(tmp_path: Path):
    """Names come from the user: they are shown, not obeyed."""
    text = made(make_run(tmp_path / "<script>alert(1)"))
    assert "<script" not in text and "<script>alert(1)" in unescape(text)
    assert re.findall('(?:src|href)="(.*?)"', text) == ["data:image/png;base64,cG5n"]


def complaints(path: Path) -> list[str]:
    """What Chromium writes to its console about a page. Without Chromium the test is skipped, or fails in CI."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        go_without("no Chromium is installed to open a report in")
    own = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={path.parent / 'profile'}"]
    done = subprocess.run([program, *FLAGS, *own, path.as_uri()], capture_output=True, text=True)
    assert done.returncode == 0 and "</main>" in done.stdout, done.stderr
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_opens_it_without_an_error_and_refuses_what_is_planted(tmp_path: Path):
    runs = make_run(tmp_path / "a"), make_run(tmp_path / "b", "Catch", preset="catch", evaluated=False)
    path, text = tmp_path / "report.html", made(*runs)
    path.write_text(text)
    assert complaints(path) == []
    path.write_text(text.replace("</main>", f"{PLANTED}</main>"))
    assert ["Content Security Policy" in line for line in complaints(path)] == [True, True]
