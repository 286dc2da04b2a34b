"""Whose random numbers they are: only `start` and `fit` seed the global ones, and `fit` gives back.

A reader's `torch.rand` must not repeat itself because a function of the book was called before it.
The code is read for what seeds or draws; some functions are called.
"""

import ast
import random
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets  # noqa: F401  joblib, which it brings, draws once while it is imported
import torch

import genai_utils
from genai_utils import data, evaluation
from genai_utils.structure import clustering, doc2vec, node_embeddings, pca
from genai_utils.training import TensorBatches, WindowBatches, checkpoint, dynamic_binarize
from genai_utils.vision import mixture

ROOT = Path(genai_utils.__file__).parent

# Who may seed the global generators: file, function. So may whatever stands in a `with` block of
# `kept_random_state`, which gives their state back.
SEEDS = {
    ("session.py", "start"),  # seeds, as its reader expects
    ("loop.py", "fit"),  # seeds, and gives back
    ("checkpoint.py", "set_rng_state"),  # gives back
    ("checkpoint.py", "kept_random_state"),
    ("state.py", "RunState.restore"),  # inside fit
    ("sandbox.py", "seed_all"),  # for an exercise, whose state is kept
    ("sandbox.py", "_random_state_kept"),
}
# First weights come from the global generator, as all of PyTorch's own do, and so does what a loss
# draws: it runs in `fit`. Whatever else draws without a generator has to say so in its docstring.
FIRST_WEIGHTS = {"__init__", "small_weights", "first_weights"}
IN_A_LOSS = {"loss", "corrupt", "draw", "pairs", "revive", "random_direction"}

SEEDING = {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_seed"}
SEEDING |= {"setstate", "set_state"}
DRAWING = {
    "rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson",
    "rand_like", "randn_like", "randint_like", "normal_", "uniform_", "bernoulli_", "random_",
    "exponential_", "gumbel_softmax", "svd_lowrank", "pca_lowrank", "kaiming_uniform_",
    "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_", "trunc_normal_",
    "sample", "rsample",
}  # fmt: skip
MODULES = ("torch", "np", "numpy", "random", "nn", "F", "init", "cuda")
HARMLESS = {"default_rng", "Generator", "RandomState", "SeedSequence", "Random", "get_state",
            "getstate", "get_rng_state", "fork_rng"}  # fmt: skip


def calls(tree):
    """Each call with the names around it, their docstrings, and whether its state is kept."""

    def walk(node, names, documents, kept):
        held = node.items if isinstance(node, ast.With) else []
        kept |= any(ast.unparse(i.context_expr).endswith("kept_random_state()") for i in held)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, documents = [*names, node.name], [*documents, ast.get_docstring(node) or ""]
        if isinstance(node, ast.Call):
            yield node, ".".join(names), documents, kept
        for child in ast.iter_child_nodes(node):
            yield from walk(child, names, documents, kept)

    return walk(tree, [], [], False)


def parts(function):
    """`torch.random.rand` as ["torch", "random", "rand"]; [] for what is no such chain."""
    names = []
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    return [function.id, *names[::-1]] if isinstance(function, ast.Name) else []


def offences(source, file):
    """What of a source seeds or draws from the global generators and is not allowed to."""
    tree = ast.parse(source)
    plain = any(isinstance(n, ast.Import) and any(a.name == "random" for a in n.names)
                for n in ast.walk(tree))  # fmt: skip
    for call, where, documents, kept in calls(tree):
        chain = parts(call.func)
        name = chain[-1] if chain else getattr(call.func, "attr", "")
        of_numpy = chain[:2] in (["np", "random"], ["numpy", "random"])
        of_python = plain and chain[:1] == ["random"] and len(chain) == 2
        of_torch = chain[:1] == ["torch"] or chain == ["set_seed"] or chain == ["set_rng_state"]
        function = where.rsplit(".", 1)[-1]
        if name in HARMLESS:
            continue
        if of_numpy or of_python or (of_torch and name in SEEDING):
            if not (kept and name in SEEDING) and (file, where) not in SEEDS:
                yield f"{file}:{call.lineno} {where}: {ast.unparse(call)}"
        elif name in DRAWING and (chain[:1] and chain[0] in MODULES or name.endswith("_")):
            given = any(word.arg in ("generator", None) for word in call.keywords)
            says = any("global" in text and "generator" in text for text in documents)
            if not (given or says or function in FIRST_WEIGHTS | IN_A_LOSS):
                yield f"{file}:{call.lineno} {where}: {ast.unparse(call)}"


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ndef f():\n    torch.manual_seed(0)",
        "import torch\ndef f():\n    torch.random.manual_seed(0)",
        "import torch\ndef f():\n    torch.cuda.manual_seed_all(0)",
        "import numpy as np\ndef f():\n    return np.random.rand(3)",
        "import numpy as np\ndef f():\n    np.random.seed(3)",
        "import random\ndef f():\n    return random.choice([1, 2])",
        "import torch\ndef f():\n    return torch.randperm(3)",
        "import torch\nclass M:\n    def sample(self):\n        return torch.randn_like(self.x)",
        "def f(x):\n    return x.normal_()",
        "from accelerate.utils import set_seed\ndef f():\n    set_seed(1)",
        "import torch\ndef f():\n    with torch.no_grad():\n        torch.manual_seed(0)",
        "import torch\ndef f():\n    with kept_random_state():\n        return torch.rand(3)",
    ],
)
def test_the_reader_of_the_code_sees_it(source):
    assert len(list(offences(source, "any.py"))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ndef f(g):\n    return torch.randperm(3, generator=g)",
        "import torch\ndef f():\n    return torch.Generator().manual_seed(3)",
        "import numpy as np\ndef f():\n    return np.random.default_rng(3).normal()",
        "import random\ndef f():\n    return random.Random(3).choice([1, 2])",
        "import torch\nclass M:\n    def __init__(self):\n        self.w = torch.randn(3)",
        "import torch\ndef f():\n    with kept_random_state():\n        torch.manual_seed(0)",
        "def f():\n    'Draws from the global generator.'\n    import torch\n    torch.rand(2)",
    ],
)
def test_and_passes_over_what_is_allowed(source):
    assert list(offences(source, "any.py")) == []


