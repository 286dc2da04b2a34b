"""Data sets: one catalogue, one search order, loaders that say what they hand out.

    from genai_utils import data
    data.mnist("train", size=32)

Files are searched in GENAI_DATA, then in the user's cache, then on the network; see `search`.
"""

from .entries import (
    DataError,
    Dataset,
    File,
    catalogue,
    catalogue_table,
    dataset,
    forget_used,
    used,
)
from .films import movielens
from .folders import Pictures, pictures
from .graphs import Citations, cora, graph
from .images import Images, digits, mnist, photographs
from .ratings import Ratings
from .search import cache_dir, fetch, read_bytes
from .simulated import simulated_genotypes, simulated_homes, simulated_ratings
from .text import Article, Docstring, Lee, docstrings, lee, shakespeare, wikipedia
from .vocabulary import Reviews, Vocabulary, analogies, reviews, word_similarity, words

__all__ = [
    "Article",
    "Citations",
    "DataError",
    "Dataset",
    "Docstring",
    "File",
    "Images",
    "Lee",
    "Pictures",
    "Ratings",
    "Reviews",
    "Vocabulary",
    "analogies",
    "cache_dir",
    "catalogue",
    "catalogue_table",
    "cora",
    "dataset",
    "digits",
    "docstrings",
    "fetch",
    "forget_used",
    "graph",
    "lee",
    "mnist",
    "movielens",
    "photographs",
    "pictures",
    "read_bytes",
    "reviews",
    "shakespeare",
    "simulated_genotypes",
    "simulated_homes",
    "simulated_ratings",
    "used",
    "wikipedia",
    "word_similarity",
    "words",
]
