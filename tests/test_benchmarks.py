"""The harness that compares our code with its peers: turns, ratios, what is kept and told."""

import json
import re
import time
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.__main__ import main
from benchmarks.rows import PROVIDERS, ROWS

ROOT = Path(__file__).parents[1]
TABLE = compare.load(ROOT / "benchmarks" / "table.json")


class Clock:
    """Seconds that pass only when a side lets them."""

    def __init__(self):
        self.seconds, self.turns = 0.0, []

    def __call__(self):
        return self.seconds

    def side(self, name, seconds, value=1.0):
        """A side whose turn t takes seconds[t]; its preparation takes long, and is not to count."""

        def prepare(turn):
            self.seconds += 1_000

            def run():
                self.turns.append((name, turn))
                self.seconds += seconds[turn]
                return value

            return run

        return prepare


def test_the_ratio_is_of_speeds_with_the_spread_of_the_rounds():
    found = compare.spread(ours=[1.0, 2.0, 4.0], peer=[3.0, 2.0, 2.0])
    assert found == {"ratio": 1.0, "low": 0.5, "high": 3.0}


def test_the_sides_take_turns_and_only_the_work_counts():
    now = Clock()
    sides = now.side("ours", [9, 1, 2, 3], 5.0), now.side("peer", [9, 4, 4, 4], 7.0)
    found = compare.race(compare.Race(*sides, 1, quality=lambda v: 2 * v, flop=3.0), now, 3, 0.0)
    assert found["seconds"] == {"ours": [1, 2, 3], "peer": [4, 4, 4]}  # turn 0 warms up
    assert found["quality"] == {"ours": [10.0] * 3, "peer": [14.0] * 3} and found["flop"] == 3.0
    order = [name for name, _ in now.turns]
    assert order == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]


def test_the_side_that_is_behind_trains_longer():
    asked = []

    def good(turn, factor):
        asked.append((turn, factor))
        return lambda: 0.5 * factor

    def levels(ours, peer, **options):
        """What each side returns in turn 7 of the race."""
        race = compare.levelled(ours, peer, lambda value: 2 * value, 12, 0.1, **options)
        assert race.amount == 12 and race.quality(3) == 6
        return race.ours(7)(), race.peer(7)()

    grows = lambda turn, factor: lambda: (0.2 + turn) * factor  # noqa: E731
    assert levels(good, grows) == (0.5, 7.2 * 3)  # 0.2, 0.3, 0.4 and 0.6: 0.45 is asked
    assert asked == [(0, 1.0), (7, 1.0)]
    assert levels(grows, good) == (7.2 * 3, 0.5)
    never = lambda turn, factor: lambda: 0.01 * factor  # noqa: E731
    assert levels(good, never) == (0.5, 0.06)
    assert levels(good, never, most=4.0) == (0.5, 0.04)
    assert levels(good, never, most=1.0) == (0.5, 0.01)


def test_the_products_of_pytorch_are_counted():
    import torch

    A = torch.ones(4, 8)

    def ours(turn):
        B = A.T @ A  # what is prepared does not count
        return lambda: A @ B[:, :4]

    race = compare.Race(ours, lambda turn: lambda: A.T @ A, 1)
    assert compare.race(race, Clock(), 1, 0.0)["flop"] == 2 * 4 * 8 * 4


@pytest.mark.parametrize(
    ("ours", "peer", "higher", "slack", "good"),
    [
        (2.0, 1.0, False, 0.0, False), (1.0, 2.0, False, 0.0, True), (1.0, 2.0, True, 0.0, False),
        (2.0, 1.0, True, 0.0, True), (1.04, 1.0, False, 0.05, True), (0.96, 1.0, True, 0.05, True),
        (-1.04, -1.0, True, 0.05, True), (-1.06, -1.0, True, 0.05, False),
        (1.06, 1.0, False, 0.05, False), (float("nan"), 1.0, False, 0.05, False),
    ],
)  # fmt: skip
def test_as_good(ours, peer, higher, slack, good):
    assert compare.as_good(ours, peer, higher, slack) == good


