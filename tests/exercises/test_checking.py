"""check, hint, solution and progress as a notebook calls them: shown, remembered, never raising."""

import json
import os
import re
import stat
import threading

import pytest
import torch

from genai_utils import run as runs
from genai_utils.checks import checking, records, register
from genai_utils.checks.checking import check, examine, hint, progress, solution, yours
from genai_utils.checks.records import Records

from .toys import NORMS, SHIFT, matrices, only


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """The toy exercises are the book's only ones."""
    only(monkeypatch, toys=[NORMS, SHIFT])


def named(function, name="row_norms"):
    function.__name__ = name
    return function


def right():
    return named(lambda x: x.norm(dim=1))


def wrong():
    return named(lambda x: 3 * x.norm(dim=1))


def stored(path):
    return json.loads((path / "progress.json").read_text())["notebooks"]


# --- check --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (right(), "✓ row_norms: correct. It agrees"),
        (wrong(), "✗ row_norms: not yet. Your result is 3 times"),
        (named(lambda x: ...), "○ row_norms: to do. Replace the ..."),
        (named(lambda x: x @ x), "! row_norms: error. Your function raised RuntimeError"),
        (lambda x: x, "! check. No exercise of this book is called '<lambda>'. They are called:"),
        ("row_norms", "! check: error. check expects your function itself"),
        (None, "! check: error. check expects your function itself"),
        (torch.ones(3), "! check: error. check expects your function itself"),
    ],
)
def test_check_says_its_state_in_words_and_symbols(answer, first, capsys):
    assert check(answer) is None
    assert capsys.readouterr().out.startswith(first)


def test_check_survives_a_fault_of_the_book(monkeypatch, capsys):
    def broken(*_):
        raise KeyError("inside")

    monkeypatch.setattr(checking.diagnosis, "diagnose", broken)
    check(right())
    assert "a fault of the book, not of your code: KeyError" in capsys.readouterr().out


def test_the_started_notebook_says_where_to_look(monkeypatch):
    run = runs.Run("31_toys", "ci", torch.device("cpu"), 0)
    monkeypatch.setattr(runs, "_current", run)
    with pytest.raises(register.UnknownExercise, match="of 31_toys"):
        examine(named(lambda x: x, "gaussian_kl"))
    monkeypatch.setattr(runs, "_current", runs.Run("32_none", "ci", torch.device("cpu"), 0))
    assert examine(right()).state == "correct"  # a notebook without exercises: look everywhere


# --- two chapters with an exercise of one name ----------------------------------------------------


@pytest.fixture
def begin(monkeypatch):
    """Begin a notebook of one of two chapters that both ask for `row_norms`."""

    def row_norms(x):
        """Largest absolute number of each row. Shapes: x (n, d) -> (n,)."""
        return x.abs().amax(1)

    first = register.Exercise(**{**vars(NORMS), "topic": "euclid"})
    second = register.Exercise(
        row_norms,
        cases=matrices,
        mistakes={"signed": (lambda x: x.amax(1), "You forgot the sign.")},
        hints=["Drop the signs.", "Then the largest.", "amax."],
        topic="largest",
    )
    only(monkeypatch, euclid=[first], largest=[second])

    def begin(name):
        run = name and runs.Run(name, "ci", torch.device("cpu"), 0)
        monkeypatch.setattr(runs, "_current", run)

    return begin


def test_each_chapter_checks_its_own(begin, capsys, fresh):
    answers = {"31_euclid": right(), "32_largest": named(lambda x: x.abs().amax(1))}
    for notebook, answer in answers.items():
        begin(notebook)
        other = next(a for a in answers.values() if a is not answer)
        check(answer), check(other)
        out = capsys.readouterr().out
        assert out.startswith("✓ row_norms: correct") and "✗ row_norms: not yet" in out
    kept = stored(fresh)
    assert sorted(kept) == ["euclid", "largest"]
    assert all(shelf["row_norms"]["tries"] == 1 for shelf in kept.values())
    begin("32_largest")
    assert examine(named(lambda x: x.amax(1))).mistake == "signed"
    begin("31_euclid")
    assert examine(named(lambda x: x.amax(1))).mistake is None


