"""The benchmarks themselves: the cheapest of them, from the command line to the file and the page."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as bench
from tests.bench import compare, page
from tests.bench.__main__ import main, measured, quietly
from tests.bench.benchmarks import GROUPS, ROWS, Row
from tests.bench.figures import Broken, Curve, Figure, Reach, Result, Skipped, as_json, judged
from tests.bench.run import Run, Size

FIELDS = {
    "name", "unit", "figure", "floor", "ratio", "reach", "reached", "server_cpu_ms", "memory_mb", "note", "row", "noisy"
}  # fmt: skip


@pytest.fixture
def a_run(tmp_path: Path) -> Iterator[Run]:
    with ExitStack() as stack:
        yield Run(tmp_path, Size.SMOKE, 0, stack)


def gives(monkeypatch: pytest.MonkeyPatch, *results: Result | Exception) -> None:
    """Let a benchmark called «one» give these, and raise at an exception."""

    def measure(self: Row, run: Run) -> Iterator[Result]:
        for result in results:
            if isinstance(result, Exception):
                raise result
            yield result

    monkeypatch.setattr(Row, "measure", measure)
    monkeypatch.setitem(ROWS, "one", Row("", "", "one"))


def a_figure(**changes: Any) -> Figure:
    given: dict[str, Any] = {
        "name": "upload",
        "unit": "MB/s",
        "figure": 300.0,
        "floor": 400.0,
        "reach": Reach("≥", 0.6),
    }
    return judged(**(given | changes))


def test_a_run_writes_its_figures_as_json_and_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, shown = tmp_path / ".bench" / "latest.json", tmp_path / ".bench" / "latest.html"
    assert main(["manifest", "--smoke", "--json", str(file), "--page", str(shown)]) == 0
    written = json.loads(file.read_text("utf-8"))
    assert written["size"] == "smoke"
    assert written["machine"]["cores"]
    assert [f["name"] for f in written["figures"]] == ["manifest of 10,000: write", "manifest of 10,000: read"]
    assert all(f.keys() == FIELDS and f["figure"] > 0 and f["row"] == "manifest" for f in written["figures"])
    assert "manifest: 2 figures" in capsys.readouterr().out
    assert "<th scope=row>manifest of 10,000: write</th>" in shown.read_text("utf-8")


@pytest.mark.parametrize("results", [(), (Broken("it went away"),), (a_figure(), ValueError()), (Skipped("one", "x"),)])
def test_where_everything_is_only_to_run_a_row_that_gives_no_figure_fails(
    monkeypatch: pytest.MonkeyPatch, results: tuple[Any, ...]
) -> None:
    gives(monkeypatch, *results)
    assert main(["one", "--smoke"]) == 1


def test_what_is_not_installed_is_said_and_is_no_failure_of_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gives(monkeypatch, a_figure(), Skipped("another", "nginx is not installed"))
    monkeypatch.setattr(bench, "MOST", 1.0)
    assert main(["one", "--quick"]) == 0


def test_a_row_that_others_disturb_is_measured_again_and_then_marked(
    monkeypatch: pytest.MonkeyPatch, a_run: Run
) -> None:
    shares = iter([0.3, 0.2, 0.4])
    gives(monkeypatch, a_figure())
    monkeypatch.setattr(bench, "Noise", lambda: type("", (), {"others": lambda _: next(shares)})())
    a_run.size = Size.QUICK
    (found,) = quietly(a_run, "one")
    assert isinstance(found, Figure)
    assert (found.noisy, found.row) == (0.2, "one")


def test_a_row_in_quiet_is_measured_once_and_not_marked(monkeypatch: pytest.MonkeyPatch, a_run: Run) -> None:
    gives(monkeypatch, a_figure())
    monkeypatch.setattr(bench, "Noise", lambda: type("", (), {"others": lambda _: 0.04})())
    (found,) = quietly(a_run, "one")
    assert isinstance(found, Figure)
    assert found.noisy is None


def test_of_several_rounds_the_median_is_told_with_the_least_and_the_most(
    monkeypatch: pytest.MonkeyPatch, a_run: Run
) -> None:
    rounds = iter((100.0, 300.0, 200.0, 400.0, 240.0))
    monkeypatch.setattr(bench, "Noise", lambda: type("", (), {"others": lambda _: 0.0})())
    monkeypatch.setattr(bench, "measured", lambda *_: [a_figure(figure=next(rounds)), Skipped("x", "y")])
    a_run.size = Size.QUICK
    figure, skipped = quietly(a_run, "one", 5)
    assert isinstance(figure, Figure)
    assert figure.figure == 240.0
    assert figure.note.startswith("median of 5, 0.250 to 1.00")
    assert skipped == Skipped("x", "y")


def test_rounds_that_others_disturb_give_way_to_quiet_ones(monkeypatch: pytest.MonkeyPatch, a_run: Run) -> None:
    shares, rounds = iter((0.5, 0.0, 0.0, 0.0)), iter((1.0, 100.0, 200.0, 300.0))
    monkeypatch.setattr(bench, "Noise", lambda: type("", (), {"others": lambda _: next(shares)})())
    monkeypatch.setattr(bench, "measured", lambda *_: [a_figure(figure=next(rounds))])
    a_run.size = Size.QUICK
    (found,) = quietly(a_run, "one", 3)
    assert isinstance(found, Figure)
    assert (found.figure, found.noisy) == (200.0, None)


def test_what_breaks_in_the_midst_keeps_what_it_gave(monkeypatch: pytest.MonkeyPatch, a_run: Run) -> None:
    gives(monkeypatch, a_figure(), Broken("it went away"))
    assert [type(one) for one in measured(a_run, "one")] == [Figure, Skipped]


def test_every_row_can_be_imported_and_every_group_is_of_rows() -> None:
    for row in ROWS.values():
        assert callable(getattr(importlib.import_module(f"tests.bench.{row.module}"), row.function))
    assert {name for rows in GROUPS.values() for name in rows} <= ROWS.keys()


def test_a_figure_with_a_floor_is_judged_by_its_ratio() -> None:
    found = a_figure()
    assert (found.ratio, found.reached, found.reach) == (0.75, True, "≥ 0.6")
    assert a_figure(figure=100.0).reached is False


def test_a_figure_without_a_floor_is_judged_by_itself() -> None:
    found = judged("write", "ms", 120.0, None, Reach("≤", 100, "ms"))
    assert (found.floor, found.ratio, found.reached) == (None, None, False)


def test_a_page_draws_curves_and_shows_nothing_as_it_came(tmp_path: Path) -> None:
    curve = Curve("growth", "documents", "ms", "<script>", ((1e4, 2.0), (1e6, 3.0)), logarithmic=True)
    told = as_json([a_figure(name="<b>"), curve, Skipped("x", "<i>")], 0.0, size="full", documents=1, seconds=1.0)
    page.write(tmp_path / "page.html", told)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<polyline" in text
    assert not any(bad in text for bad in ("<b>", "<script>", "<i>"))


def test_two_runs_are_compared_by_the_ratios_to_their_floors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, figure in (("old", a_figure()), ("new", a_figure(figure=300.0, floor=200.0))):
        files.append(tmp_path / name)
        files[-1].write_text(json.dumps(as_json([figure], 0.0)), "utf-8")
    assert compare.main([str(one) for one in files]) == 0
    assert "+100%" in capsys.readouterr().out


def test_what_is_no_run_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("[]")
    assert compare.main([str(tmp_path / "x")] * 2) == 2
    assert compare.main([]) == 2


def test_a_name_that_is_no_benchmark_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["nothing"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ROWS)