def test_what_is_enough_is_as_good():
    assert compare.as_good(2e-5, 1e-7, enough=1e-4) and not compare.as_good(2e-4, 1e-7, enough=1e-4)
    assert compare.as_good(0.96, 0.99, higher=True, enough=0.95)
    assert not compare.as_good(0.94, 0.99, higher=True, enough=0.95)
    assert not compare.as_good(float("nan"), 1.0, enough=1.0)


def test_the_machine_is_measured_at_its_best(monkeypatch):
    assert compare.clock(1) is time.process_time and compare.clock(2) is time.perf_counter
    ticks = iter([0, 4, 10, 12, 20, 28, 30, 34])  # products of 4 and 2 seconds, copies of 8 and 4
    monkeypatch.setattr(compare, "clock", lambda threads: ticks.__next__)
    assert compare.peaks(1, side=4, tries=2) == {"flops": 4**3, "copy": 2 * 4 * 2**25 / 4}


HERE = {"name": "here", "threads": 1, "cores": 2, "torch": "2", "flops": 10.0, "copy": 100.0}


@pytest.fixture
def made(monkeypatch):
    """A row whose sides are counted, on a machine of 10 flop/s."""
    now = Clock()
    monkeypatch.setattr(compare, "clock", lambda threads: now)
    monkeypatch.setattr(compare, "machine", lambda threads: HERE)
    monkeypatch.setattr(compare, "machine_name", lambda threads: "here")

    def make(quick):
        sides = now.side("ours", [2] * 9, 1.0), now.side("peer", [6] * 9, 1.0)
        return compare.Race(*sides, amount=12, quality=float, flop=5.0, bytes=10.0)

    row = compare.Row("one", "01_x", "work", "torch", "units/s", make, "error")
    return row, now


def quickly(rows, path, **options):
    """How the rows went, and what was said."""
    told = []
    went = compare.run(rows, path, rounds=2, seconds=0.0, say=told.append, **options)
    return went, told


def test_a_row_is_kept_with_its_figures(made, tmp_path):
    row, _ = made
    went, told = quickly([row], tmp_path / "table.json")
    kept = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]  # moved there whole
    assert kept["rows"] == went and kept["machines"] == {"here": HERE}
    found = kept["rows"]["one"]
    assert (found["ours"], found["theirs"], found["ratio"]) == (6.0, 2.0, 3.0)
    assert found["quality"] == {
        "measure": "error", "ours": 1.0, "theirs": 1.0, "as good": True, "better": "lower",
    }  # fmt: skip
    # 5 flop at 10 a second take longer than 10 bytes at 100, and a quarter of our 2 seconds.
    assert found["floor"]["seconds"] == 0.5 and found["floor"]["share"] == 0.25
    assert "3.00 (3.00 to 3.00)" in told[1] and "25 % of the floor" in told[1]


def test_of_the_rounds_the_median_counts(made):
    row, now = made
    sides = now.side("ours", [9, 1, 2, 6]), now.side("peer", [9, 8, 8, 2])
    row.higher = True
    judged = iter([1.0, 8.0, 10.0, 3.0, 4.0, 9.0])  # ours, peer; peer, ours; ours, peer
    row.make = lambda quick: compare.Race(*sides, 12, lambda value: next(judged), flop=0.0)
    found = compare.measured(row, HERE, False, 3, 0.0)
    assert (found["ours"], found["theirs"]) == (12 / 2, 12 / 8)
    assert (found["ratio"], found["low"], found["high"]) == (4.0, 2 / 6, 8.0)
    assert found["quality"] == {
        "measure": "error", "ours": 3.0, "theirs": 9.0, "as good": False, "better": "higher",
    }  # fmt: skip
    assert "floor" not in found  # nothing is known of it


