"""How cost grows: the fit, the count of memory, the table of rows, and the page made from them."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import cost
from benchmarks.cost_rows import EXEMPT, ROWS
from genai_utils.book import cost_page, stored

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "cost.md").read_text(encoding="utf-8")
MEASURED = cost.FILE.is_file()
FOUND = json.loads(cost.FILE.read_text(encoding="utf-8")) if MEASURED else {}
measured = pytest.mark.skipif(not MEASURED, reason="not measured: python -m benchmarks.cost")
SIZES = [2**i for i in range(3, 10)]


def noisy(costs, share=0.03, repeats=5, seed=0):
    g = np.random.default_rng(seed)
    return [value * np.exp(share * g.standard_normal(repeats)) for value in costs]


# --- the fit


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_the_exponent_is_found_with_its_interval(p):
    fit = cost.power_law(SIZES, [[7e-6 * n**p] * 3 for n in SIZES])
    assert fit.exponent == pytest.approx(p, abs=1e-9) and fit.scale == pytest.approx(7e-6)
    assert fit.low == pytest.approx(p, abs=1e-9) == fit.high
    assert fit.bend is None
    fit = cost.power_law(SIZES, noisy([7e-6 * n**p for n in SIZES]))
    assert fit.low < fit.exponent < fit.high and fit.high - fit.low < 0.2
    assert fit.exponent == pytest.approx(p, abs=0.1)


def test_the_interval_holds_the_exponent():
    """The page says how often: it is wide rather than narrow."""
    inside = 0
    for seed in range(40):
        fit = cost.power_law(SIZES, noisy([n**1.5 for n in SIZES], seed=seed), draws=200)
        inside += fit.low <= 1.5 <= fit.high
    assert inside >= 38


def test_a_constant_cost_at_small_sizes_is_a_bend():
    """t = 1 ms + n² ns: only the largest sizes show the square; the line meets 1 ms at n = 1000."""
    sizes = [2**i for i in range(5, 15)]
    fit = cost.power_law(sizes, [[1e-3 + 1e-9 * n**2] for n in sizes])
    assert fit.exponent == pytest.approx(2, abs=0.1) and fit.bend == pytest.approx(1000, rel=0.3)
    assert cost.power_law(sizes, [[1e-3] for _ in sizes]).bend is None


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="4 sizes"):
        cost.power_law([1, 2, 4], [[1], [2], [4]])
    with pytest.raises(ValueError, match="positive"):
        cost.power_law([1, 2, 4, 8], [[1], [2], [4], [0]])


# --- what is counted


def test_memory_is_the_most_that_is_held_at_once():
    x = torch.zeros(250_000)  # 1 MB, there before

    def run():
        y = x + 1  # 1 MB
        z = y * 2  # 2 MB together
        del y
        return z + 1  # again 2 MB

    assert cost.peak_bytes(run) == pytest.approx(2e6, rel=1e-3)
    assert cost.peak_bytes(lambda: None) == 0
    assert cost.numpy_bytes(lambda: np.zeros(10**6)) == pytest.approx(8e6, rel=0.01)


def test_memory_of_a_gradient_counts():
    w = torch.zeros(250_000, requires_grad=True)

    def run():
        w.grad = None
        (w * 2).sum().backward()

    run()
    assert cost.peak_bytes(run) >= 1e6


def test_short_calls_are_repeated_and_long_ones_are_not():
    calls = []
    assert cost.seconds(lambda: calls.append(1), least=0.01)[0] < 1e-3 and len(calls) > 10
    calls.clear()
    cost.seconds(lambda: calls.append(1), least=0.0)
    assert len(calls) == 1


def test_time_is_the_processors_and_wall_time_stands_beside_it():
    processor, wall = cost.seconds(lambda: time.sleep(0.05), least=0.0)
    assert processor < 0.05 <= wall


def test_a_row_is_measured_at_each_size_in_its_own_unit():
    def make(size):
        return lambda: np.zeros(1_000 * size**2)

    row = SimpleNamespace(make=make, x=lambda size: 10 * size, sizes=(1, 2, 4, 8), numpy=True)
    found = cost.measure(row, repeats=2, least=0.0)
    assert found["x"] == [10, 20, 40, 80] and len(found["wall"]) == 4
    assert [len(times) for times in found["seconds"]] == [2] * 4
    assert found["bytes"] == pytest.approx([8_000 * size**2 for size in row.sizes], rel=0.1)
    assert found["memory"]["exponent"] == pytest.approx(2, abs=0.1)


def test_rows_are_kept_between_runs_of_the_same_versions_only(tmp_path):
    path, head = tmp_path / "cost.json", {"torch": "1", "repeats": 3}
    assert cost.kept(path, head) == {}
    cost.write(path, head | {"rows": {"a": 1}})
    assert cost.kept(path, head) == {"a": 1} and cost.kept(path, head | {"torch": "2"}) == {}
    assert [each.name for each in tmp_path.iterdir()] == ["cost.json"]


# --- the table


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_runs_at_its_smallest_size(row):
    found = cost.measure(row, row.sizes[:1], repeats=1, least=0.0)
    assert found["seconds"][0][0] > 0 and found["bytes"][0] > 1
    assert "time" not in found  # one size has no exponent


def test_the_rows_are_well_formed():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        x = [row.x(size) for size in row.sizes]
        assert len(x) >= cost.UPPER and x == sorted(set(x)) and x[0] > 0, row.name
        assert row.why and row.holds and row.memory is not None, row.name


def test_every_chapter_has_a_row_or_a_reason():
    chapters = {path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    rows = {row.chapter for row in ROWS}
    assert chapters <= rows | set(EXEMPT)
    assert not rows & set(EXEMPT) and all(EXEMPT.values())
    plan = json.loads((ROOT / "book" / "lectures.json").read_text(encoding="utf-8"))["chapters"]
    assert rows | set(EXEMPT) <= {chapter["name"] for chapter in plan}
    for name in EXEMPT:
        assert re.search(rf"\b[Cc]hapters? [^.]*\b{name[:2]}\b", PAGE), name


# --- the page


def test_a_page_of_the_book_has_its_measurement():
    listed = "book/cost\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert MEASURED or not listed


@measured
def test_the_file_has_all_rows_and_its_fits_are_those_of_its_numbers():
    assert list(FOUND["rows"]) == [row.name for row in ROWS]
    assert FOUND["device"] == "CPU, 1 thread"
    for row in ROWS:
        kept = FOUND["rows"][row.name]
        about = json.loads(json.dumps(cost.told(row)))
        assert {key: kept[key] for key in about} == about, row.name
        assert kept["x"] == [row.x(size) for size in row.sizes]
        assert all(len(times) == FOUND["repeats"] for times in kept["seconds"])
        for kind, fit in cost.fits(kept).items():
            assert kept[kind] == pytest.approx(fit, nan_ok=True), (row.name, kind)


@measured
def test_the_page_names_values_that_there_are():
    named = re.findall(r"\{stored\}`cost: ([^`|]+?)(?: \| ([^`]+))?`", PAGE)
    assert len(named) > 10
    for keys, form in named:
        assert stored.written(stored.look_up(FOUND, keys), form or ""), keys
    for directive in ("cost-summary", "cost-exponents", "cost-table"):
        assert f"```{{{directive}}}" in PAGE


@pytest.mark.parametrize(
    ("fit", "theory", "expected"),
    [
        ({"low": 0.95, "high": 1.05}, 1, "as theory"),
        ({"low": 0.80, "high": 0.86}, 1, "as theory"),
        ({"low": 0.60, "high": 0.84}, 1, "below"),
        ({"low": 1.14, "high": 1.30}, 1, "as theory"),
        ({"low": 1.16, "high": 1.30}, 1, "above"),
        ({"low": 1.20, "high": 1.30}, [1, 2], "as theory"),
        ({"low": 0.70, "high": 0.80}, [1, 2], "below"),
        ({"low": 2.20, "high": 2.30}, [1, 2], "above"),
    ],
)
def test_the_verdict_on_an_exponent(fit, theory, expected):
    assert cost_page.verdict(fit, theory) == expected


def test_numbers_as_the_page_writes_them():
    assert stored.digits(12_345.6, 2) == "12,000" and stored.digits(0.0123, 2) == "0.012"
    assert stored.digits(512.0, 3) == "512" and stored.digits(1.5, 2) == "1.5"
    fit = {"exponent": -0.001, "low": -0.1, "high": 0.104}
    assert stored.exponent(fit) == "0.00 (−0.10 to 0.10)"
    assert stored.written(3.14159, ".1f") == "3.1" and stored.written(1234.0) == "1,234"
    assert cost_page.said([1, 2]) == "1 to 2" and cost_page.said(0.5) == "½"
    assert stored.look_up({"a": {"b": 1}}, "a.b") == 1
    with pytest.raises(KeyError, match="nothing"):
        stored.look_up({"a": {"b": 1}}, "a.nothing")


def test_lines_and_dots_of_the_pictures_are_where_they_belong():
    """Time n², of which one repeat is off, and memory n, for n = 1 to 16."""
    x = [2**i for i in range(5)]
    seconds = [[n**2, 9 * n**2, n**2] for n in x]
    row = {"x": x, "seconds": seconds, "bytes": x, "axis": "n", "theory": {"time": 2, "memory": 1}}
    row |= cost.fits(row)
    svg, heights = cost_page.curve(row).astext(), []
    for line, dots in re.findall(r'<path d="M(.*?)"/>(.*?)</g>', svg):
        dots = re.findall(r'cx="(.*?)" cy="(.*?)"', dots)
        assert [tuple(end.split()) for end in line.split("L")] == [dots[-4], dots[-1]]
        heights.append([float(y) for _, y in dots])
    assert heights == [[58, 45, 32, 19, 6], [32, 25.5, 19, 12.5, 6]]
    svg = cost_page.exponents([row]).svg("title", "alt")
    # The grid's lines at 1 and 2 are at the heights 315 and 234.1; 0.15 is 12.1 high.
    fields = re.findall(r'"r-operation" d="M34 ([\d.]+)L326 \S+ ([\d.]+)', svg)
    assert fields == [("327.1", "302.8")]  # of memory
    assert 'd="M180 315L180 315"' in svg  # equal repeats: no interval
    low, high = re.search(r'"line l-data" d="M480 ([\d.]+)L480 ([\d.]+)"', svg).groups()
    assert float(low) > 234.1 > float(high) and 'cx="480" cy="234.1"' in svg


@measured
def test_the_figure_has_every_exponent():
    rows = list(FOUND["rows"].values())
    svg = cost_page.exponents(rows).svg("title", "alt")
    assert svg.count("<circle") == len(rows) + 1  # and one in the legend
    assert svg.count("NaN") == 0
    small = cost_page.curve(rows[0]).astext()
    assert small.count("<circle") == 2 * len(rows[0]["x"]) and 'role="img"' in small
