"""The report page: one HTML file with embedded pictures; its content security policy forbids scripts and fetches.

Laid out for windows of 1280x800 and narrower; wider tables scroll.
"""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from speedyzero.config import Config, get
from speedyzero.config.placement import place
from speedyzero.config.settings import SETTINGS
from speedyzero.evaluate.human_normalised import human_normalised, reference_scores
from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.observe.progress import format_duration
from speedyzero.report.figures import Picture
from speedyzero.report.groups import Group, differing
from speedyzero.report.reading import RunRecord

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_LATEST = 3  # records that a sentence's value is the mean of
_MANY_RUNS = 3  # full settings are shown for at most this many groups
_SOURCE = "random and human: the usual normalisation; EfficientZero: Ye et al. 2021, after 100,000 env steps"


def page(groups: Sequence[Group], pictures: Sequence[Picture]) -> str:
    runs = [run for group in groups for run in group.runs]
    title = groups[0].label if len(groups) == 1 else f"{len(runs)} runs"
    if len(runs) == 1:
        title += f", seed {runs[0].config.seed}"
    sections = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="note">Made {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())} from '
        f"{_text(', '.join(run.name for run in runs))}.</p>",
        _scores(groups),
        _knowledge(runs),
        *(_figure(picture) for picture in pictures),
        _settings(groups),
        _placement(groups),
        _system(runs),
    ]
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)} - SpeedyZero</title>",
            f"<style>{_STYLE}</style></head><body><main>",
            *sections,
            "</main></body></html>",
            "",
        )
    )


def _scores(groups: Sequence[Group]) -> str:
    header = ["run", "state", "env steps", "train steps", "time at work", "score", "best"]
    known = any(reference_scores(group.game) for group in groups)
    if known:
        header.insert(6, "human-normalised")
    rows = []
    for group in groups:
        rows += [_score_row(group, run, normalised=known) for run in group.runs]
        if len(group.runs) > 1:
            rows.append(_mean_row(group, normalised=known))
    parts = ["<h2>Result</h2>", _table(header, rows)]
    parts.append(
        '<p class="note">Score: mean raw reward of full games by the newest evaluated weights, with its 95% '
        "interval. Best: the highest of all evaluations; selected by its score, so biased upwards.</p>"
    )
    for game in dict.fromkeys(group.game for group in groups):
        parts.append(_published(game))
    return "\n".join(part for part in parts if part)


def _knowledge(runs: Sequence[RunRecord]) -> str:
    """A sentence per run on how its agent's behaviour depends on the position; none for runs that did not record it."""
    lines = []
    for run in runs:
        parts = [
            words.format(series.values[-_LATEST:].mean())
            for words, series in (
                ("values correlate {:.2f} with the returns", run.series("actor/value_return_correlation")),
                (
                    "the policy has {:.2f} nats of information about the position",
                    run.series("actor/policy_information"),
                ),
                ("network and search agree on {:.0%} of the actions", run.series("actor/prior_agreement")),
            )
            if len(series.values)
        ]
        twin = run.scores.get("last", {}).get("blind_twin")
        if twin is not None:
            parts.append(f"the blind twin, with the same actions and without looking, scores {twin['mean']:.5g}")
        if parts:
            lines.append(f"<li>{_text(run.name)}: {_text('; '.join(parts))}.</li>")
    return f"<h2>Does it look?</h2>\n<ul>{''.join(lines)}</ul>" if lines else ""


def _score_row(group: Group, run: RunRecord, *, normalised: bool) -> list[str]:
    last, best = run.scores.get("last"), run.scores.get("best")
    row = [
        f"{group.label}, seed {run.config.seed}",
        run.state,
        f"{run.env_steps:,}",
        f"{run.train_steps:,}",
        format_duration(run.duration_s),
        "not evaluated yet" if last is None else _score(last),
        "" if best is None else f"{best['mean']:.5g} at train step {best['step']:,}",
    ]
    if normalised:
        row.insert(6, "" if last is None else _normalised(run.config.env.game, last))
    return row


def _score(last: dict) -> str:
    text = f"{last['mean']:.5g}"
    if last.get("ci95"):
        text += f" ({last['ci95'][0]:.5g} to {last['ci95'][1]:.5g})"
    return text + f", {last['episodes']} games"


def _normalised(game: str, last: dict) -> str:
    """Empty if a game was cut off or has no reference scores."""
    is_recorded = "human_normalised" in last  # older runs lack it
    value = last["human_normalised"] if is_recorded else human_normalised(game, last["mean"])
    return "" if value is None else f"{value:.3f}"


