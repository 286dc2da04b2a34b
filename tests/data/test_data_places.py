"""Files in GENAI_DATA under other common names, or some of them only; what is missing is named."""

import gzip
import hashlib
from pathlib import Path

import pytest

from genai_utils import data

PARTS = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]


@pytest.fixture
def moved(small_mnist, tmp_path):
    """moved(where) renames the four packed files; where: their names with {} for "train-images"
    and {n} for 3 or 1; unpacked where the name does not end in .gz.
    """

    def move(where):
        for part in PARTS:
            old = tmp_path / "mine" / "mnist" / f"{part}-ubyte.gz"
            stem, _, n = part.rpartition("-idx")
            new = tmp_path / "mine" / where.format(stem, n=n)
            raw = old.read_bytes()
            old.unlink()
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(raw if new.suffix == ".gz" else gzip.decompress(raw))

    return move


@pytest.mark.parametrize(
    "where",
    [
        "mnist/{}.idx{n}-ubyte",
        "mnist/{}.idx{n}-ubyte.gz",
        "MNIST/raw/{}-idx{n}-ubyte",
        "MNIST/raw/{}-idx{n}-ubyte.gz",
        "{}-idx{n}-ubyte.gz",
        "archive/{0}-idx{n}-ubyte/{0}-idx{n}-ubyte",
        "mnist/{0}-idx{n}-ubyte/{0}-idx{n}-ubyte",  # a folder where a file is expected
        "raw/{}_idx{n}_ubyte",
    ],
)
def test_mnist_is_found_under_its_other_common_names(moved, small_mnist, where, capsys):
    moved(where)
    assert len(data.mnist("train").x) == 30 and data.used() == ["mnist"]
    assert data.mnist("test").y.tolist() == small_mnist["t10k"][1].tolist()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "where", ["mnist.old/{}-idx{n}-ubyte", "mnist/raw/mnist/raw/{}-idx{n}-ubyte"]
)
def test_mnist_is_not_looked_for_in_every_folder(moved, where, monkeypatch, capsys):
    moved(where)
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    assert len(data.mnist("train").x) == 1437
    assert "using the bundled digits" in capsys.readouterr().out


def test_contents_decide_and_not_the_ending(small_mnist, tmp_path):
    """Some browsers unpack what they save and leave the name; some take .gz off and do not."""
    folder = tmp_path / "mine" / "mnist"
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    (folder / "t10k-images-idx3-ubyte.gz").rename(folder / "t10k-images-idx3-ubyte")
    assert len(data.mnist("test").x) == 12


@pytest.mark.parametrize("profile", ["ci", "cpu"])
def test_two_of_four_files_are_an_error_that_names_the_other_two(
    small_mnist, tmp_path, monkeypatch, profile, capsys
):
    monkeypatch.setenv("GENAI_PROFILE", profile)
    for part in PARTS[:1] + PARTS[3:]:
        (tmp_path / "mine" / "mnist" / f"{part}-ubyte.gz").unlink()
    with pytest.raises(data.DataError) as error:
        data.mnist("train")
    assert type(error.value) is data.DataError
    said = f"not below GENAI_DATA ({tmp_path / 'mine'}), nor under a like name: "
    missing = "mnist/train-images-idx3-ubyte, mnist/t10k-labels-idx1-ubyte\n"
    assert said + missing in str(error.value)
    assert "the file train-images-idx3-ubyte is not on this machine" in str(error.value)
    assert capsys.readouterr().out == ""


def fails_in_ci(monkeypatch, loader, *said):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    with pytest.raises(data.DataError) as error:
        loader()
    for words in said:
        assert words in str(error.value)


def test_mnist_in_a_form_that_cannot_be_verified_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "mine" / "mnist").mkdir(parents=True)
    odd = tmp_path / "mine" / "mnist" / "mnist.npz"
    odd.write_bytes(b"PK")
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "mine"))
    fails_in_ci(monkeypatch, data.mnist, f"not known to be one of its files: {odd}")


