"""Ratings: MovieLens as its files say, a table known by its columns, planted factors."""

import io
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch

from genai_utils import data
from genai_utils.data import search

RATINGS = "userId,movieId,rating,timestamp\n7,30,4.0,1\n7,10,2.5,2\n9,30,0.5,3\n"
MOVIES = (
    'movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n'
    "20,Nobody Saw (1990),Drama\n30,Plain,(no genres listed)\n"
)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """put(ratings, movies) writes the two files into a GENAI_DATA folder."""

    def put(ratings=RATINGS, movies=MOVIES):
        folder = tmp_path / "mine" / "ml-latest-small"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ratings.csv").write_text(ratings)
        (folder / "movies.csv").write_text(movies)
        monkeypatch.setenv("GENAI_DATA", str(tmp_path / "mine"))

    return put


def test_users_and_rated_films_are_counted_from_zero_and_keep_their_titles(small):
    small()
    found = data.movielens()
    assert found.user.tolist() == [0, 0, 1] and found.item.tolist() == [1, 0, 1]
    assert found.rating.tolist() == [4.0, 2.5, 0.5]
    assert found.titles == ["American President, The (1995)", "Plain"]  # film 20 has no rating
    assert found.genres == [("Comedy", "Drama"), ()]
    assert found.user.dtype == found.item.dtype == torch.int64
    assert found.rating.dtype == torch.float32
    assert data.used() == ["movielens"]


def test_movielens_has_its_published_size(real_data):
    found = data.movielens()
    assert len(found.rating) == 100_836
    assert len(set(found.user.tolist())) == 610 and len(set(found.item.tolist())) == 9_724
    assert len(found.titles) == len(found.genres) == 9_724
    best_known = Counter(found.item.tolist()).most_common(1)[0]
    assert (found.titles[best_known[0]], best_known[1]) == ("Forrest Gump (1994)", 329)
    assert set((2 * found.rating).tolist()) == set(range(1, 11))


@pytest.mark.parametrize(
    ("ratings", "complaint"),
    [
        (RATINGS.replace("userId", "user"), "has the columns 'user,movieId"),
        (RATINGS[:-3], "is no whole table"),  # cut off
        (RATINGS.replace("9,30,0.5,3", "9,30,0.5"), "is no whole table"),
        ("userId,movieId,rating,timestamp\n", "is no whole table"),
    ],
)
def test_a_damaged_table_is_not_used(small, monkeypatch, ratings, complaint):
    monkeypatch.setenv("GENAI_PROFILE", "ci")  # no network
    small(ratings)
    with pytest.raises(data.DataError, match=complaint):
        data.movielens()


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"ratings": RATINGS.replace("4.0", "4.2")}, "2: expected a rating of .*, got '4.2'"),
        ({"ratings": RATINGS.replace("0.5", "6.0")}, "4: expected a rating of .*, got '6.0'"),
        ({"ratings": RATINGS.replace("2.5", "")}, "3: expected a rating of .*, got ''"),
        ({"ratings": RATINGS.replace("2.5", "nan")}, "3: expected a rating of .*, got 'nan'"),
        ({"ratings": RATINGS.replace("2.5", "good")}, "3: expected a rating of .*, got 'good'"),
        ({"ratings": RATINGS.replace("9,", ",")}, "4: expected a whole number as userId, got ''"),
        ({"ratings": RATINGS.replace("10", "10.5")}, "3: .* number as movieId, got '10.5'"),
        ({"ratings": RATINGS + "9,30,1.0,4\n"}, "5: expected one .*, got film 30 by 9 again"),
        ({"movies": MOVIES.replace("30,", "31,")}, "2: expected a film of movies.csv, got film 30"),
        ({"movies": MOVIES.replace("20,", ",")}, "3: expected a whole number as movieId, got ''"),
        ({"movies": MOVIES.replace("20,", "10,")}, "3: expected each film once, got film 10 again"),
    ],
)
def test_values_out_of_range_are_an_error_that_names_the_line(small, files, complaint):
    small(**files)
    name = "ratings" if "ratings" in files or "of movies.csv" in complaint else "movies"
    with pytest.raises(data.DataError, match=f"movielens: .*{name}.csv, line {complaint}"):
        data.movielens()