def test_each_chapter_has_its_own_hints_solution_and_progress(begin, capsys, fresh):
    begin("31_euclid")
    hint("row_norms"), hint("row_norms")
    begin("32_largest")
    hint("row_norms"), solution("row_norms"), check(named(lambda x: x.abs().amax(1)))
    out = capsys.readouterr().out
    assert "hint 2 of 2. Sum over" in out and "hint 1 of 3. Drop the signs." in out
    assert "Largest absolute number" in out and "Length of each row" not in out
    kept = stored(fresh)
    assert [kept[t]["row_norms"]["hints"] for t in ("euclid", "largest")] == [2, 1]
    assert [kept[t]["row_norms"]["solution"] for t in ("euclid", "largest")] == [False, True]
    progress()
    out = capsys.readouterr().out
    assert "1 of 1 exercises solved" in out and "euclid" not in out
    begin(None)
    progress()
    out = capsys.readouterr().out
    assert re.search(r"row_norms +euclid +○ to do +0 +2 +no\n", out)
    assert re.search(r"row_norms +largest +✓ correct +1 +1 +yes", out)
    assert "1 of 2 exercises solved" in out


def test_where_no_notebook_was_started_an_ambiguous_name_is_told(begin, capsys, fresh):
    begin(None)
    check(right()), hint("row_norms"), solution(right())
    out = capsys.readouterr().out
    assert out.count("Several notebooks have an exercise 'row_norms': euclid, largest.") == 3
    assert not list(fresh.iterdir())


# --- shown ----------------------------------------------------------------------------------------


def test_html_has_the_symbol_and_escapes_what_a_student_writes(monkeypatch):
    pages = []
    monkeypatch.setattr(checking, "_display", lambda page, text: pages.append(page))

    def row_norms(x):
        raise ValueError("<script>alert(1)</script>")

    check(row_norms)
    assert "!</span> row_norms: error." in pages[0] and "<script>" not in pages[0]
    assert "color:inherit" in pages[0] and "background:transparent" in pages[0]
    colours = set(re.findall(r"(?<![-\w])(?:color|background):([^;\"]+)", pages[0]))
    assert colours == {"inherit", "transparent"}  # so that it can be read in dark mode


def test_in_ipython_html_and_plain_text_are_shown(monkeypatch, capsys):
    shown = []
    page = "genai_utils.display.output"
    monkeypatch.setattr(f"{page}.get_ipython", object)
    monkeypatch.setattr(f"{page}.display", lambda data, raw: shown.append((data, raw)))
    check(right())
    ((data, raw),) = shown
    assert raw and list(data) == ["text/html", "text/plain"]
    assert data["text/plain"].startswith("✓ row_norms: correct")
    assert capsys.readouterr().out == ""


# --- hint and solution ----------------------------------------------------------------------------


def test_hints_come_one_after_the_other(capsys, fresh):
    for words in ("hint 1 of 2. Square", "hint 2 of 2. Sum over dimension 1. This is the last"):
        hint("row_norms")
        assert words in capsys.readouterr().out
    hint(right())
    assert "hint 2 of 2" in capsys.readouterr().out
    hint("row_norms", 1)
    assert "hint 1 of 2" in capsys.readouterr().out
    assert stored(fresh)["toys"]["row_norms"]["hints"] == 2  # seen twice, counted once


def test_hints_that_are_seen_again_after_a_restart_are_not_counted_again(fresh, monkeypatch):
    hint("row_norms"), hint("row_norms")
    monkeypatch.setattr(checking, "_hints_shown", {})
    hint("row_norms")
    assert stored(fresh)["toys"]["row_norms"]["hints"] == 2


