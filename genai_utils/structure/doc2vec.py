"""Document embeddings: PV-DBOW, PV-DM, and the vector of a document that was never seen.

Symbols follow chapter 5: y_w is the output vector of word w, x_w its input vector, k the number of
negatives; d_i is the vector of document i, all of length `dim`. A document is a tensor of word
ids (L,) int64; -1 is the place of a word that is not there.

Sources: Le & Mikolov 2014 (both models and the inference stage); Levy & Goldberg 2014 (what
negative sampling factorises). Lecture items A18 and A19.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import matrix, number, refusal, whole
from genai_utils.structure.word_embeddings import (
    noise_distribution,
    rows,
    word_ids,
)
from genai_utils.training import fit

GROUP = 64  # words that share what is drawn, if a model's `shared` says so

# --- the data: every word of every document is one example


def _checked(documents: list[Tensor]) -> list[Tensor]:
    """The documents as int64 tensors, if each holds a word; else say which one does not."""
    if isinstance(documents, Tensor):
        raise refusal(
            "documents", "a list of tensors of word ids", "one tensor", "put it into a list",
            kind=TypeError,
        )  # fmt: skip
    documents = word_ids(documents, "documents")
    if not documents:
        raise ValueError("the corpus is empty: give at least one document")
    for i, document in enumerate(documents):
        if not document.numel():
            raise ValueError(
                f"document {i} has no word that the vocabulary knows, so nothing would move its "
                "vector; leave it out, or lower min_count"
            )
        if document.dim() != 1 or document.is_floating_point():
            shape = tuple(document.shape)
            raise TypeError(f"document {i} should be word ids (L,), got {document.dtype} {shape}")
    return [document.long() for document in documents]


def examples(documents: list[Tensor], window: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """One example per word: its document, the words around it, and the word itself.

    documents: n tensors of word ids (L_i,). Returns doc (m,), context (m, 2 window) and word (m,),
    int64, m = sum_i L_i. Context holds the `window` words before in order, then those after; -1
    where the document has ended.
    Raises ValueError for an empty corpus, a document without words or a window below 1.
    """
    window, documents = whole(window, "window"), _checked(documents)
    doc = torch.repeat_interleave(torch.tensor([len(words) for words in documents]))  # (m,)
    runs = [F.pad(w, (window, window), value=-1).unfold(0, 2 * window + 1, 1) for w in documents]
    runs = torch.cat(runs)  # (m, 2 window + 1)
    context = torch.cat([runs[:, :window], runs[:, window + 1 :]], dim=1)
    return doc, context, runs[:, window].clone()


# --- the mathematics


def pvdbow_loss(d: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """Loss of PV-DBOW: the document's vector tells its own words from made-up ones.

    mean over the words of -log sigmoid(<d, y>) - sum_k log sigmoid(-<d, noise_k>), in nats.
    d (B, dim) is the vector of each word's document, y (B, dim) the word's output vector, noise
    (B, K, dim) those of its K negatives; returns a scalar. Right for scores of any size: where
    sigmoid(s) is rounded to 0, its logarithm is near s, not -inf. (Le & Mikolov 2014; A18)
    """
    positive = (d * y).sum(1)  # (B,)
    negative = torch.einsum("bd,bkd->bk", d, noise)
    return (F.softplus(-positive) + F.softplus(negative).sum(1)).mean()


def pvdm_hidden(d: Tensor, x: Tensor, present: Tensor) -> Tensor:
    """Hidden vector of PV-DM: the mean of the document's vector and those of the words around.

    h = (d + sum_j present_j x_j) / (1 + sum_j present_j), so h = d where no word is around. d is
    (B, dim), x (B, C, dim), present a boolean mask (B, C), False where there is no word; returns
    (B, dim), also for B = 1 or C = 1. (A18)
    """
    total = d + (x * present[:, :, None]).sum(1)  # (B, dim)
    return total / (1 + present.sum(1, keepdim=True))


def pvdm_concatenated(d: Tensor, x: Tensor, present: Tensor) -> Tensor:
    """Hidden vector of PV-DM, other form: document and context vectors side by side.

    h = [d; x_1; ...; x_C] with zeros where there is no word, whatever x holds there (NaN, too), so
    each place has numbers of its own. d is (B, dim), x (B, C, dim), present a boolean mask (B, C);
    returns (B, dim + C dim). (A18)
    """
    places = x.masked_fill(~present[:, :, None], 0.0).flatten(1)  # (B, C dim); NaN * 0 is NaN
    return torch.cat([d, places], dim=1)


def inference_step(d: Tensor, y: Tensor, noise: Tensor, lr: float) -> Tensor:
    """One step of gradient descent on the vector of a new document; the words stay frozen.

    d + lr (1/n) sum_i [sigmoid(-<d, y_i>) y_i - sum_k sigmoid(<d, noise_ik>) noise_ik]: descent
    on the mean loss of PV-DBOW over the document's n words. d is (dim,), y (n, dim), noise
    (n, K, dim), lr the step size; n and K may be 1, and the scores <d, y_i> of any size. Returns
    the new vector (dim,). (A19)
    """
    pull = torch.sigmoid(-y @ d)[:, None] * y  # (n, dim): less for words that fit already
    push = torch.sigmoid(noise @ d)[:, :, None] * noise  # (n, K, dim)
    return d + lr * (pull - push.sum(1)).mean(0)


def shifted_pmi(counts: Tensor, negatives: int = 5, power: float = 0.75) -> Tensor:
    """What PV-DBOW factorises: log of (word in document) over (k times word by chance).

    log(n_iw / (n_i P(w))) - log k with P(w) the noise distribution (counts^power); for power 1
    this is PMI(i, w) - log k. counts (n, V) holds how often word w stands in document i; returns
    (n, V) with -inf where the count is 0. (Levy & Goldberg 2014)
    """
    counts, negatives = matrix(counts, "counts"), number(negatives, "negatives", above=0)
    noise = noise_distribution(counts.sum(0), power).to(counts)  # (V,)
    chance = negatives * counts.sum(1, keepdim=True) * noise  # (n, V)
    return torch.where(counts > 0, counts / chance, 0.0).log()  # a document of no words: 0 / 0


def expected_loss(scores: Tensor, counts: Tensor, negatives: int = 5, power: float = 0.75):
    """The loss of PV-DBOW with every negative instead of a sample: nats per word, a scalar.

    1/m sum_iw [n_iw softplus(-s_iw) + k n_i P(w) softplus(s_iw)]; scores and counts are (n, V), m
    is the sum of the counts. Entry by entry it is least where s_iw = shifted_pmi.
    """
    counts = matrix(counts, "counts", finite=False)
    noise = noise_distribution(counts.sum(0), power).to(counts)
    chance = negatives * counts.sum(1, keepdim=True) * noise
    return (counts * F.softplus(-scores) + chance * F.softplus(scores)).sum() / counts.sum()


# --- the models


class PVDBOW(nn.Module):
    """PV-DBOW: the document's vector predicts each of its words; their order plays no part.

    Skip-gram with the document as the only context. documents: how many; counts (V,): how often
    each word occurs; batches are (doc, context, word) as `examples` makes them.

    shared: None, and every word draws `negatives` words of its own, as in the paper; or a number,
    and so many are drawn for each `GROUP` words of the batch together, which all count
    negatives / shared. The loss has the same expectation; fewer rows are fetched, and the scores
    are matrix products.
    """

    def __init__(
        self, documents: int, counts: Tensor, dim: int = 100, negatives: int = 5, power=0.75,
        shared: int | None = None,
    ):  # fmt: skip
        super().__init__()
        documents, dim = whole(documents, "documents"), whole(dim, "dim")
        self.negatives = whole(negatives, "negatives")
        self.shared = shared if shared is None else whole(shared, "shared")
        self.register_buffer("noise", noise_distribution(counts, power))  # (V,)
        self.documents = nn.Embedding(documents, dim)  # d
        self.output = nn.Embedding(len(counts), self.width(dim))  # y
        nn.init.uniform_(self.documents.weight, -0.5 / dim, 0.5 / dim)
        nn.init.zeros_(self.output.weight)

    def width(self, dim: int) -> int:
        return dim

    def hidden(self, doc: Tensor, context: Tensor) -> Tensor:
        return rows(self.documents.weight, doc)  # (B,) -> (B, dim)

    def made_up(self, count: int, each: int) -> Tensor:
        """Output vectors of drawn words, (count, each, width); PyTorch's global generator draws."""
        drawn = torch.multinomial(self.noise, count * each, replacement=True)
        return rows(self.output.weight, drawn.view(count, each))

    def loss(self, batch) -> Tensor:
        """Negative-sampling loss of a batch of examples, in nats per word."""
        doc, context, word = batch
        h, B = self.hidden(doc, context), len(word)  # (B, width)
        if self.shared is None:
            # A product value by value: as an einsum it would be a small matrix product for each.
            scores = (h[:, None] * self.made_up(B, self.negatives)).sum(2)  # (B, negatives)
            negative = F.softplus(scores).sum(1)  # (B,)
        else:
            groups = math.ceil(B / GROUP)
            filled = F.pad(h, (0, 0, 0, groups * GROUP - B)).view(groups, GROUP, -1)
            scores = filled @ self.made_up(groups, self.shared).mT  # (groups, GROUP, shared)
            negative = self.negatives * F.softplus(scores).mean(2).flatten()[:B]  # (B,)
        positive = (h * rows(self.output.weight, word)).sum(1)  # (B,)
        return (F.softplus(-positive) + negative).mean()

    @torch.no_grad()
    def nll(self, batch) -> Tensor:
        """-log P(word | document, context) of each example, (B,), in nats.

        At its optimum a score is log P(w | h) - log(k P_noise(w)), so P(w | h) is the softmax over
        all words of score + log P_noise(w).
        """
        doc, context, word = batch
        logits = self.hidden(doc, context) @ self.output.weight.T + self.noise.log()  # (B, V)
        return F.cross_entropy(logits, word, reduction="none")

    @property
    def vectors(self) -> Tensor:
        """The documents' vectors, (n, dim)."""
        return self.documents.weight.detach()

    def vector(self, i: int) -> Tensor:
        """The vector (dim,) of trained document i; IndexError for one that was never trained."""
        if not 0 <= i < len(self.vectors):
            raise IndexError(
                f"document {i} was never trained: there are 0 to {len(self.vectors) - 1}; "
                "infer(model, [words]) finds the vector of a new document"
            )
        return self.vectors[i]


