"""The page of figures, made from the newest lines of the files in benchmarks/results: nothing in it is by hand.

python -m benchmarks.performance_page          # prints the table and writes the page
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

PAGE = Path("docs/results/performance.md")
HEAD = """# Performance

Made by `python -m benchmarks.performance_page` from the newest lines in `benchmarks/results/`, which
`make bench` appends to; nothing here is written by hand. Budgets: the design's performance page. A peer's figure is of
the same run unless it says so. Commits with `+` had changes that were not committed: under `make bench` the result
lines of the benchmarks before. The machine lent differs from day to day: that of 2026-11-28 was 3 to 6 times as slow as
that of 2026-11-22.

| subject | figure | budget | peer | ratio | commit |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One subject. budget and peer: in words; empty where there is none."""

    subject: str
    figure: str
    budget: str = ""
    peer: str = ""
    ratio: str = ""  # of ours to the peer's, in one run


def tree(results: dict[str, Any]) -> Iterator[Row]:
    wanted = {"puct": 15.0, "gumbel": 8.0}
    for size, found in results.items():
        roots, actions, simulations = size.split("x")
        for algorithm, budget in wanted.items():
            ours, peer = found[f"{algorithm} ours"], found.get(f"{algorithm} mctx")
            name = f"tree operations, {algorithm}, {roots} roots, {actions} actions, {simulations} simulations, CPU"
            spread = f"{ours['median_ms']:.2f} ms ({ours['min_ms']:.2f} to {ours['max_ms']:.2f})"
            if peer is None:
                yield Row(name, spread, f"{budget:.0f}x mctx")
                continue
            ratio = f"{peer['median_ms'] / ours['median_ms']:.1f}x"
            ratio += f"; processor time {peer['cpu_median_ms'] / ours['cpu_median_ms']:.1f}x"
            beside = f"mctx {peer['median_ms']:.1f} ms (jax.jit, all cores)"
            yield Row(name, spread, f"{budget:.0f}x mctx", beside, ratio)


def start(results: dict[str, Any]) -> Iterator[Row]:
    def median(way: str, key: str) -> float:
        return statistics.median(turn[key] for turn in results[way])

    def told(way: str) -> str:
        all_s, cpu_s, next_s, mib = (median(way, key) for key in ("seconds", "cpu_s", "successor_s", "own_mib"))
        return f"{all_s:.1f} s, of processors {cpu_s:.1f} s, then one more {next_s:.2f} s; {mib:.0f} MiB each"

    ratio = f"{median('spawned', 'seconds') / median('forked', 'seconds'):.1f}x, processor time "
    ratio += f"{median('spawned', 'cpu_s') / median('forked', 'cpu_s'):.1f}x"
    name = f"{results['processes']} processes are ready to work, forked from a server"
    yield Row(name, told("forked"), "", f"each spawned: {told('spawned')}", ratio)
    begun, ended = (statistics.median(run[key] for run in results["whole_run"]) for key in ("begun_s", "ended_s"))
    yield Row(
        "`train.py --game Catch`, 20 train steps", f"trains after {begun:.1f} s, ends with its score after {ended:.1f}"
    )


def ring(results: dict[str, Any]) -> Iterator[Row]:
    for row in results["rows"]:
        low, middle, high = row["share_of_copy_min_median_max"][""]
        _, rate, _ = row["gb_per_s_min_median_max"]["ring"]
        budget = "half of copy in + copy out" if row["size_bytes"] == 2**20 else ""
        share = f"{100 * middle:.0f}% of plain copies ({100 * low:.0f} to {100 * high:.0f}), {rate:.2g} GB/s"
        yield Row(f"ring, records of {row['size_bytes'] // 1024:,} KiB", share, budget)
    median, worst = results["doorbell_round_trip_us_p50_p99"]
    yield Row("doorbell, round trip", f"{median:.0f} us, p99 {worst:.0f}", "p99 under 100 us")
    yield Row("a waiting process", f"{results['idle_percent']:.2f}% of a core", "under 1%")


def cartpole(results: dict[str, Any]) -> Iterator[Row]:
    runs, mode = results["runs"], "inline" if "--inline" in results["words"] else "as processes"
    times = [run["training_s"] for run in runs]
    figure = f"{results['solved']} of {len(runs)} seeds, {min(times):.0f} to {max(times):.0f} s"
    yield Row(f"CartPole-v1 solved from a cold start, {mode}", figure, "475 of 500 within 180 s")


def cpu_training(results: dict[str, Any]) -> Iterator[Row]:
    from benchmarks.bench_cpu_training import LIGHTZERO_PER_S, TARGET_PER_S

    for name, found in results.items():
        peer = LIGHTZERO_PER_S.get(name)
        yield Row(
            f"CartPole, 8 envs, 25 simulations: {name}",
            f"{found['median']:,.0f} {found['unit']} ({found['min']:,.0f} to {found['max']:,.0f})",
            f"{TARGET_PER_S[name]:,.0f}" if name in TARGET_PER_S else "",
            f"LightZero {peer:g} (quoted, another run)" if peer else "",
            f"{found['median'] / peer:.0f}x" if peer else "",
        )


def process_mode(results: dict[str, Any]) -> Iterator[Row]:
    rates = {
        mode: statistics.median(run["train_steps_per_s"] for run in runs) for mode, runs in results["rates"].items()
    }
    for mode, rate in rates.items():
        ratio = f"{rate / rates['inline']:.2f}x inline" if mode != "inline" else ""
        yield Row(f"{results['game']}, whole run, {mode}", f"{rate:.1f} train steps/s", "", "", ratio)


def host_targets(results: dict[str, Any]) -> Iterator[Row]:
    median = results["all_median_ms"]
    yield Row(
        "reanalyzer's host part of a batch of 2048",
        f"{median:.1f} ms wall clock, {100 * results['share']:.0f}% of the budget",
        f"{results['budget_ms']:.0f} ms (20,000 samples/s)",
    )


def growth(results: dict[str, Any]) -> Iterator[Row]:
    sizes = sorted(results["by_positions"], key=int)
    first, last = (results["by_positions"][sizes[end]] for end in (0, -1))
    span = f"{int(sizes[0]):,} to {int(sizes[-1]):,} positions"
    for name in ("append", "batch", "sweep", "record", "save"):
        ms = [statistics.median(one[name]) for one in (first, last)]
        budget = "flat" if name in ("append", "batch") else ""
        yield Row(f"{name}, {span}", f"{ms[0]:.3g} to {ms[1]:.3g} ms of processor time", budget)


def checkpoint(results: dict[str, Any]) -> Iterator[Row]:
    for cost in results["costs"]:
        name = f"checkpoint of {cost['game']} ({cost['preset']}), {cost['positions']:,} positions"
        yield Row(f"{name}: the learner's pause", f"{cost['learner_pause_ms']:.0f} ms")
        yield Row(f"{name}: bytes", f"{cost['checkpoint_mib']:.1f} MiB, and {cost['log_mib']:.1f} MiB of log so far")
        yield Row(f"{name}: a frame in the log", f"{cost['log_bytes_per_frame']:.0f} bytes", "1 to 3 kB")
        yield Row(f"{name}: resume", f"{cost['verify_s'] + cost['restore_s']:.1f} s")


def kills(results: dict[str, Any]) -> Iterator[Row]:
    scores = ", ".join(f"{name} {found['score']:.0f}" for name, found in results.items() if isinstance(found, dict))
    yield Row(f"{results['game']} killed {len(results['kills'])} times and resumed", f"score: {scores}")


def learner_group(results: dict[str, Any]) -> Iterator[Row]:
    for preset, groups in results.items():
        for ranks, ways in groups.items():
            alone = ways["alone"]["cpu_median_ms"]
            spread = ways["flat"]
            yield Row(
                f"a train step of {ranks} ranks on gloo, {preset}",
                f"{spread['cpu_median_ms']:.0f} ms of processor time in all, {spread['median_ms']:.0f} by the clock",
                "",
                f"DistributedDataParallel {ways['ddp']['cpu_median_ms']:.0f} and {ways['ddp']['median_ms']:.0f} ms",
                f"{spread['cpu_median_ms'] / alone:.2f}x one learner's",
            )


def profiled(results: dict[str, Any]) -> Iterator[Row]:
    if "span_ns" in results:
        recorded, unrecorded = results["span_ns"]["recorded"], results["span_ns"]["not recorded"]
        yield Row(
            "one span of a profile", f"{recorded / 1e3:.1f} us; {unrecorded / 1e3:.1f} where none is recorded", "1 us"
        )
    slowed = [run for run in results.get("named", ()) if run["slowed"]]
    if slowed:
        right = sum(run["bottleneck"] == f"{run['slowed']}-0" for run in slowed)
        yield Row("slowed roles that a profile names", f"{right} of {len(slowed)}", "all")
        most = max(run["unaccounted"] for run in results["named"])
        yield Row("time that a profile leaves unaccounted", f"{100 * most:.2f}% at most of a process", "under 2%")


def profile_overhead(results: dict[str, Any]) -> Iterator[Row]:
    words = {"train_steps_per_s": "train steps a second", "cpu_s_per_train_step": "processor time a train step"}
    pairs = len(results["runs"]["plain"])
    for name, what in words.items():
        percent = results[f"overhead_percent/{name}"]
        figure = f"{percent['median']:+.1f}% ({percent['min']:+.1f} to {percent['max']:+.1f}, {pairs} pairs of runs)"
        yield Row(f"cost of profiling a whole run of Pong, {what}", figure, "under 2%")


def soak_hour(results: dict[str, Any]) -> Iterator[Row]:
    kills, wrong = sum(results["kills"].values()), results["wrong"]
    records = sum(ring["produced"] for ring in results["records"].values())
    unaccounted = sum(ring["unaccounted"] for ring in results["records"].values())
    name = f"Pong for {results['minutes']:.0f} minutes, {kills} kills"
    verdict = "failed: " + "; ".join(wrong) if wrong else "ended by itself"
    yield Row(name, f"{verdict}; {unaccounted} of {records:,} records unaccounted", "0 unaccounted, memory flat")
    for what, (early, late) in results["second_and_last_quarter"].items():
        yield Row(f"{name}: {what}", f"{early:.4g} in the second quarter, {late:.4g} in the last", "flat")


def laptop(results: dict[str, Any]) -> Iterator[Row]:
    """Minutes to each milestone, by seed; a dash where it was not reached."""
    runs = results["runs"]
    for wanted in runs[0]["minutes_to"]:
        minutes = [run["minutes_to"][wanted] for run in runs]
        shown = ", ".join("-" if one is None else f"{one:g}" for one in minutes)
        yield Row(f"{results['game']} on two cores, preset laptop: to {wanted}", f"{shown} minutes, a seed each")
    scores = ", ".join(f"{run['most_visited'] or float('nan'):.3g} and {run['sampled']:.3g}" for run in runs)
    twins = ", ".join(f"{run['blind_twin']:.3g}" for run in runs)
    yield Row(f"{results['game']}: final, by most visited and by sampled action", scores, "", f"blind twin {twins}")


@dataclass(frozen=True)
class Subject:
    """Where figures come from: the newest line of a file that has `key` among its results."""

    file: str
    command: str
    rows: Callable[[dict[str, Any]], Iterator[Row]]
    key: str = ""

    def line(self) -> dict[str, Any] | None:
        path = RESULTS / f"{self.file}.jsonl"
        lines = map(json.loads, reversed(path.read_text().splitlines() if path.exists() else []))
        return next((line for line in lines if not self.key or line["results"].get(self.key)), None)


SUBJECTS = (
    Subject("bench_tree", "make bench NAME=tree", tree),
    Subject("bench_cpu_training", "make bench NAME=cpu_training", cpu_training),
    Subject("bench_cartpole", "make bench NAME=cartpole ARGS=--inline", cartpole, "words"),
    Subject("bench_process_mode", "make bench NAME=process_mode", process_mode),
    Subject("bench_ring", "make bench NAME=ring", ring),
    Subject("bench_start", "make bench NAME=start", start),
    Subject("bench_host_targets", "make bench NAME=host_targets", host_targets),
    Subject("bench_growth", "make bench NAME=growth", growth),
    Subject("bench_learner_group", "make bench NAME=learner_group", learner_group),
    Subject("bench_checkpoint", "make bench NAME=checkpoint", checkpoint),
    Subject("bench_kills", "make bench NAME=kills", kills),
    Subject("bench_profile", 'make bench NAME=profile ARGS="--parts b --train-steps 40"', profiled, "named"),
    Subject(
        "bench_profile",
        'make bench NAME=profile ARGS="--parts a --repeats 5 --train-steps 150"',
        profile_overhead,
        "runs",
    ),
    Subject("bench_laptop", "make bench NAME=laptop", laptop),
    Subject("soak_hour", "make soak-hour", soak_hour),
)


def page() -> str:
    """The whole page."""
    rows, sources = [], []
    for subject in SUBJECTS:
        line = subject.line()
        if line is None:
            sources.append(f"- `{subject.command}`: not run yet")
            continue
        hardware = line["hardware"]
        versions = ", ".join(f"{package} {number}" for package, number in line["versions"].items() if number)
        sources.append(
            f"- `{subject.command}`: {line['time'][:10]}, {hardware['cpu']}, {hardware['cores']} cores, load "
            f"{hardware['load_1min']} at its end; {versions}"
        )
        for row in subject.rows(line["results"]):
            rows.append(
                f"| {row.subject} | {row.figure} | {row.budget} | {row.peer} | {row.ratio} | {line['commit'][:8]}"
                f"{'+' if line['commit'].endswith('+') else ''} |"
            )
    return HEAD + "\n".join(rows) + "\n\n## Where and when\n\n" + "\n".join(sources) + "\n"


def main() -> None:
    text = page()
    PAGE.write_text(text)
    print(text[text.index("| subject") : text.index("\n\n## Where")])
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
