"""What every loader of ratings returns: a list of (user, film, stars)."""

from typing import NamedTuple

import torch


class Ratings(NamedTuple):
    """m ratings: user (m,) and item (m,) int64, counted from 0; rating (m,) float32, in stars.

    titles and genres (a tuple of names) are those of the items 0, 1, 2, …
    """

    user: torch.Tensor
    item: torch.Tensor
    rating: torch.Tensor
    titles: list
    genres: list