class PVDM(PVDBOW):
    """PV-DM: the document's vector and the words around the gap predict the word in the gap.

    concatenate: each place of the window has its own numbers (`pvdm_concatenated`), as in the
    paper; else they are averaged (`pvdm_hidden`). document=False leaves the document's vector at
    zero: this is CBOW, the same model without documents.
    """

    def __init__(
        self, documents: int, counts: Tensor, dim: int = 100, negatives: int = 5, power=0.75,
        window: int = 5, concatenate: bool = False, document: bool = True,
        shared: int | None = None,
    ):  # fmt: skip
        self.window, self.concatenate = whole(window, "window"), concatenate
        super().__init__(documents, counts, dim, negatives, power, shared)
        self.input = nn.Embedding(len(counts), dim)  # x
        nn.init.uniform_(self.input.weight, -0.5 / dim, 0.5 / dim)
        if not document:
            nn.init.zeros_(self.documents.weight).requires_grad_(False)

    def width(self, dim: int) -> int:
        return dim * (1 + 2 * self.window) if self.concatenate else dim

    def hidden(self, doc: Tensor, context: Tensor) -> Tensor:
        """`pvdm_concatenated` or `pvdm_hidden`: a row of zeros stands for a word that is not there.

        (B,), (B, C) -> (B, width). The sum over the window comes from `embedding_bag`, which does
        not write down its C vectors.
        """
        d, context = rows(self.documents.weight, doc), context + 1
        table = F.pad(self.input.weight, (0, 0, 1, 0))  # (1 + V, dim)
        if self.concatenate:
            return torch.cat([d, rows(table, context).flatten(1)], dim=1)
        total = d + F.embedding_bag(context, table, mode="sum")  # (B, dim)
        return total / (1 + (context > 0).sum(1, keepdim=True))


