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
from .graphs import graph
from .images import Images, digits, mnist, photographs
from .search import cache_dir, fetch, read_bytes
from .simulated import simulated_genotypes, simulated_homes
from .text import Article, Docstring, Lee, docstrings, lee, wikipedia

__all__ = [
    "Article",
    "DataError",
    "Dataset",
    "Docstring",
    "File",
    "Images",
    "Lee",
    "cache_dir",
    "catalogue",
    "catalogue_table",
    "dataset",
    "digits",
    "docstrings",
    "fetch",
    "forget_used",
    "graph",
    "lee",
    "mnist",
    "photographs",
    "read_bytes",
    "simulated_genotypes",
    "simulated_homes",
    "used",
    "wikipedia",
]