@pytest.mark.parametrize("n", [0, 3, -1, "1", 1.5, True])
def test_a_hint_that_is_not_there(n, capsys):
    hint("row_norms", n)
    assert f"numbered 1 to 2; got {n!r}" in capsys.readouterr().out


@pytest.mark.parametrize("what", [None, 3, "row_norm", lambda: 0])
def test_unknown_exercises_are_told_not_raised(what, capsys):
    hint(what), solution(what)
    out = capsys.readouterr().out
    assert out.count("is called" if isinstance(what, str) or callable(what) else "expected") == 2


def test_no_hints(capsys):
    hint("shift")
    assert 'solution("shift") shows the answer' in capsys.readouterr().out


def test_solution_shows_the_source_and_is_remembered(fresh, capsys):
    solution("row_norms")
    assert "return (x**2).sum(1).sqrt()" in capsys.readouterr().out
    assert stored(fresh)["toys"]["row_norms"]["solution"] is True


# --- yours ----------------------------------------------------------------------------------------


def test_yours_is_used_where_it_is_correct(capsys):
    mine = right()
    assert yours(mine) is mine
    assert capsys.readouterr().out == "row_norms: yours is used.\n"
    for other in (wrong(), named(lambda x: ...)):
        assert yours(other) is NORMS.reference
        assert capsys.readouterr().out == "row_norms: the library's is used.\n"


def test_yours_of_what_is_no_exercise():
    with pytest.raises(register.UnknownExercise, match="No exercise"):
        yours(named(lambda x: x, "no_such"))
    with pytest.raises(TypeError, match="expects your function itself"):
        yours("row_norms")


# --- progress -------------------------------------------------------------------------------------


def test_progress_is_kept_and_solved_stays_solved(fresh, capsys):
    check(wrong()), check(right()), check(wrong())
    record = stored(fresh)["toys"]["row_norms"]
    assert record["tries"] == 2 and record["state"] == "not yet" and record["solved"]
    assert record["code"] == "return named(lambda x: x.norm(dim=1))\n"
    capsys.readouterr()
    progress()
    out = capsys.readouterr().out
    assert re.search(r"row_norms +toys +✓ correct +2 +0 +no +\d{4}-\d\d-\d\d", out)
    assert re.search(r"shift +toys +○ to do +0", out) and "1 of 2 exercises solved." in out


def test_the_report_has_chapters_code_and_a_name(fresh, capsys):
    def row_norms(x):
        return (x * x).sum(1) ** 0.5  # mine < yours

    check(row_norms)
    progress(str(fresh / "mine.html"), name="Ada <Lovelace>")
    page = (fresh / "mine.html").read_text()
    assert "<h2>toys</h2>" in page and "Name: Ada &lt;Lovelace&gt;" in page
    assert (
        "row_norms: correct</summary><pre>def row_norms(x):" in page and "mine &lt; yours" in page
    )
    progress(str(fresh / "mine.json"), name="Ada")
    report = json.loads((fresh / "mine.json").read_text())
    rows = {row["exercise"]: row for row in report["exercises"]}
    assert report["name"] == "Ada" and rows["row_norms"]["points"] == 1
    assert "mine < yours" in rows["row_norms"]["code"] and rows["shift"]["points"] == 0
    capsys.readouterr()
    progress(str(fresh / "other.html"), name=3)
    assert "name expects a text" in capsys.readouterr().out and not (fresh / "other.html").exists()