# --- documents that were never trained


def infer(
    model: PVDBOW, documents: list[Tensor], steps: int = 50, lr: float = 0.1, seed: int = 0
) -> Tensor:
    """Vectors (n, dim) of new documents: train them, and them alone, with all words frozen.

    documents: n tensors of word ids (L_i,). Each starts at zero and takes `steps` steps of Adam on
    the model's own loss over all its words, so that the same seed gives the same vectors. The
    model is not changed, nor is the state of the random numbers, and the vectors are on the
    model's device. Raises ValueError for a document without a known word. (A19)
    """
    documents, device = _checked(documents), model.noise.device
    fresh = copy.deepcopy(model).requires_grad_(False)
    found = []
    for start in range(0, len(documents), 128):  # 128 at a time: memory stays small
        part = documents[start : start + 128]
        batch = [t.to(device) for t in examples(part, getattr(model, "window", 1))]
        zeros = torch.zeros(len(part), model.documents.embedding_dim, device=device)
        fresh.documents = nn.Embedding.from_pretrained(zeros, freeze=False)  # draws no numbers
        fit(fresh, lambda step, b=batch: tuple(b), steps, lr=lr, seed=seed, progress=False)
        found.append(fresh.vectors.to(device))  # fit may have moved them to a card
    return torch.cat(found)
