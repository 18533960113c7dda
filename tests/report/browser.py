"""Pages in a real headless Chromium: what they show, where it stands, and what the browser asked the network for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.rights import go_without

WIDTH_PX, HEIGHT_PX = 1280, 800
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Alone, offline as far as the browser itself goes, and fit for root in a container.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --allow-file-access-from-files "
    "--host-resolver-rules=MAP\\ *\\ ~NOTFOUND"
)
LOOK = (Path(__file__).parent / "look.js").read_text()


@dataclass(frozen=True)
class Look:
    """What is seen of a page in a window of WIDTH_PX x HEIGHT_PX, everything unfolded."""

    pictures: int
    broken: list[str]  # pictures that do not show, by their alternative text
    overlapping: list[str]  # pairs of texts or pictures
    outside: list[str]  # texts and pictures beyond the window's width
    page_width_px: int


@dataclass(frozen=True)
class Visit:
    looks: list[Look]
    fetched: set[str]  # addresses that pages asked for over the network; the browser's own errands are left out


def visit(pages: Sequence[Path]) -> Visit:
    """All pages in one browser. Skips the test that calls, or fails it in CI, where there is no Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        go_without("no Chromium is installed to open a report in")
    with tempfile.TemporaryDirectory(prefix="chromium-") as folder:
        harness, log = Path(folder) / "harness.html", Path(folder) / "net.json"
        frames = "".join(
            f'<iframe src="{page.as_uri()}" width="{WIDTH_PX}" height="{HEIGHT_PX}"></iframe>' for page in pages
        )
        harness.write_text(f"<!DOCTYPE html><body>{frames}<pre id=found></pre><script>{LOOK}</script>")
        flags = [flag.replace("\\ ", " ") for flag in re.split(r"(?<!\\) ", FLAGS)]
        own = [f"--user-data-dir={folder}/profile", f"--log-net-log={log}", "--window-size=1400,900"]
        command = [program, *flags, *own, "--dump-dom", harness.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
        assert done.returncode == 0 and found is not None, done.stdout[-2000:] + done.stderr
        fetched = _asked_for(log)
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return Visit([Look(**look) for look in json.loads(text)], fetched)


def _asked_for(log: Path) -> set[str]:
    """Of Chromium's log of its network: what a page began, which a request of the browser itself says of none."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    by_pages = [params for params in events if params.get("initiator", "not an origin") != "not an origin"]
    return {params["url"] for params in by_pages if not params["url"].startswith(("file:", "data:"))}
