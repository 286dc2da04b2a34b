"""The catalogue: every data set of the book, where it comes from and how its files are known.

A further data set is one more entry here and a loader that calls `fetch(name)`.
"""

import difflib
from dataclasses import dataclass


class DataError(RuntimeError):
    """A data set cannot be had, or what was found is not it. The message says what to do."""


@dataclass(frozen=True)
class File:
    """One file. `sha256` and `size` (bytes) are those of the unpacked file, however it travels.

    `path` is its place below GENAI_DATA and below the cache; `urls` are tried in this order. An
    address that ends in .gz while `path` does not is unpacked on arrival; from one that ends in
    .zip, the member of the name `path` is taken. A table that its owners may bring up to date has
    no fixed digest: it is known by its `columns`, the header line, instead. `also`: other paths
    under which people have the same file.
    """

    path: str
    urls: tuple
    sha256: str | None = None
    size: int | None = None
    columns: str | None = None
    also: tuple = ()

    @property
    def name(self):
        """The file's name without its folders."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Dataset:
    """One data set: what it is, who may use it, whom to cite, and its files (none: bundled)."""

    name: str
    title: str
    shape: str
    licence: str
    citation: str
    source: str
    files: tuple = ()
    stand_in: str | None = None


def _mnist(name, size, sha256):
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return File(f"mnist/{name}", tuple(f"{m}{name}.gz" for m in mirrors), sha256, size)


def _github(path, address, sha256, size, also=()):
    return File(path, (f"https://raw.githubusercontent.com/{address}",), sha256, size, also=also)


def _movielens(name, columns):
    path = f"ml-latest-small/{name}"
    return File(path, ("https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",),
                columns=columns)  # fmt: skip


_PLANETOID = "kimiyoung/planetoid/af6abf468a772cc055bec88c52e4d6f51b7c37e3"
_CORA = {  # part: (SHA-256, bytes)
    "allx": ("9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543", 257_305),
    "ally": ("2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71", 47_959),
    "graph": ("58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d", 59_847),
    "test.index": ("297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875", 5_000),
    "tx": ("b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a", 148_025),
    "ty": ("41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad", 28_135),
}
_CNN = "yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c"
_CHAR_RNN = "karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
_EXAMPLES = "pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
_LLMS = "rasbt/LLMs-from-scratch/28c65cdfbc3338e2e040016eea4b7fdf556e4d57"

_ENTRIES = [
    Dataset(
        name="digits",
        title="Handwritten digits, small",
        shape="1,797 images, 8 × 8, 17 grey levels, 10 classes",
        licence="CC BY 4.0",
        citation="Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI",
        source="comes with scikit-learn",
    ),
    Dataset(
        name="mnist",
        title="MNIST handwritten digits",
        shape="60,000 + 10,000 images, 28 × 28, 256 grey levels, 10 classes",
        licence="CC BY-SA 3.0",
        citation="LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86(11)",
        source="downloaded, 11.6 MB",
        files=(
            _mnist(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            _mnist(
                "train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            _mnist(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            _mnist(
                "t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        stand_in="digits",
    ),
    Dataset(
        name="photographs",
        title="Two colour photographs",
        shape="2 images, 427 × 640, RGB",
        licence="CC BY (the photographers: see citation)",
        citation="china.jpg by A. N. Yasunaga, flower.jpg by dany13; scikit-learn's sample images",
        source="comes with scikit-learn",
    ),
    Dataset(
        name="wikipedia",
        title="Wikipedia articles",
        shape="about 100 articles, 0.4 million words of English",
        licence="CC BY-SA 3.0",
        citation="Wikipedia contributors; the first pages of the English dump",
        source="comes with gensim",
    ),
    Dataset(
        name="lee",
        title="Lee news",
        shape="300 + 50 short news articles, 50 × 50 human similarity judgements",
        licence="research use",
        citation="Lee, Pincombe & Welsh 2005, CogSci 27",
        source="comes with gensim",
    ),
    Dataset(
        name="docstrings",
        title="Docstrings of the installed scientific packages",
        shape="about 10,000 texts with package, module and See Also links",
        licence="BSD 3-clause (gensim: LGPL 2.1; matplotlib: its own, BSD-like)",
        citation="the authors of NumPy, SciPy, scikit-learn, PyTorch, Matplotlib, NetworkX, gensim",
        source="comes with the packages themselves",
    ),
    Dataset(
        name="graphs",
        title="Small labelled graphs",
        shape="karate club 34 nodes, Davis women × events 18 + 14, Les Misérables 77",
        licence="public domain facts; NetworkX is BSD 3-clause",
        citation="Zachary 1977; Davis, Gardner & Gardner 1941; Knuth 1993",
        source="comes with networkx",
    ),
    Dataset(
        name="shakespeare",
        title="Tiny Shakespeare",
        shape="1.1 million characters",
        licence="public domain",
        citation="Karpathy 2015, char-rnn",
        source="downloaded, 1.1 MB",
        files=(
            _github(
                "text/tinyshakespeare.txt",
                f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                1_115_394,
                also=("tinyshakespeare/input.txt",),
            ),
        ),
        stand_in="wikipedia",
    ),
    Dataset(
        name="wikitext2",
        title="WikiText-2, validation and test splits",
        shape="2.4 MB of Wikipedia prose",
        licence="CC BY-SA 3.0",
        citation="Merity, Xiong, Bradbury & Socher 2017, ICLR",
        source="downloaded, 2.4 MB",
        files=(
            _github(
                "text/wikitext2-valid.txt",
                f"{_EXAMPLES}/word_language_model/data/wikitext-2/valid.txt",
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                1_121_681,
                also=("wikitext-2/valid.txt", "wikitext-2/wiki.valid.tokens"),
            ),
            _github(
                "text/wikitext2-test.txt",
                f"{_EXAMPLES}/word_language_model/data/wikitext-2/test.txt",
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
                1_256_449,
                also=("wikitext-2/test.txt", "wikitext-2/wiki.test.tokens"),
            ),
        ),
    ),
    Dataset(
        name="reviews",
        title="Movie-review corpus",
        shape="5,331 positive and 5,331 negative sentences, latin-1",
        licence="research use",
        citation="Pang & Lee 2005, ACL",
        source="downloaded, 1.2 MB",
        files=(
            _github(
                "reviews/rt-polarity.pos",
                f"{_CNN}/rt-polarity.pos",
                "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
                626_139,
                also=("rt-polaritydata/rt-polarity.pos",),
            ),
            _github(
                "reviews/rt-polarity.neg",
                f"{_CNN}/rt-polarity.neg",
                "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
                612_256,
                also=("rt-polaritydata/rt-polarity.neg",),
            ),
        ),
        stand_in="review_sample",
    ),
    Dataset(
        name="review_sample",
        title="Movie-review sentences, a sample",
        shape="200 labelled sentences",
        licence="research use",
        citation="Pang & Lee 2005, ACL",
        source="comes with gensim",
    ),
    Dataset(
        name="word_benchmarks",
        title="Word-similarity and analogy benchmarks",
        shape="WordSim-353: 353 pairs; SimLex-999: 999 pairs; 19,544 analogies in 14 sections",
        licence="research use (WordSim: CC BY 4.0; analogies: Apache 2.0)",
        citation="Finkelstein et al. 2002; Hill, Reichart & Korhonen 2015; Mikolov et al. 2013",
        source="comes with gensim",
    ),
    Dataset(
        name="movielens",
        title="MovieLens, latest small",
        shape="100,836 ratings of 9,724 films by 610 users, 0.5 to 5 stars",
        licence="GroupLens: redistribution under the same conditions, no commercial use",
        citation="Harper & Konstan 2015, ACM TiiS 5(4)",
        source="downloaded, 1 MB",
        files=(
            _movielens("ratings.csv", "userId,movieId,rating,timestamp"),
            _movielens("movies.csv", "movieId,title,genres"),
        ),
        stand_in="simulated_ratings",
    ),
    Dataset(
        name="cora",
        title="Cora citation graph",
        shape="2,708 papers, 5,278 citations, 1,433 words, 7 subjects",
        licence="research use",
        citation="Sen et al. 2008, AI Magazine 29(3); Yang, Cohen & Salakhutdinov 2016, ICML",
        source="downloaded, 0.5 MB",
        files=tuple(
            _github(f"planetoid/ind.cora.{part}", f"{_PLANETOID}/data/ind.cora.{part}", *known)
            for part, known in _CORA.items()
        ),
    ),
    Dataset(
        name="instructions",
        title="Instructions",
        shape="1,100 instruction / input / output triples",
        licence="Apache 2.0",
        citation="Raschka 2024, Build a Large Language Model (From Scratch)",
        source="downloaded, 0.2 MB",
        files=(
            _github(
                "instructions/instruction-data.json",
                f"{_LLMS}/ch07/01_main-chapter-code/instruction-data.json",
                "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
                203_524,
            ),
        ),
    ),
    Dataset(
        name="simulated_genotypes",
        title="Simulated genotypes on a map",
        shape="1,000 people × 20,000 SNPs (any size), latitude and longitude",
        licence="CC0",
        citation="this book; after Novembre & Stephens 2008, Nature Genetics 40",
        source="drawn by the book's own code",
    ),
    Dataset(
        name="simulated_homes",
        title="Simulated homes",
        shape="1,000 homes × 9 columns (any size), 6 of them independent",
        licence="CC0",
        citation="this book",
        source="drawn by the book's own code",
    ),
    Dataset(
        name="simulated_ratings",
        title="Simulated ratings with planted factors",
        shape="120 users × 80 films (any size), a quarter of them rated",
        licence="CC0",
        citation="this book",
        source="drawn by the book's own code",
    ),
]

catalogue = {entry.name: entry for entry in _ENTRIES}


def dataset(name):
    """The catalogue's entry of that name; ValueError that suggests the nearest otherwise."""
    if isinstance(name, str) and name in catalogue:
        return catalogue[name]
    near = difflib.get_close_matches(str(name), catalogue, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"there is no data set {name!r}.{meant} There are: {', '.join(catalogue)}.")


def catalogue_table():
    """The catalogue as rows for the book's data page: a list of dicts of plain strings."""
    return [
        {
            "name": entry.name,
            "title": entry.title,
            "shape": entry.shape,
            "licence": entry.licence,
            "cite": entry.citation,
            "source": entry.source,
            "offline": "always"
            if not entry.files
            else f"{entry.stand_in} instead"
            if entry.stand_in
            else "after the first download",
        }
        for entry in catalogue.values()
    ]


_used = []


def mark_used(name):
    """Remember that a loader handed out `name` (for the run card)."""
    if name not in _used:
        _used.append(name)


def used():
    """Names of the data sets loaded so far in this process, stand-ins named as such."""
    return [*_used]


def forget_used():
    """Start the list of `used()` anew (a notebook's start does so)."""
    _used.clear()