def test_no_file_seeds_or_draws_from_the_global_generators():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        found += offences(path.read_text(encoding="utf-8"), path.name)
    assert not found, "\n".join(found)


def states():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()


X = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
NODES = torch.arange(30)
RINGS = torch.cat([torch.stack([NODES, (NODES + step) % 30], 1) for step in (1, 2)])  # (60, 2)


def infer():
    words = [torch.tensor([0, 1, 2, 3, 2, 1]), torch.tensor([3, 2, 1, 0, 1])]
    counts = torch.ones(4)
    with checkpoint.kept_random_state():
        model = doc2vec.PVDBOW(2, counts, dim=3)
    return lambda: doc2vec.infer(model, words, steps=2)


def judged():
    test = data.digits("test").x
    card = evaluation.Scorecard((test[:40], test[40:]), "digits")
    return lambda: (card.of(test[:40]), evaluation.Scorecard((test[:40], test[40:]), "digits"))


def trained():
    digits = data.digits("train")
    return lambda: evaluation.train_judge(digits.x[:40], digits.y[:40], steps=2)


CASES = {
    "kmeans": lambda: lambda: clustering.kmeans(X, 3, starts=2),
    "minibatch_kmeans": lambda: lambda: clustering.minibatch_kmeans(X, 3, batch=10, steps=5),
    "power_iteration": lambda: lambda: pca.power_iteration(X, most=20),
    "hide_edges": lambda: lambda: node_embeddings.hide_edges(RINGS, 30, 0.2),
    "simulated data": lambda: lambda: (data.simulated_homes(), data.simulated_ratings()),
    "digits": lambda: lambda: data.digits("train", 28),
    "fit_mixture": lambda: (
        lambda: mixture.fit_mixture((X[:, 0] > 0.5).float().view(15, 1, 2, 2), 2, 3)
    ),
    "batches": lambda: (
        lambda: (
            TensorBatches(X, batch_size=8, transform=dynamic_binarize)(3),
            WindowBatches(torch.arange(40), 5, 2)(3),
        )
    ),
    "load_judge": lambda: lambda: evaluation.load_judge(8, "digits"),
    "train_judge": trained,
    "Scorecard": judged,
    "doc2vec.infer": infer,
}


@pytest.mark.parametrize("name", CASES)
def test_a_call_leaves_the_generators_where_they_stood(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path))
    call = CASES[name]()
    before = states()
    call()
    assert states() == before
    torch.manual_seed(123)  # nor does it seed: another state stays another one
    before = states()
    call()
    assert states() == before


def test_every_card_is_given_back(monkeypatch):
    """Seeding PyTorch seeds all cards; the state of each is put back."""
    cards = {0: "a", 1: "b"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda card: cards[card.index])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, card: cards.update({card.index: state})
    )
    with pytest.raises(KeyError), checkpoint.kept_random_state():
        cards.update({0: "moved", 1: "moved"})
        raise KeyError
    assert cards == {0: "a", 1: "b"}
    with checkpoint.kept_random_state(torch.device("cuda", 1)):
        cards.update({0: "moved", 1: "moved"})
    assert cards == {0: "moved", 1: "b"}
    with checkpoint.kept_random_state(torch.device("cpu")):
        cards.update({0: "mine", 1: "mine"})
    assert cards == {0: "mine", 1: "mine"}