def test_the_report_is_in_the_order_of_the_book(fresh, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("GENAI_PROGRESS", str(fresh / "progress.json"))
    progress(str(fresh / "all.json"))
    rows = json.loads((fresh / "all.json").read_text())["exercises"]
    numbers = [tuple(map(int, row["number"].split("."))) for row in rows]
    assert numbers == sorted(numbers) and len({chapter for chapter, _ in numbers}) > 10


def test_colab_without_a_drive_says_once_that_progress_ends(fresh, monkeypatch, capsys):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    monkeypatch.delenv("GENAI_PROGRESS")
    monkeypatch.setattr(records, "DRIVE", fresh / "no drive")
    monkeypatch.setattr(records, "_told", set())
    monkeypatch.chdir(fresh)
    check(right()), check(right())
    assert capsys.readouterr().out.count("ends with it: mount your Drive") == 1
    (fresh / "no drive").mkdir()
    monkeypatch.setattr(records, "_told", set())
    check(right())
    assert "mount your Drive" not in capsys.readouterr().out
    assert (fresh / "no drive" / "genai-from-scratch" / "progress.json").is_file()


def test_nothing_is_kept_of_stubs_or_while_publishing(fresh, monkeypatch):
    check(named(lambda x: ...))
    monkeypatch.setenv("GENAI_PUBLISH", "1")
    check(right()), hint("row_norms"), solution("row_norms")
    assert not list(fresh.iterdir())


def test_records_of_others_are_merged_not_overwritten(fresh):
    first, second = Records(), Records()
    first.change("a", "x", tries=1)
    second.change("b", "y", tries=1, state="correct")
    first.change("a", "x", tries=1)
    assert stored(fresh)["a"]["x"]["tries"] == 2 and stored(fresh)["b"]["y"]["solved"]


def test_several_writers_at_once_lose_nothing(fresh):
    def work():
        for _ in range(10):
            assert not Records().change("a", "x", tries=1)

    crowd = [threading.Thread(target=work) for _ in range(4)]
    [each.start() for each in crowd]
    [each.join() for each in crowd]
    assert stored(fresh)["a"]["x"]["tries"] == 40


def test_the_day_of_the_first_right_answer_is_kept(fresh, monkeypatch):
    for day in ("2030-01-01", "2031-01-01"):
        monkeypatch.setattr(records, "_now", lambda day=day: day)
        check(right())
    record = stored(fresh)["toys"]["row_norms"]
    assert (record["solved"], record["last"]) == ("2030-01-01", "2031-01-01")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"notebooks": {}}',
        b"[" * 100_000,
        b'{"format": "genai-from-scratch progress", "version": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe\x00",
        b'{"format": "genai-from-scratch progress", "version": 1, "notebooks": {"a": {"x": 3}}}',
        b'{"format": "genai-from-scratch progress", "version": 1, "notebooks": [1]}',
        b'{"format": "genai-from-scratch progress", "version": 1, "notebooks": '
        b'{"a": {"x": {"tries": "many"}}}}',
    ],
)
def test_a_corrupt_file_is_moved_aside_and_that_is_said(content, fresh, capsys):
    (fresh / "progress.json").write_bytes(content)
    check(right())
    (aside,) = fresh.glob("progress.unreadable-*.json")
    assert aside.read_bytes() == content
    assert aside.name in capsys.readouterr().out
    assert stored(fresh)["toys"]["row_norms"]["state"] == "correct"


def test_a_file_of_a_newer_version_is_left_alone(fresh, capsys):
    newer = '{"format": "genai-from-scratch progress", "version": 4, "notebooks": {}}'
    (fresh / "progress.json").write_text(newer)
    check(right()), progress()
    assert capsys.readouterr().out.count("newer version") == 2
    assert (fresh / "progress.json").read_text() == newer


def test_a_place_that_cannot_be_written_costs_a_note(fresh, monkeypatch, capsys):
    (fresh / "file").write_text("not a folder")
    monkeypatch.setenv("GENAI_PROGRESS", str(fresh / "file" / "progress.json"))
    check(right()), hint("row_norms"), solution("row_norms"), progress()
    out = capsys.readouterr().out
    assert "✓ row_norms: correct" in out and "could not be saved" in out
    assert "fault of the book" not in out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_costs_a_note(fresh, monkeypatch, capsys):
    folder = fresh / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("GENAI_PROGRESS", str(folder / "progress.json"))
    check(right())
    assert "could not be saved" in capsys.readouterr().out


