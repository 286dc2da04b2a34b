"""MovieLens: what people thought of films."""

import csv
import io

import numpy as np
import torch

from .entries import DataError, mark_used
from .ratings import Ratings
from .search import fetch_or_stand_in, read_bytes
from .simulated import simulated_ratings

STARS = {half / 2 for half in range(1, 11)}  # 0.5, 1.0, …, 5.0


def movielens():
    """100,836 ratings, 0.5 to 5 stars, of 9,724 films by 610 people (MovieLens, latest small).

    Users and films keep the order of the files, and are counted from 0 without gaps; films that
    nobody rated are left out. Where the files cannot be had (no network, or the ci profile)
    `simulated_ratings` stand in for them, with one printed line.

    Returns Ratings. Raises DataError, which names the line, for files that are damaged or hold
    values out of range (their owners may bring them up to date).
    Source: Harper & Konstan 2015; lecture items A6, A7.
    """
    paths = fetch_or_stand_in("movielens")
    if paths is None:
        ratings = simulated_ratings()
        mark_used("simulated_ratings (stand-in for movielens)")
        return ratings
    films = _films(paths["movies.csv"])
    people, rated, stars = _ratings(paths["ratings.csv"], films)
    _, user = np.unique(people, return_inverse=True)
    rated, item = np.unique(rated, return_inverse=True)
    mark_used("movielens")
    return Ratings(
        torch.from_numpy(user.astype(np.int64)),
        torch.from_numpy(item.astype(np.int64)),
        torch.tensor(stars, dtype=torch.float32),
        [films[m][0] for m in rated.tolist()],
        [films[m][1] for m in rated.tolist()],
    )


def _films(path):
    """dict, number of a film -> (title, genres)."""
    films = {}
    for line, (movie, title, genres) in _rows(path):
        movie = _number(movie, path, line, "movieId")
        if movie in films:
            raise _wrong(path, line, "each film once", f"film {movie} again")
        kinds = () if genres.startswith("(no") else tuple(genres.split("|"))
        films[movie] = title.strip(), kinds
    return films


def _ratings(path, films):
    """Numbers of the people and of the films, and stars: three lists of m, in the file's order."""
    people, rated, stars, seen = [], [], [], set()
    for line, (who, movie, rating, _) in _rows(path):
        pair = _number(who, path, line, "userId"), _number(movie, path, line, "movieId")
        if pair in seen:
            raise _wrong(path, line, "one rating of each", f"film {pair[1]} by {pair[0]} again")
        if pair[1] not in films:
            raise _wrong(path, line, "a film of movies.csv", f"film {pair[1]}")
        try:
            value = float(rating)
        except ValueError:
            value = None
        if value not in STARS:
            raise _wrong(path, line, "a rating of 0.5, 1.0, …, 5.0", repr(rating))
        seen.add(pair)
        people.append(pair[0])
        rated.append(pair[1])
        stars.append(value)
    return people, rated, stars


def _rows(path):
    """(line, row) of a CSV file below its header, all of one length: `fetch` looked at that."""
    table = csv.reader(io.StringIO(read_bytes(path).decode("utf-8"), newline=""))
    next(table)
    for row in table:
        yield table.line_num, row


def _number(text, path, line, column):
    if not text.strip().isdecimal():
        raise _wrong(path, line, f"a whole number as {column}", repr(text))
    return int(text)


def _wrong(path, line, expected, got):
    return DataError(
        f"movielens: {path}, line {line}: expected {expected}, got {got}. Take ml-latest-small.zip "
        "anew, or remove the file so that it is fetched."
    )
