"""Graphs: small ones with known communities, which come with networkx, and Cora's citations."""

import io
import pickle
from typing import NamedTuple

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct

from genai_utils.inputs import one_of

from .entries import DataError, mark_used
from .packages import optional
from .search import fetch, read_bytes

GRAPHS = {
    "karate": "karate_club_graph",
    "davis": "davis_southern_women_graph",
    "les_miserables": "les_miserables_graph",
}


def graph(name):
    """A networkx graph, fresh at every call.

    "karate": 34 members of a club that split in two (node attribute "club"; Zachary 1977).
    "davis": 18 women × 14 events they attended, bipartite (Davis, Gardner & Gardner 1941).
    "les_miserables": 77 characters, edge "weight" = chapters shared (Knuth 1993).

    Raises ValueError for another name, DataError where networkx is not installed.
    """
    one_of(name, "name", GRAPHS)
    made = getattr(optional("networkx", "graphs"), GRAPHS[name])()
    mark_used("graphs")
    return made


class Citations(NamedTuple):
    """edges (m, 2) int64, each once, lower number first; labels (n,) int64; classes: their names;
    features (n, d) float32, 1 where the paper holds the word.
    """

    edges: torch.Tensor
    labels: torch.Tensor
    classes: list
    features: torch.Tensor


CORA_CLASSES = [
    "Theory", "Reinforcement learning", "Genetic algorithms", "Neural networks",
    "Probabilistic methods", "Case-based reasoning", "Rule learning",
]  # fmt: skip


def cora():
    """The Cora graph: 2,708 machine-learning papers, 5,278 citations between them, 7 subjects.

    The direction of a citation, repetitions and citations of oneself are dropped. The files are
    Python pickles: they are read with an unpickler that makes arrays, lists and dicts only.

    Returns Citations. Raises DataError where the files cannot be had or hold anything else.
    Source: Sen et al. 2008, in the form of Yang et al. 2016; lecture items B48-B51.
    """
    paths = fetch("cora")
    part = {name.removeprefix("ind.cora."): read_bytes(path) for name, path in paths.items()}
    order = torch.tensor([int(line) for line in part.pop("test.index").split()])  # (1000,)
    part = {name: _Plain(io.BytesIO(raw), encoding="latin1").load() for name, raw in part.items()}
    features = np.concatenate([part["allx"].toarray(), part["tx"].toarray()])  # (2708, 1433)
    features = torch.from_numpy(features.astype(np.float32))
    labels = torch.from_numpy(np.concatenate([part["ally"], part["ty"]]).argmax(1))  # (2708,)
    # The test papers stand in the order of test.index, the graph counts them by their number.
    features[order], labels[order] = features[-len(order) :].clone(), labels[-len(order) :].clone()
    pairs = {(min(a, b), max(a, b)) for a, ends in part["graph"].items() for b in ends if a != b}
    mark_used("cora")
    return Citations(torch.tensor(sorted(pairs)), labels, [*CORA_CLASSES], features)


class _Plain(pickle.Unpickler):
    """Unpickles sparse matrices, arrays, lists and dicts; DataError at any other name.

    pickle.load would call whatever function a file names. The files' digests are checked too.
    """

    def find_class(self, module, name):
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if name == "_reconstruct" and module == "numpy.core.multiarray":
            return _reconstruct
        if (module, name) == ("scipy.sparse.csr", "csr_matrix"):
            return optional("scipy.sparse", "cora").csr_matrix
        if (module, name) in (("builtins", "list"), ("__builtin__", "list")):
            return list
        if (module, name) == ("collections", "defaultdict"):
            return _dict_of_lists
        raise DataError(f"cora: a file asks for {module}.{name}, which is no plain data: not read")


def _dict_of_lists(kind=list):
    """What stands for a pickled defaultdict: a plain dict."""
    return {}
