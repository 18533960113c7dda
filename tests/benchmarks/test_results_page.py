"""docs/results/performance.md has the newest figures, and `report` keeps what the page reads."""

import json

from benchmarks import common, results_page
from benchmarks.common import Figure


def test_the_page_is_current():
    due = "python -m benchmarks.results_page"
    assert results_page.PAGE.read_text(encoding="utf-8") == results_page.page(), due


def test_a_reported_figure_comes_onto_the_page(monkeypatch, tmp_path, capsys):
    for module in (common, results_page):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    (tmp_path / "bench_tea.py").touch()
    cups = [Figure.of("a cup", [9.0, 2.0, 3.456], "min", "5 min"), Figure.of("a pot", 30.0, "min")]
    for benchmark, figures in (("bench_tea", cups), ("bench_removed", cups), ("bench_tea_without_figures", [])):
        common.report(benchmark, figures, packages=["numpy"], sugar=1)
    assert "a cup  3.46 min  2 to 9         5 min" in capsys.readouterr().out
    assert json.loads((tmp_path / "results" / "bench_tea.jsonl").read_text())["results"] == {"sugar": 1}
    page = results_page.page()
    assert "NAME=tea`" in page and "| a cup | 3.46 min | 2 to 9 | 5 min |" in page
    assert "a pot" not in page and "removed" not in page