def test_a_write_that_fails_half_way_leaves_the_old_file(fresh, monkeypatch):
    Records().change("a", "x", tries=1)
    before = (fresh / "progress.json").read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(records.os, "replace", full)
    assert "No space left" in Records().change("a", "x", tries=1)[0]
    assert (fresh / "progress.json").read_bytes() == before
    assert {p.name for p in fresh.iterdir()} <= {"progress.json", "progress.json.lock"}


@pytest.fixture
def homeless(monkeypatch, fresh):
    """A user without HOME and without an entry in the password file."""
    pwd = pytest.importorskip("pwd")

    def unknown(_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("GENAI_PROGRESS", "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(fresh)


def everything(capsys):
    """What check, hint, solution and progress say, one after the other."""
    checking._hints_shown.clear()
    check(right()), hint("row_norms"), solution("row_norms"), progress()
    out = capsys.readouterr().out
    assert "✓ row_norms: correct. It agrees" in out and "hint 1 of 2. Square, add, root." in out
    assert "return (x**2).sum(1).sqrt()" in out and re.search("row_norms +toys", out)
    assert "fault of the book" not in out
    return out


@pytest.mark.parametrize("old", [False, True])
def test_no_home_folder_costs_a_note(old, homeless, monkeypatch, fresh, capsys):
    if old:  # platformdirs of before 2026 gave back the ~ that it could not expand
        monkeypatch.setattr(records.platformdirs, "user_data_dir", lambda *_, **__: "~/.local/x")
    out = everything(capsys)
    assert out.count("you have no home folder; GENAI_PROGRESS can name a file") == 4
    assert not list(fresh.iterdir())  # above all no folder called ~
    progress("~/report.json")
    assert "The report could not be written" in capsys.readouterr().out


def test_a_named_file_needs_no_home(homeless, monkeypatch, fresh, capsys):
    monkeypatch.setenv("GENAI_PROGRESS", str(fresh / "mine.json"))
    assert "could not be" not in everything(capsys)
    monkeypatch.setenv("GENAI_PROGRESS", "~/mine.json")
    assert everything(capsys).count("could not be saved") == 3


@pytest.mark.parametrize(
    "problem",
    [
        NotImplementedError("FileSystem does not appear to support flock"),
        OSError(37, "No locks available"),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_a_disk_without_locks_keeps_the_progress_and_says_so_once(
    problem, monkeypatch, fresh, capsys
):
    def refuses(self, *_, **__):
        raise problem

    monkeypatch.setattr(records.filelock.FileLock, "acquire", refuses)
    assert everything(capsys).count("kept without a lock") == 1
    record = stored(fresh)["toys"]["row_norms"]
    assert (record["state"], record["hints"], record["solution"]) == ("correct", 1, True)


def test_a_lock_that_another_notebook_holds_is_respected(monkeypatch, fresh):
    def refuses(self, *_, **__):
        raise records.filelock.Timeout("progress.json.lock")

    monkeypatch.setattr(records.filelock.FileLock, "acquire", refuses)
    assert "could not be saved" in Records().change("a", "x", tries=1)[0]
    assert not (fresh / "progress.json").exists()


@pytest.mark.parametrize(
    "problem",
    [OSError(28, "No space left on device"), OSError(30, "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_nothing_costs_a_note(problem, monkeypatch, fresh, capsys):
    def refuses(*_, **__):
        raise problem

    monkeypatch.setattr(records.tempfile, "mkstemp", refuses)
    monkeypatch.setattr(records.filelock.FileLock, "acquire", refuses)
    out = everything(capsys)
    assert out.count(f"could not be saved ({problem})") == 3 and "without a lock" not in out
    monkeypatch.setattr(records.Path, "mkdir", refuses)
    assert everything(capsys).count("could not be saved") == 3


def test_a_disk_without_permissions_keeps_the_progress(monkeypatch, fresh):
    def refuses(*_, **__):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(records.os, "chmod", refuses)
    assert Records().change("a", "x", tries=1) == []
    assert stored(fresh)["a"]["x"]["tries"] == 1


def test_a_folder_that_is_gone_costs_a_note(monkeypatch, capsys):
    def gone():
        raise FileNotFoundError("No such file or directory")

    monkeypatch.delenv("GENAI_PROGRESS")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "1")  # there it lies beside the notebook
    monkeypatch.setattr(records.Path, "cwd", gone)
    assert everything(capsys).count("No such file") == 4


@pytest.mark.parametrize("name", ["a\0b", "folder", "x" * 5_000])
def test_a_name_that_cannot_be_a_file_costs_a_note(name, monkeypatch, fresh, capsys):
    (fresh / "folder" / "progress.json").mkdir(parents=True)
    path = fresh / name
    monkeypatch.setattr(records, "place", lambda: path / "progress.json")
    assert everything(capsys).count("could not be saved") == 3


def test_a_file_that_an_editor_marked_is_read(fresh):
    Records().change("a", "x", tries=1)
    path = fresh / "progress.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Records().change("a", "x", tries=1) == []
    assert stored(fresh)["a"]["x"]["tries"] == 2


def test_a_corrupt_file_in_a_folder_that_takes_nothing(monkeypatch, fresh, capsys):
    def refuses(*_, **__):
        raise OSError(30, "Read-only file system")

    (fresh / "progress.json").write_text("{")
    monkeypatch.setattr(records.os, "replace", refuses)
    out = everything(capsys)
    assert out.count("could not be saved") == 3 and out.count("could not be read") == 1
    assert (fresh / "progress.json").read_text() == "{"


def test_places(fresh, monkeypatch):
    monkeypatch.setenv("GENAI_PROGRESS", str(fresh))
    assert records.place() == fresh / "progress.json"
    monkeypatch.delenv("GENAI_PROGRESS")
    assert records.place().parent.name == "genai-from-scratch"
    monkeypatch.chdir(fresh)
    for platform in ("KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"):
        with monkeypatch.context() as only:
            only.setenv(platform, "1")
            assert records.place() == fresh / "progress.json"
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    monkeypatch.setattr(records.Path, "is_dir", lambda self: True)  # the Drive is mounted
    drive = "/content/drive/MyDrive/genai-from-scratch/progress.json"
    assert records.place().as_posix() == drive


# --- the report -----------------------------------------------------------------------------------


def test_export_writes_and_writes_over_only_its_own_reports(fresh, capsys):
    check(right())
    progress(fresh / "r.json"), progress(fresh / "r.json"), progress(str(fresh / "r.html"))
    assert capsys.readouterr().out.count("The report is in") == 3
    report = json.loads((fresh / "r.json").read_text())
    assert report["summary"] == "1 of 2 exercises solved."
    assert [row["state"] for row in report["exercises"]] == ["correct", "to do"]
    assert "✓ correct" in (fresh / "r.html").read_text(encoding="utf-8")
    for name in ("mine.json", "mine.html"):
        (fresh / name).write_text("my own work")
        progress(fresh / name)
        assert "Nothing was written" in capsys.readouterr().out
        assert (fresh / name).read_text() == "my own work"


@pytest.mark.parametrize("path", ["report.pdf", "none/r.json", 3, True, ""])
def test_an_export_that_cannot_be_is_told(path, fresh, monkeypatch, capsys):
    monkeypatch.chdir(fresh)
    progress(path)
    out = capsys.readouterr().out
    assert "neither" in out or "could not be written" in out or "expects a file name" in out
    assert not list(fresh.rglob("r.json"))
