"""Ratings of films by people, as a list of (user, film, stars)."""

import csv
import io
from typing import NamedTuple

import numpy as np
import torch

from .entries import DataError, mark_used
from .search import fetch_or_stand_in, read_bytes


class Ratings(NamedTuple):
    """m ratings: user (m,) and item (m,) int64, counted from 0; rating (m,) float32, in stars.

    titles and genres (a tuple of names) are those of the items 0, 1, 2, …
    """

    user: torch.Tensor
    item: torch.Tensor
    rating: torch.Tensor
    titles: list
    genres: list


def movielens():
    """100,836 ratings, 0.5 to 5 stars, of 9,724 films by 610 people (MovieLens, latest small).

    Users and films keep the order of the files, and are counted from 0 without gaps; films that
    nobody rated are left out. Where the files cannot be had (no network, or the ci profile)
    `simulated_ratings` stand in for them, with one printed line.

    Returns Ratings. Raises DataError for files that are damaged or hold values out of range (their
    owners may bring them up to date).
    Source: Harper & Konstan 2015; lecture items A6, A7.
    """
    paths = fetch_or_stand_in("movielens")
    if paths is None:
        from .simulated import simulated_ratings  # which needs Ratings from here

        ratings = simulated_ratings()
        mark_used("simulated_ratings (stand-in for movielens)")
        return ratings
    raw = np.loadtxt(
        io.BytesIO(read_bytes(paths["ratings.csv"])), delimiter=",", skiprows=1, usecols=(0, 1, 2)
    )  # (m, 3)
    table = csv.reader(io.StringIO(read_bytes(paths["movies.csv"]).decode("utf-8")))
    next(table)
    films = {int(movie): (title.strip(), genres) for movie, title, genres in table}
    stars = raw[:, 2]
    halves = (2 * stars == np.round(2 * stars)) & (stars >= 0.5) & (stars <= 5)
    if not halves.all():
        raise DataError(
            "movielens: ratings.csv is expected to hold stars of 0.5, 1.0, …, 5.0; it holds "
            f"{stars[~halves][0]:g}"
        )
    _, user = np.unique(raw[:, 0], return_inverse=True)
    rated, item = np.unique(raw[:, 1].astype(np.int64), return_inverse=True)
    if unknown := [movie for movie in rated.tolist() if movie not in films]:
        raise DataError(f"movielens: movies.csv lacks {len(unknown)} rated films: {unknown[:3]}")
    mark_used("movielens")
    kinds = (
        [] if films[m][1].startswith("(no") else films[m][1].split("|") for m in rated.tolist()
    )
    return Ratings(
        torch.from_numpy(user.astype(np.int64)),
        torch.from_numpy(item.astype(np.int64)),
        torch.from_numpy(stars.astype(np.float32)),
        [films[m][0] for m in rated.tolist()],
        [tuple(k) for k in kinds],
    )