def test_a_kept_row_is_not_run_again_unless_asked(made, tmp_path):
    row, now = made
    path = tmp_path / "table.json"
    quickly([row], path)
    before = len(now.turns)
    went, told = quickly([row], path)
    assert len(now.turns) == before and told[1].endswith("(kept)")
    assert went == compare.load(path)["rows"]
    quickly([row], path, again=True)
    assert len(now.turns) == 2 * before
    quickly([row], path, quick=True)  # other sizes are another measurement
    assert len(now.turns) == 3 * before
    row.work = "other work"
    quickly([row], path, quick=True)
    assert len(now.turns) == 4 * before


def test_another_machine_measures_anew(made, tmp_path, monkeypatch):
    row, now = made
    quickly([row], tmp_path / "table.json")
    before = len(now.turns)
    monkeypatch.setattr(compare, "machine_name", lambda threads: "there")
    monkeypatch.setattr(compare, "machine", lambda threads: HERE | {"name": "there"})
    quickly([row], tmp_path / "table.json")
    table = compare.load(tmp_path / "table.json")
    assert len(now.turns) == 2 * before and table["rows"]["one"]["machine"] == "there"
    assert set(table["machines"]) == {"there"}  # no row is left of the other


def test_the_shortest_rows_come_first_and_none_begins_when_the_time_is_over(made, tmp_path):
    row, now = made
    path, rest = tmp_path / "table.json", ("01_x", "work", "torch", "units/s", row.make, "error")
    rows = [compare.Row(name, *rest) for name in ("new", "long", "short")]
    kept = {"long": {"took": 9.0}, "short": {"took": 2.0}}
    compare.save(path, {"machines": {}, "rows": kept})
    assert [row.name for row in compare.shortest_first(rows, {"rows": kept})] == [
        "short", "long", "new",
    ]  # fmt: skip
    went, told = quickly(rows, path, minutes=0.0)
    assert went == {} and now.turns == [] and compare.load(path)["rows"] == kept
    assert "short" in told[1] and all("not begun: 0 minutes are over" in line for line in told[1:4])
    assert list(quickly(rows, path, minutes=9.0)[0]) == ["short", "long", "new"]
    assert list(compare.load(path)["rows"]) == ["long", "short", "new"]  # as they stood there


def test_a_missing_peer_and_a_failure_are_told_and_the_next_row_runs(made, tmp_path):
    row, _ = made

    def fails(quick):
        raise RuntimeError("no such thing")

    parts = "01_x", "work", "no-such-package", "units/s"
    rows = [compare.Row("gone", *parts, row.make), compare.Row("bad", *parts, fails, module="re"),
            row]  # fmt: skip
    rows[1].peer = "torch"
    went, told = quickly(rows, tmp_path / "table.json")
    table = compare.load(tmp_path / "table.json")
    assert table["rows"] == went
    assert "no-such-package is not installed: pip install -r" in table["rows"]["gone"]["missing"]
    assert table["rows"]["bad"]["failed"] == "RuntimeError: no such thing"
    assert table["rows"]["one"]["ratio"] == 3.0 and len(told) == 5
    assert "not installed" in told[1] and "failed: RuntimeError" in told[2]


@pytest.mark.parametrize(
    ("change", "why"), [({"module": "no_such_module"}, "missing"), ({"make": None}, "failed")]
)
def test_a_measurement_is_not_lost_to_a_missing_peer_or_a_failure(made, tmp_path, change, why):
    row, _ = made
    quickly([row], tmp_path / "table.json")
    vars(row).update(change)
    went, told = quickly([row], tmp_path / "table.json", again=True)
    assert compare.load(tmp_path / "table.json")["rows"]["one"]["ratio"] == 3.0
    assert why in went["one"] and went["one"][why] in told[1]  # and yet it is told