def test_a_damaged_copy_under_another_name_is_damage(moved, tmp_path, monkeypatch):
    moved("MNIST/raw/{}.idx{n}-ubyte")
    bad = tmp_path / "mine" / "MNIST" / "raw" / "t10k-labels.idx1-ubyte"
    bad.write_bytes(bad.read_bytes()[:-1])
    fails_in_ci(monkeypatch, data.mnist, f"not used: {bad} has 19 bytes instead of 20")


def test_a_folder_for_other_data_sets_does_not_keep_the_stand_in_away(
    tmp_path, monkeypatch, capsys
):
    """The folder `text` is shared, and any file may be called input.txt."""
    (tmp_path / "mine" / "text").mkdir(parents=True)
    (tmp_path / "mine" / "text" / "notes.md").write_text("mine")
    (tmp_path / "mine" / "text" / "input.txt").write_text("mine")
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    assert len(data.shakespeare()) == 300_000
    assert "using the bundled wikipedia" in capsys.readouterr().out


def test_a_text_is_found_under_the_name_that_its_author_gave_it(tmp_path, monkeypatch):
    body = b"First Citizen:\n"
    file = data.File("text/tiny.txt", (), hashlib.sha256(body).hexdigest(), len(body),
                     also=("tinyshakespeare/input.txt",))  # fmt: skip
    entry = data.Dataset("toy", "Toy", "", "", "", "", (file,))
    monkeypatch.setitem(data.catalogue, "toy", entry)
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    (tmp_path / "input.txt").write_bytes(b"something else")
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_bytes(body)
    assert data.fetch("toy") == {"tiny.txt": tmp_path / "tinyshakespeare" / "input.txt"}


def test_a_table_without_a_digest_is_taken_from_its_own_folder_alone(tmp_path, monkeypatch):
    """The large MovieLens has the same columns: nothing but its folder tells it apart."""
    tables = {
        "ratings.csv": "userId,movieId,rating,timestamp\n7,30,4.0,1\n",
        "movies.csv": "movieId,title,genres\n30,Plain,Drama\n",
    }
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    for folder, found in (("ml-25m", 120), (".", None), ("ml-latest-small/ml-latest-small", 1)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in tables.items():
            (tmp_path / folder / name).write_text(text)
        data.search._stood_in.clear()
        if found is None:
            known = f"not known to be one of its files: {tmp_path / 'ratings.csv'}"
            fails_in_ci(monkeypatch, data.movielens, known)
        else:
            assert len(set(data.movielens().user.tolist())) == found


def test_a_broken_link_is_damage(small_mnist, tmp_path, monkeypatch):
    path = tmp_path / "mine" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    fails_in_ci(monkeypatch, data.mnist, f"{path} cannot be read (No such file or directory)")


def test_what_may_not_be_read_is_named(small_mnist, tmp_path, monkeypatch):
    """As it is for someone who is not root: the folder, then one file in it."""
    folder = tmp_path / "mine" / "mnist"
    real = Path.iterdir, Path.is_file

    def denied(path, function):
        if path == folder or path.parent == folder:
            raise PermissionError(13, "Permission denied")
        return function(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda path: denied(path, real[0]))
        patch.setattr(Path, "is_file", lambda path: denied(path, real[1]))
        fails_in_ci(patch, data.mnist, f"{folder} cannot be read (Permission denied)")

    def no_labels(path, *args, **options):
        if "labels" in str(path):
            raise PermissionError(13, "Permission denied")
        return open(path, *args, **options)

    monkeypatch.setattr("genai_utils.data.verify.open", no_labels, raising=False)
    fails_in_ci(monkeypatch, data.mnist, "labels-idx1-ubyte.gz cannot be read (Permission denied)")


@pytest.mark.parametrize("chosen", ["~/data", "~nobody-of-that-name/data"])
def test_a_home_that_nobody_has_is_named(monkeypatch, homeless, chosen):
    monkeypatch.setenv("GENAI_DATA", chosen)
    fails_in_ci(monkeypatch, data.mnist, f"GENAI_DATA is '{chosen}', but the user whom ~ means has")