def _mean_row(group: Group, *, normalised: bool) -> list[str]:
    means = np.array([run.scores["last"]["mean"] for run in group.runs if run.scores])
    row = [f"{group.label}: mean of {len(group.runs)} seeds", "", "", "", "", "", ""]
    if len(means):
        interval = bootstrap_ci95(means)
        row[5] = f"{means.mean():.5g}" + ("" if interval is None else f" ({interval[0]:.5g} to {interval[1]:.5g})")
        row[5] += f", {len(means)} evaluated"
    if normalised:
        value = human_normalised(group.game, float(means.mean())) if len(means) else None
        row.insert(6, "" if value is None else f"{value:.3f}")
    return [f"<b>{_text(cell)}</b>" for cell in row]


def _published(game: str) -> str:
    known = reference_scores(game)
    if known is None:
        return ""
    levels = {"random play": known.random, "human": known.human, "EfficientZero": known.efficientzero}
    rows = [["raw score", *(f"{level:g}" for level in levels.values())]]
    rows.append(["human-normalised", *(f"{human_normalised(game, level):.3f}" for level in levels.values())])
    return f'<h3>Published scores of {_text(game)}</h3>\n{_table(["", *levels], rows)}\n<p class="note">{_SOURCE}.</p>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f"<h2>{_text(picture.title)}</h2>\n<figure><figcaption>{_text(picture.words)}</figcaption>"
        f'<img alt="{_text(picture.title)}" src="data:image/png;base64,{data}"></figure>'
    )


def _settings(groups: Sequence[Group]) -> str:
    firsts = [group.runs[0] for group in groups]
    parts = ["<h2>Settings</h2>"]
    if len(groups) > 1:
        paths = differing(firsts)
        rows = [[path, *(_value(get(run.config, path)) for run in firsts)] for path in paths]
        parts += [
            "<h3>Where the runs differ</h3>",
            _table(["setting", *(group.label for group in groups)], rows, whole={"setting"}),
        ]
    shared = [path for path in SETTINGS if len({str(get(run.config, path)) for run in firsts}) == 1]
    default, config = Config(), firsts[0].config
    changed = [path for path in shared if get(config, path) != get(default, path) and path not in ("run_dir", "seed")]
    rows = [[path, _value(get(config, path)), _value(get(default, path))] for path in changed]
    parts += ["<h3>Where they differ from the defaults</h3>" if len(groups) > 1 else "", _in_columns(rows)]
    for group in groups[:_MANY_RUNS]:
        label = f"Every setting of {group.label}" if len(groups) > 1 else "Every setting"
        parts.append(f"<details><summary>{_text(label)}</summary><pre>{_text(group.runs[0].settings)}</pre></details>")
    return "\n".join(parts)


def _in_columns(rows: list[list[str]]) -> str:
    """Settings in two tables side by side."""
    half = -(-len(rows) // 2)
    tables = [_table(["setting", "here", "default"], part) for part in (rows[:half], rows[half:]) if part]
    return f'<div class="columns">{"".join(tables)}</div>'


def _placement(groups: Sequence[Group]) -> str:
    header, rows = ["run", "actors", "replay shards", "learners", "environments"], []
    for group in groups:
        config = group.runs[0].config
        placed = place(config)
        devices = [_devices(role) for role in (placed.actors, placed.shards, placed.learners)]
        lanes = f"{len(placed.actors)} x {config.actor.envs}"
        rows.append([group.label, *devices, lanes])
    return f"<h2>Placement</h2>\n{_table(header, rows)}"


def _devices(devices: Sequence[str]) -> str:
    counts = {device: devices.count(device) for device in dict.fromkeys(devices)}
    return ", ".join(f"{count} on {device}" for device, count in counts.items())


def _system(runs: Sequence[RunRecord]) -> str:
    header, rows = ["run", "begun or resumed", "processor", "memory", "GPUs", "versions", "commit"], []
    for run in runs:
        for entry in run.systems:
            versions = ", ".join(f"{name} {version}" for name, version in entry["packages"].items() if version)
            gpus = ", ".join(f"{entry['gpus'].count(name)} x {name}" for name in dict.fromkeys(entry["gpus"]))
            rows.append(
                [
                    run.name,
                    entry["time"],
                    f"{entry['cores']} cores, {entry['cpu']}",
                    f"{entry['memory_gib']} GiB",
                    gpus or "none used",
                    f"Python {entry['python']}, {versions}; {entry['kernel']}",
                    entry["commit"] or "unknown",
                ]
            )
    if len(runs) == 1:
        header, rows = header[1:], [row[1:] for row in rows]
    content = (
        _table(header, rows, whole={"begun or resumed", "memory", "GPUs", "commit"})
        if rows
        else '<p class="note">Not recorded: these runs predate this record.</p>'
    )
    return f"<h2>System</h2>\n{content}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str] = ()) -> str:
    """whole: columns whose cells do not wrap."""
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    tags = ['<td class="whole">' if name in whole else "<td>" for name in header]
    body = "".join(
        "<tr>" + "".join(f"{tag}{_cell(cell)}</td>" for tag, cell in zip(tags, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str) -> str:
    return cell if cell.startswith("<b>") else _text(cell)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return str(value) if value != "" else "none"


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)