def test_why_a_row_is_below_1_is_kept_and_told_without_measuring(made, tmp_path):
    """Only while it is below 1; a new text reaches the kept table, and nothing is run for it."""
    row, now = made
    path = tmp_path / "table.json"
    fast = compare.Row("two", "01_x", "other", "torch", "units/s", row.make, "error", why="Fast.")
    row.make = lambda quick: compare.Race(
        now.side("ours", [6] * 9), now.side("peer", [2] * 9), 12, float, flop=5.0
    )
    row.why = "A second pass."
    _, told = quickly([row, fast], path)
    assert told[0] == compare.HEAD and told[3] == "one: A second pass."
    assert told[4] == "2 rows, measured in 0 minutes" and len(told) == 5
    before, row.why = len(now.turns), "Two passes over the data."
    said = []
    kept = compare.show([row, fast], path, said.append)
    assert said == [compare.HEAD, *told[1:3], "one: Two passes over the data.", told[4]]
    assert compare.load(path)["rows"] == kept and kept["one"]["why"] == row.why
    row.why = "A third text."
    quickly([row], path)
    assert compare.load(path)["rows"]["one"]["why"] == row.why
    assert compare.load(path)["rows"]["two"]["why"] == "Fast."  # not asked for, and not lost
    assert len(now.turns) == before


def test_the_command_runs_a_row_and_says_how_it_went(tmp_path, monkeypatch, capsys):
    found = {}

    def pretended(rows, path, *given):
        found.update(rows=[row.name for row in rows], path=path)
        return {row.name: found.get("went", {}) for row in rows}

    monkeypatch.setattr("benchmarks.__main__.run", pretended)
    assert main(["--only", "kmeans", "bert", "--out", str(tmp_path / "t.json")]) == 0
    assert found == {"rows": ["kmeans", "bert"], "path": tmp_path / "t.json"}
    monkeypatch.setattr("benchmarks.__main__.show", lambda rows, path, say: {"shown": {}})
    found.clear()
    assert main(["--show"]) == 0 and found == {}
    assert main(["--quick"]) == 0 and found["rows"] == list(ROWS)
    assert found["path"].name == "table_quick.json"
    for went, bad in (
        ({"failed": "why"}, 1), ({"missing": "it"}, 0),
        ({"quality": {"as good": False}}, 1), ({"quality": {"as good": True}}, 0),
    ):  # fmt: skip
        found["went"] = went
        assert main(["--only", "kmeans"]) == bad
    with pytest.raises(SystemExit):
        main(["--only", "no such row"])


def test_every_row_has_its_chapter_and_its_pinned_peer():
    assert len(ROWS) == sum(len(provider.ROWS) for provider in PROVIDERS)  # no name twice
    pins = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements.txt", "benchmarks/requirements.txt")
    )
    for row in ROWS.values():
        assert not row.chapter or (ROOT / "notebooks" / f"{row.chapter}.ipynb").is_file()
        assert re.search(rf"^{row.peer}==", pins, re.MULTILINE), row.peer


def test_the_kept_table_is_of_the_rows_that_there_are():
    """Change what a row does, or its name: measure it again."""
    assert set(TABLE["rows"]) == set(ROWS)
    for name, kept in TABLE["rows"].items():
        row = ROWS[name]
        assert (kept["work"], kept["peer"], kept["chapter"]) == (row.work, row.peer, row.chapter)
        assert "failed" not in kept, (name, kept)
        if "ratio" in kept:
            assert kept["low"] <= kept["ratio"] <= kept["high"] and kept["rounds"] >= 3
            assert kept["machine"] in TABLE["machines"]
            assert kept["small"] == (row.small if kept["quick"] else ""), name
            assert kept["unit"] == row.unit, name
            assert kept.get("why", "") == row.why, f"{name}: python -m benchmarks --show"
            assert kept.get("quality", {}).get("measure", "") == row.measure, name
            assert kept.get("floor", {}).get("what", row.floor) == row.floor, name
