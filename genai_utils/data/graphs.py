"""Small graphs with known communities; they come with networkx."""

from ._arguments import one_of
from .entries import mark_used
from .text import optional

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
    one_of("the graph's name", name, GRAPHS)
    made = getattr(optional("networkx", "graphs"), GRAPHS[name])()
    mark_used("graphs")
    return made
