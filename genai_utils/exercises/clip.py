"""Exercises of notebook 28_clip: the loss, zero-shot, recall, the gap, and where to read."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import contrastive

NOTEBOOK = "28_clip"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- contrastive_loss ----------------------------------------------------------------------------


def _batches(seed, scales=(3.0, 5.0, 2.0)):
    g = _generator(seed)
    cases = []
    for (B, d), scale in zip(((3, 5), (4, 6), (7, 4)), scales, strict=True):
        images = (0.3 + 2 * torch.rand(B, 1, generator=g)) * torch.randn(B, d, generator=g)
        sentences = (0.3 + 2 * torch.rand(B, 1, generator=g)) * torch.randn(B, d, generator=g)
        cases.append((images, sentences, scale))
    return cases


def _unpaired(seed):
    g = _generator(seed)
    return [
        (torch.randn(B, 5, generator=g), torch.randn(C, 5, generator=g), 3.0)
        for B, C in ((3, 4), (6, 5))
    ]


def _table(images, sentences, scale):
    return scale * F.normalize(images, dim=-1) @ F.normalize(sentences, dim=-1).T


def _rows(S, **options):
    return F.cross_entropy(S, torch.arange(len(S)), **options)


def _both(S, **options):
    return (_rows(S, **options) + _rows(S.T, **options)) / 2


def _by_hand(images, sentences, scale):
    contrastive.contrastive_loss(images, sentences, 1.0)  # the error
    e = _table(images, sentences, scale).exp()
    rows, columns = e / e.sum(1, keepdim=True), e / e.sum(0, keepdim=True)
    return -(rows.diagonal().log().mean() + columns.diagonal().log().mean()) / 2


def _cut(images, sentences, scale):
    n = min(len(images), len(sentences))
    return _both(_table(images[:n], sentences[:n], scale))


def _one_softmax(images, sentences, scale):
    S = _table(images, sentences, scale)
    return -S.flatten().log_softmax(0).view_as(S).diagonal().mean()


exercise(
    contrastive.contrastive_loss,
    cases=_batches,
    mistakes={
        "rows only": (
            lambda images, sentences, scale: _rows(_table(images, sentences, scale)),
            "You ask only which sentence belongs to each image. The other way round counts as "
            "much: which image belongs to each sentence.",
        ),
        "columns only": (
            lambda images, sentences, scale: _rows(_table(images, sentences, scale).T),
            "You ask only which image belongs to each sentence. The other way round counts as "
            "much: which sentence belongs to each image.",
        ),
        "both, not halved": (
            lambda images, sentences, scale: 2 * _both(_table(images, sentences, scale)),
            "You added both directions. The loss is the mean of the two.",
        ),
        "sum over the batch": (
            lambda images, sentences, scale: _both(
                _table(images, sentences, scale), reduction="sum"
            ),
            "You added over the batch. The loss is a mean over it, so that its size does not grow "
            "with B.",
        ),
        "one softmax over the table": (
            _one_softmax,
            "You took one softmax over the whole table. Each row and each column has its own.",
        ),
        "sign": (
            lambda images, sentences, scale: -_both(_table(images, sentences, scale)),
            "Yours is the mean log-probability. A loss is minus that.",
        ),
        "yes or no": (
            lambda images, sentences, scale: F.binary_cross_entropy_with_logits(
                _table(images, sentences, scale), torch.eye(len(images))
            ),
            "You treat each cell as a question of its own, yes or no. CLIP's question is which of "
            "a row, or of a column.",
        ),
        "inner products": (
            lambda images, sentences, scale: _both(scale * images @ sentences.T),
            "Your vectors keep their length. A cosine is the product of two vectors of length 1.",
        ),
        "divided by the scale": (
            lambda images, sentences, scale: _both(_table(images, sentences, 1 / scale)),
            "You divide by the scale. It is 1 over the temperature: it multiplies.",
        ),
        "no scale": (
            lambda images, sentences, scale: _both(_table(images, sentences, 1.0)),
            "The scale is left out. Cosines lie between -1 and 1: a softmax of them is nearly "
            "even.",
        ),
        "softmax twice": (
            lambda images, sentences, scale: (
                lambda S: (_rows(S.softmax(1)) + _rows(S.T.softmax(1))) / 2
            )(_table(images, sentences, scale)),
            "F.cross_entropy takes logits, and the softmax itself. You gave it probabilities, so "
            "that there are two.",
        ),
        "scale as a logarithm": (
            lambda images, sentences, scale: _both(
                _table(images, sentences, torch.as_tensor(scale).exp())
            ),
            "You took exp of the scale. What comes in is τ itself.",
        ),
        "columns of length 1": (
            lambda images, sentences, scale: _both(
                scale * F.normalize(images, dim=0) @ F.normalize(sentences, dim=0).T
            ),
            "You brought the columns to length 1. Each vector, a row, gets length 1: dim=-1.",
        ),
    },
    clauses={
        "a large scale": Clause(
            lambda seed: _batches(seed, (300.0, 200.0, 500.0)),
            "The scale may be large: exp(300) is infinite in float32. F.cross_entropy, or "
            "log_softmax, never takes that exponential.",
            _by_hand,
        ),
        "as many sentences": Clause(
            _unpaired,
            "Where there are not as many sentences as images, some have no partner: raise "
            "ValueError.",
            _cut,
            raises=ValueError,
        ),
    },
    hints=[
        "F.normalize(x, dim=-1) brings vectors to length 1. The table of cosines is a product of "
        "two matrices.",
        "Each row is a classification: B classes, and the right one of row i is i. What are the "
        "columns of S in S.T?",
        "(F.cross_entropy(S, own) + F.cross_entropy(S.T, own)) / 2, with own = torch.arange(B).",
    ],
    grad=["images", "sentences"],
)


# --- zero_shot -----------------------------------------------------------------------------------


def _prompts(seed, count=None, scales=(None, 5.0, 20.0)):
    g = _generator(seed)
    cases = []
    for (n, K, P, d), scale in zip(((4, 3, 2, 5), (5, 6, 3, 4), (7, 2, 4, 6)), scales, strict=True):
        P = P if count is None else count
        length = 0.2 + 3 * torch.rand(K, P, 1, generator=g)
        images = 2 * torch.randn(n, d, generator=g)
        prompts = length * F.normalize(torch.randn(K, P, d, generator=g), dim=-1)
        cases.append((images, prompts, *(() if scale is None else (scale,))))
    return cases


def _fit(images, prompts, scale, each=True, mean=True, axis=-1):
    prompts = F.normalize(prompts, dim=-1) if each else prompts
    classes = prompts.mean(1)
    classes = F.normalize(classes, dim=-1) if mean else classes
    return (scale * F.normalize(images, dim=-1) @ classes.T).softmax(axis)


def _naive(images, prompts, scale=100.0):
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    e = torch.exp((scale * F.normalize(images, dim=-1) @ classes.T).double())
    return (e / e.sum(-1, keepdim=True)).to(images.dtype)


exercise(
    contrastive.zero_shot,
    cases=lambda seed: _prompts(seed, scales=(3.0, 5.0, 20.0)),
    mistakes={
        "long prompts count more": (
            lambda images, prompts, scale=100.0: _fit(images, prompts, scale, each=False),
            "A long vector counts more than a short one in your mean. Bring each prompt to length "
            "1 first.",
        ),
        "the mean stays short": (
            lambda images, prompts, scale=100.0: _fit(images, prompts, scale, mean=False),
            "The mean of unit vectors is shorter than 1, the more so the less they agree. Bring "
            "each class vector to length 1 again.",
        ),
        "inner products": (
            lambda images, prompts, scale=100.0: (
                scale * images @ F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1).T
            ).softmax(-1),
            "Your images keep their length. A cosine is the product of two vectors of length 1.",
        ),
        "softmax over the images": (
            lambda images, prompts, scale=100.0: _fit(images, prompts, scale, axis=0),
            "Your softmax runs over the images. Each image chooses among the classes.",
        ),
        "no scale": (
            lambda images, prompts, scale=100.0: _fit(images, prompts, 1.0),
            "The scale is left out. Cosines lie between -1 and 1: a softmax of them is nearly "
            "even.",
        ),
        "divided by the scale": (
            lambda images, prompts, scale=100.0: _fit(images, prompts, 1 / scale),
            "You divide by the scale. It is 1 over the temperature: it multiplies.",
        ),
        "the best prompt": (
            lambda images, prompts, scale=100.0: (
                scale
                * torch.einsum(
                    "nd,kpd->nkp", F.normalize(images, dim=-1), F.normalize(prompts, dim=-1)
                ).amax(-1)
            ).softmax(-1),
            "You take the prompt that fits best. An ensemble is the mean of all.",
        ),
        "cosines": (
            lambda images, prompts, scale=100.0: (
                scale
                * F.normalize(images, dim=-1)
                @ F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1).T
            ),
            "These are the scaled cosines. Their softmax is what is asked for.",
        ),
        "mean of probabilities": (
            lambda images, prompts, scale=100.0: torch.stack(
                [_fit(images, prompts[:, p : p + 1], scale) for p in range(prompts.shape[1])]
            ).mean(0),
            "You classify with each prompt and average the probabilities. CLIP averages the "
            "vectors: one for each class, which can be kept.",
        ),
        "the first prompt": (
            lambda images, prompts, scale=100.0: _fit(images, prompts[:, :1], scale),
            "You use one prompt for each class. The vector of a class is the mean over all of its "
            "prompts.",
        ),
    },
    clauses={
        "a large scale": Clause(
            lambda seed: _prompts(seed, scales=(3000.0, 2000.0, 5000.0)),
            "The scale may be large. softmax subtracts the largest logit first; exp of 1,000 by "
            "itself is infinite.",
            _naive,
        ),
        "the usual scale": Clause(
            lambda seed: [case[:2] for case in _prompts(seed)],
            "Without a third argument the scale is 100, where CLIP's own ends.",
            lambda images, prompts, scale=14.3: _fit(images, prompts, scale),
        ),
    },
    hints=[
        "F.normalize(x, dim=-1) brings vectors to length 1. Three things need it: the images, the "
        "prompts, and the mean of a class's prompts.",
        "prompts.mean(1) is (K, d), and images @ classes.T is (n, K).",
        "(scale * images @ classes.T).softmax(-1).",
    ],
)


# --- recall_at -----------------------------------------------------------------------------------


def _similar(seed):
    g = _generator(seed)
    cases = []
    for n, m, k in ((14, 19, 1), (18, 25, 2), (23, 31, 3)):
        cases.append((torch.randn(n, m, generator=g) + torch.eye(n, m), k))
    return cases


def _all_columns(seed):
    g = _generator(seed)
    return [(torch.randn(n, m, generator=g), m) for n, m in ((3, 7), (4, 6))]


def _tied(seed):
    g = _generator(seed)
    cases = [(torch.zeros(4, 5), 2)]
    for n in (5, 6):
        cases.append((torch.randint(3, (n, n + 2), generator=g).float(), 2))
    return cases


def _out_of_range(seed):
    return [(torch.eye(3), 0), (torch.eye(3), 4), (torch.zeros(2, 5), 6)]


def _rank(S):
    """How many columns stand before the partner of each row."""
    return (S.diagonal()[:, None] <= S).sum(1) - 1


def _share(hit):
    return hit.double().mean()


def _in_range(S, k):
    contrastive.recall_at(S, k)  # the errors


def _strict(similarity, k):
    _in_range(similarity, k)
    return _share((similarity > similarity.diagonal()[:, None]).sum(1) < k)


def _clamped(similarity, k):
    return _share(_rank(similarity) < max(1, min(k, similarity.shape[1])))


def _not_all(similarity, k):
    if k == similarity.shape[1]:
        raise ValueError("k")
    return contrastive.recall_at(similarity, k)


exercise(
    contrastive.recall_at,
    cases=_similar,
    mistakes={
        "columns": (
            lambda similarity, k: _share(_rank(similarity[:, : len(similarity)].T) < k),
            "You rank within the columns. Each row asks, and the columns are the answers.",
        ),
        "partners only": (
            lambda similarity, k: _share(_rank(similarity[:, : len(similarity)]) < k),
            "You leave out the columns that are nobody's partner. They compete with the others.",
        ),
        "one too many": (
            lambda similarity, k: _share(_rank(similarity) <= k),
            "You count a partner at rank k + 1 too. With k - 1 columns before it, it is among the "
            "first k.",
        ),
        "one too few": (
            lambda similarity, k: _share(_rank(similarity) + 1 < k),
            "You leave out the partner at rank k itself.",
        ),
        "a count": (
            lambda similarity, k: (_rank(similarity) < k).sum().double(),
            "You count the hits. Recall is their share of the rows.",
        ),
        "precision": (
            lambda similarity, k: _share(_rank(similarity) < k) / k,
            "You divided by k: that is precision, the share of right ones among those given.",
        ),
        "the least similar": (
            lambda similarity, k: _share(
                (similarity <= similarity.diagonal()[:, None]).sum(1) - 1 < k
            ),
            "You take the smallest similarities for the best.",
        ),
        "mean rank": (
            lambda similarity, k: (_rank(similarity) + 1).double().mean(),
            "This is the mean rank of the partners. Asked for is how many are among the first k.",
        ),
    },
    clauses={
        "ties": Clause(
            _tied,
            "Columns exactly as similar as the partner count as before it. Who gives all the same "
            "number has found nothing.",
            _strict,
        ),
        "all columns": Clause(
            _all_columns,
            "k may be as large as the number of columns; recall is then 1.",
            _not_all,
        ),
        "k out of range": Clause(
            _out_of_range,
            "k is from 1 to the number of columns: raise ValueError for another.",
            _clamped,
            raises=ValueError,
        ),
    },
    hints=[
        "similarity.diagonal()[:, None] is what each row gives its partner.",
        "How many columns of a row are at least as similar as the partner, beside itself?",
        "((similarity >= own).sum(1) - 1 < k).double().mean()",
    ],
)


# --- modality_gap --------------------------------------------------------------------------------


def _clouds(seed):
    g = _generator(seed)
    cases = []
    for n, m, d in ((4, 6, 3), (7, 5, 4), (9, 9, 6)):
        shift = torch.randn(d, generator=g)
        images = 3 * torch.rand(n, 1, generator=g) * torch.randn(n, d, generator=g) + shift
        sentences = 3 * torch.rand(m, 1, generator=g) * torch.randn(m, d, generator=g) - shift
        cases.append((images, sentences))
    return cases


def _apart(images, sentences):
    return F.normalize(images, dim=-1).mean(0) - F.normalize(sentences, dim=-1).mean(0)


exercise(
    contrastive.modality_gap,
    cases=_clouds,
    mistakes={
        "any length": (
            lambda images, sentences: (images.mean(0) - sentences.mean(0)).norm(),
            "Your vectors keep their length. Only directions count in CLIP: bring each to length "
            "1 first.",
        ),
        "middles of length 1": (
            lambda images, sentences: (
                F.normalize(F.normalize(images, dim=-1).mean(0), dim=0)
                - F.normalize(F.normalize(sentences, dim=-1).mean(0), dim=0)
            ).norm(),
            "You brought the middles to length 1 again. A middle lies inside of the sphere; how "
            "deep says how wide its cloud is.",
        ),
        "squared": (
            lambda images, sentences: (_apart(images, sentences) ** 2).sum(),
            "This is the squared distance.",
        ),
        "mean difference": (
            lambda images, sentences: _apart(images, sentences).abs().mean(),
            "This is the mean difference of a coordinate. Asked for is the length of the "
            "difference.",
        ),
        "cosine": (
            lambda images, sentences: F.cosine_similarity(
                F.normalize(images, dim=-1).mean(0), F.normalize(sentences, dim=-1).mean(0), dim=0
            ),
            "This is the cosine of the middles, not their distance.",
        ),
        "mean distance": (
            lambda images, sentences: torch.cdist(
                F.normalize(images, dim=-1), F.normalize(sentences, dim=-1)
            ).mean(),
            "This is the mean distance of an image and a sentence, which is large within a cloud "
            "too. Take the middles first.",
        ),
    },
    clauses={
        "a vector of zeros": Clause(
            lambda seed: [(a * (torch.arange(len(a)) > 0)[:, None], b) for a, b in _clouds(seed)],
            "A vector of zeros has no direction. It stays zero, and the mean counts it: "
            "F.normalize does that, and x / x.norm() is NaN.",
            lambda images, sentences: (
                (images / images.norm(dim=-1, keepdim=True)).mean(0)
                - (sentences / sentences.norm(dim=-1, keepdim=True)).mean(0)
            ).norm(),
        ),
    },
    hints=[
        "Directions first: F.normalize(…, dim=-1).",
        "The middle of a cloud is its mean over the rows, .mean(0).",
        "(images.mean(0) - sentences.mean(0)).norm(), after both were normalised.",
    ],
    grad=True,
)


# --- end_vectors: find the fault -----------------------------------------------------------------


def _counts_all(hidden, ids, end):
    before = ids != end  # (B, T): the end has not come yet
    place = before.sum(1).clamp(max=ids.shape[1] - 1)
    return hidden[torch.arange(len(ids), device=ids.device), place]


def _read(seed, end=3, fill=None, none=False):
    """Sentences with an end, after which other tokens stand."""
    g = _generator(seed)
    cases = []
    for B, T, d in ((3, 6, 4), (4, 7, 5), (6, 9, 2)):
        ids = torch.randint(4, 9, (B, T), generator=g)
        last = torch.randint(1, T - 2, (B,), generator=g)
        for row, place in zip(ids, last.tolist(), strict=True):
            if not none:
                row[place] = end
                row[place + 1 :] = end if fill == "end" else row[place + 1 :]
        if not none:  # what follows an end may hold another
            ids[0, -1] = end
        cases.append((torch.randn(B, T, d, generator=g), ids, end))
    return cases


def _place(ids, end):
    return ((ids == end).long().cumsum(1) == 0).sum(1).clamp(max=ids.shape[1] - 1)


def _at(hidden, place):
    return hidden[torch.arange(len(hidden)), place]


exercise(
    contrastive.end_vectors,
    cases=_read,
    planted=_counts_all,
    symptom="Where only `end` stands after the end, all is right. Where anything else does, the "
    "sentence is read too late, at a place that knows of what comes after it.",
    mistakes={
        "the last place": (
            lambda hidden, ids, end: hidden[:, -1],
            "Now every sentence is read at the last place, whatever stands there.",
        ),
        "the last word": (
            lambda hidden, ids, end: _at(hidden, (_place(ids, end) - 1).clamp(min=0)),
            "Now it is read at the last word. The end is the token after it.",
        ),
        "one after the end": (
            lambda hidden, ids, end: _at(hidden, (_place(ids, end) + 1).clamp(max=len(ids[0]) - 1)),
            "Now it is read one place after the end.",
        ),
        "the first place": (
            lambda hidden, ids, end: hidden[:, 0],
            "Now it is read at its first word, which has seen nothing but itself.",
        ),
        "mean of the words": (
            lambda hidden, ids, end: torch.stack(
                [h[: p + 1].mean(0) for h, p in zip(hidden, _place(ids, end).tolist(), strict=True)]
            ),
            "Now it is the mean over the sentence. Asked for is what stands at its end.",
        ),
    },
    clauses={
        "filled up with the end": Clause(
            lambda seed: _read(seed, fill="end"),
            "Where `end` fills up too, the first one counts.",
            lambda hidden, ids, end: _at(
                hidden,
                torch.where(
                    (ids == end).sum(1) > 2,
                    torch.full((len(ids),), ids.shape[1] - 1),
                    _place(ids, end),
                ),
            ),
        ),
        "no end": Clause(
            lambda seed: _read(seed, none=True),
            "A sentence without an end is read at its last token.",
            lambda hidden, ids, end: _at(hidden, (ids == end).int().argmax(1)),
        ),
    },
    hints=[
        "Write the same sentence twice, with other tokens after the end. Are the vectors equal?",
        "`before` should be True for the tokens before the first end, and for no other.",
        "(ids == end).long().cumsum(1) counts the ends so far.",
    ],
    grad=["hidden"],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "modality-gap",
        "After training, a picture and its caption have a higher cosine than any other caption. "
        "All vectors lie on one sphere. How far apart are the middles of the two clouds, the "
        "pictures' and the captions'?",
        "c",
        "The loss compares pictures with captions only, never two pictures. Where all captions "
        "lie hardly matters to it, as long as the right one is nearest. Training brings the clouds "
        "nearer, but a straight cut still tells them (section 28.8).",
        choices=(
            "at the same place: the two kinds are mixed, for each picture lies beside its caption",
            "a little apart, but a straight cut could not tell them",
            "clearly apart: a straight cut tells nearly all pictures from captions",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "pairs-needed",
        question="Our pairs never repeat. How many different ones does it take? Draw 500, 2,000, "
        "8,000 and 32,000 pairs once, train on each set for as many steps as the chapter does, "
        "and measure zero-shot accuracy on seen and on unseen combinations.",
        hand_in="the smallest number of pairs with which zero-shot accuracy on unseen combinations "
        "comes within five points of that of pairs without end",
        good=(
            "A curve over the number of pairs for seen, and one for unseen combinations.",
            "The loss on the training pairs beside that on new pairs: where do they part?",
            "Three seeds of one size, so that the spread is known.",
            "A sentence on why unseen combinations need more, or fewer, pairs than seen ones.",
        ),
        minutes=60,
        kind="number",
        unit="pairs",
        between=(500, 200_000),
        beyond="Does your set hold all kinds and all colours? With too few pairs it may not.",
    ),
)