def test_tables_that_a_spreadsheet_wrote_are_read(small):
    """They begin with a mark and end their lines in two signs."""
    small("\ufeff" + RATINGS.replace("\n", "\r\n"), "\ufeff" + MOVIES)
    assert data.movielens().titles == ["American President, The (1995)", "Plain"]


def archive(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name, text in members.items():
            out.writestr(f"toy/{name}.csv", text)
    return packed.getvalue()


@pytest.fixture
def table(monkeypatch):
    """table(url) puts a data set of one CSV file, known by its columns, into the catalogue."""

    def put(url):
        file = data.File("toy/a.csv", (url,), columns="x,y")
        entry = data.Dataset("toy", "Toy", "a table", "CC0", "nobody", "here", (file,))
        monkeypatch.setitem(data.catalogue, "toy", entry)

    return put


def test_a_table_is_taken_out_of_a_zip_and_not_fetched_twice(server, page, table):
    table(server.url("/t.zip", page(archive(a="x,y\n1,2\n", b="other"))))
    for _ in range(2):
        path = data.fetch("toy")["a.csv"]
        assert search.read_bytes(path) == b"x,y\n1,2\n"
    assert len(server.asked) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.csv", "a.csv.lock"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (archive(b="x,y\n1,2\n"), "damaged or different file"),  # the member is missing
        (archive(a="x,y\n1,2\n")[:-30], "damaged or different file"),
        (archive(a="x,z\n1,2\n"), "has the columns 'x,z' instead of 'x,y'"),
    ],
    ids=["no such member", "cut off", "other columns"],  # the bytes hold the time of day
)
def test_a_wrong_zip_is_neither_used_nor_kept(server, page, table, tmp_path, body, complaint):
    table(server.url("/t.zip", page(body)))
    with pytest.raises(data.DataError, match=complaint):
        data.fetch("toy")
    assert [p.suffix for p in (tmp_path / "a cache" / "toy").iterdir()] == [".lock"]


def test_a_damaged_table_in_the_cache_is_fetched_again(server, page, table):
    table(server.url("/t.zip", page(archive(a="x,y\n1,2\n"))))
    path = data.fetch("toy")["a.csv"]
    path.write_text("x,y\n1")
    assert data.fetch("toy")["a.csv"].read_text() == "x,y\n1,2\n"


def test_without_movielens_simulated_ratings_stand_in(monkeypatch, capsys):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    found = data.movielens()
    assert "using the bundled simulated_ratings" in capsys.readouterr().out
    assert found.titles[0] == "film 1"
    assert data.used() == ["simulated_ratings", "simulated_ratings (stand-in for movielens)"]


def test_simulated_ratings_hold_their_planted_factors():
    full = data.simulated_ratings(users=60, items=40, rank=3, density=1.0, noise=0.0, seed=4)
    R = np.zeros((60, 40))
    R[full.user, full.item] = full.rating
    s = np.linalg.svd(R - R.min(), compute_uv=False)
    assert s[3] / s[2] < 0.2  # what is left of the rounding to half stars
    assert set((2 * full.rating).tolist()) <= set(range(1, 11))
    part = data.simulated_ratings(seed=4)
    assert len(set(part.user.tolist())) == 120 and len(set(part.item.tolist())) == 80
    assert abs(len(part.rating) / 9600 - 0.25) < 0.03
    again, other = data.simulated_ratings(seed=4), data.simulated_ratings(seed=5)
    assert torch.equal(part.rating, again.rating)
    assert part.user.tolist() != other.user.tolist()
    assert all(1 <= len(kinds) <= 2 for kinds in part.genres)


@pytest.mark.parametrize("wrong", [{"users": 0}, {"density": 0}, {"density": 1.5}, {"noise": -1}])
def test_simulated_ratings_refuse_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a"):
        data.simulated_ratings(**wrong)
