"""Exercises of notebook 16_rag: scores by words, recall, a contrastive loss, fusion, intervals."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import bi_encoder, retrieval
from genai_utils.structure import lsa

NOTEBOOK = "16_rag"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- bm25_scores ---------------------------------------------------------------------------------


def _counted(*sizes):
    """Counts of words, a question of different words, k1 and b."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for n, V, q, k1, b in sizes:
            counts = torch.randint(0, 4, (n, V), generator=g).double()
            counts[:, 0] += 1 + torch.arange(n)  # no passage is empty, and no two are of one length
            counts[0] *= 2
            cases.append((counts, torch.randperm(V, generator=g)[:q], k1, b))
        return cases

    return of


_COUNTED = _counted((5, 6, 3, 1.2, 0.6), (7, 9, 4, 2.0, 0.3), (6, 5, 2, 0.9, 0.9))


def _with_unknown_words(seed):
    return [
        (counts, torch.cat([query, torch.tensor([-1, -1])]), k1, b)
        for counts, query, k1, b in _COUNTED(seed)
    ]


def _with_a_word_twice(seed):
    return [(c, torch.cat([query, query[:1]]), k1, b) for c, query, k1, b in _COUNTED(seed)]


def _with_an_empty_passage(seed):
    cases = []
    for counts, query, k1, _ in _COUNTED(seed):
        empty = torch.cat([counts, 0 * counts[:1]])
        cases += [(empty, query, k1, 1.0), (empty, query, 0.0, 0.5)]
    return cases


def _without_options(seed):
    return [(counts, query) for counts, query, *_ in _COUNTED(seed)]


def _bm25(counts, query, k1=1.5, b=0.75, df=None, idf=None, length=None, gain=None):
    n = len(counts)
    df = (counts > 0).sum(0).double() if df is None else df
    idf = torch.log(1 + (n - df + 0.5) / (df + 0.5)) if idf is None else idf
    total = counts.sum(1, keepdim=True)
    length = total / total.mean() if length is None else length
    crowd = k1 * (1 - b + b * length)
    gain = k1 + 1 if gain is None else gain
    worth = idf * gain * counts / (counts + crowd).clamp(min=1e-30)
    return worth[:, query[query >= 0]].sum(1)


def _log_odds(counts):
    df = (counts > 0).sum(0).double()
    return torch.log((len(counts) - df + 0.5) / (df + 0.5))


def _plain_idf(counts):
    return (len(counts) / (counts > 0).sum(0).double().clamp(min=1)).log()


def _unclamped(counts, query, k1=1.5, b=0.75):
    df = (counts > 0).sum(0).double()
    idf = torch.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
    length = counts.sum(1, keepdim=True)
    crowd = k1 * (1 - b + b * length / length.mean())
    return (idf * (k1 + 1) * counts / (counts + crowd))[:, query[query >= 0]].sum(1)


def _last_word_for_unknown(counts, query, k1=1.5, b=0.75):
    return _bm25(counts, query % counts.shape[1], k1, b)


exercise(
    retrieval.bm25_scores,
    cases=_COUNTED,
    mistakes={
        "occurrences counted": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(counts, query, k1, b, df=counts.sum(0)),
            "Your df counts how often a word occurs. It is the number of passages that have the "
            "word: (counts > 0).sum(0).",
        ),
        "without the one": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts, query, k1, b, idf=_log_odds(counts)
            ),
            "You left out the 1 + in the logarithm. A word of more than half of the passages would "
            "count against a passage that has it.",
        ),
        "plain idf": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts, query, k1, b, idf=_plain_idf(counts)
            ),
            "Your idf is ln(n / df). BM25 compares the passages without the word with those that "
            "have it: ln(1 + (n - df + ½) / (df + ½)).",
        ),
        "idf of chapter 4": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts, query, k1, b, idf=lsa.idf((counts > 0).sum(0).double(), len(counts))
            ),
            "This is chapter 4's idf, ln((1 + n) / (1 + df)) + 1. BM25 has one of its own: "
            "ln(1 + (n - df + ½) / (df + ½)).",
        ),
        "different words": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts,
                query,
                k1,
                b,
                length=(counts > 0).sum(1, keepdim=True) / (counts > 0).sum(1).double().mean(),
            ),
            "Your length counts different words. A word that stands in a passage three times makes "
            "it longer by three: counts.sum(1).",
        ),
        "length not divided": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts, query, k1, b, length=counts.sum(1, keepdim=True)
            ),
            "Your length is the number of words. Divide it by its mean over all passages.",
        ),
        "length ignored": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(counts, query, k1, 0.0),
            "Your score does not depend on the length of a passage: the share b of k1 does.",
        ),
        "not saturated": (
            lambda counts, query, k1=1.5, b=0.75: (counts * torch.log1p(_log_odds(counts).exp()))[
                :, query
            ].sum(1),
            "You multiplied the counts by idf. The tenth occurrence should be worth less than the "
            "first: the count stands below the line too.",
        ),
        "without k1 + 1": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(counts, query, k1, b, gain=1.0),
            "The factor k1 + 1 is missing above the line.",
        ),
        "all words": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(
                counts, torch.arange(counts.shape[1]), k1, b
            ),
            "You added up over all words. Only the words of the question count.",
        ),
        "without idf": (
            lambda counts, query, k1=1.5, b=0.75: _bm25(counts, query, k1, b, idf=1.0),
            "Every word counts the same here. A rare word should count more: multiply by its idf.",
        ),
    },
    clauses={
        "unknown words": Clause(
            _with_unknown_words,
            "-1 stands for a word that no passage has, and adds nothing. As an index it would mean "
            "the last word.",
            _last_word_for_unknown,
        ),
        "a word twice": Clause(
            _with_a_word_twice,
            "A word that is asked twice counts twice.",
            lambda counts, query, k1=1.5, b=0.75: _bm25(counts, query.unique(), k1, b),
        ),
        "empty passage": Clause(
            _with_an_empty_passage,
            "A passage without a word has the score 0, also where k1 = 0 or b = 1: there the "
            "formula gives 0 / 0.",
            _unclamped,
        ),
        "defaults": Clause(
            _without_options,
            "Called without them, k1 is 1.5 and b is 0.75: keep the defaults of the signature.",
            lambda counts, query, k1=1.2, b=0.75: _bm25(counts, query, k1, b),
        ),
    },
    hints=[
        "(counts > 0).sum(0) is df, (V,). counts.sum(1, keepdim=True) are the lengths, (n, 1).",
        "Compute what every word is worth in every passage, (n, V), then take the columns of the "
        "question: worth[:, query[query >= 0]].sum(1).",
        "(counts + crowd).clamp(min=1e-30) makes 0 / 0 a 0.",
    ],
)


# --- recall_at_k ---------------------------------------------------------------------------------


def _ranked(*sizes):
    """Rankings (Q, m) of different passages, relevant ones (Q, r), and k below m."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for Q, n, m, r, k in sizes:
            ranked = torch.rand(Q, n, generator=g).argsort(1)[:, :m]
            relevant = torch.rand(Q, n, generator=g).argsort(1)[:, :r]
            relevant[0, 0] = ranked[0, k - 1]  # the last place that counts, and the first that
            relevant[1, 0] = ranked[1, k]  # does not
            relevant[:2, 1:] = n + torch.arange(r - 1)
            relevant[2, :2] = ranked[2, :2]
            relevant[2, 2:] = n + torch.arange(r - 2)
            cases.append((ranked, relevant, k))
        return cases

    return of


_RANKED = _ranked((5, 12, 8, 3, 4), (9, 11, 6, 2, 3), (7, 20, 10, 4, 5))


def _fewer_relevant(seed):
    cases = []
    for ranked, relevant, k in _RANKED(seed):
        relevant = torch.cat([relevant, torch.full_like(relevant[:, :2], -1)], 1)
        cases.append((ranked, relevant, k))
    return cases


def _fewer_found(seed):
    cases = []
    for ranked, relevant, k in _RANKED(seed):
        ranked, relevant = ranked.clone(), relevant.clone()
        ranked[3:, 1:] = -1  # one place; what is relevant there is not found
        relevant[3:] = 100 + torch.arange(relevant.shape[1])
        relevant[3:, 1:] = -1
        cases.append((ranked, relevant, k))
    return cases


def _ranked_twice(seed):
    return [
        (ranked.repeat_interleave(2, 1), relevant, 2 * k) for ranked, relevant, k in _RANKED(seed)
    ]


def _none_relevant(seed):
    cases = []
    for ranked, relevant, k in _RANKED(seed):
        relevant = relevant.clone()
        relevant[-1] = -1
        cases.append((ranked, relevant, k))
    return cases


def _large_k(seed):
    return [(ranked, relevant, ranked.shape[1] + 3) for ranked, relevant, _ in _RANKED(seed)]


def _hits(ranked, relevant, k):
    """(Q, k, r): whether this place has this passage."""
    return (ranked[:, :k, None] == relevant[:, None, :]) & (relevant >= 0)[:, None]


def _count(relevant):
    return (relevant >= 0).sum(1).clamp(min=1)


def _recall(ranked, relevant, k):
    return _hits(ranked, relevant, k).any(1).sum(1) / _count(relevant)


def _reciprocal(ranked, relevant, k):
    hit = _hits(ranked, relevant, k).any(2).float()  # (Q, k)
    return (hit / torch.arange(1, hit.shape[1] + 1)).amax(1)


exercise(
    retrieval.recall_at_k,
    cases=_RANKED,
    mistakes={
        "precision": (
            lambda ranked, relevant, k: _hits(ranked, relevant, k).any(1).sum(1) / k,
            "You divided by k: that is the precision. The recall divides by the number of relevant "
            "passages.",
        ),
        "found any": (
            lambda ranked, relevant, k: _hits(ranked, relevant, k).any(2).any(1).float(),
            "You return 1 as soon as one relevant passage is found. The share of all of them is "
            "asked.",
        ),
        "the whole ranking": (
            lambda ranked, relevant, k: _recall(ranked, relevant, ranked.shape[1]),
            "You look at the whole ranking: only its first k places count.",
        ),
        "one place too many": (
            lambda ranked, relevant, k: _recall(ranked, relevant, k + 1),
            "You look at k + 1 places: the first k are ranked[:, :k].",
        ),
        "one place too few": (
            lambda ranked, relevant, k: _recall(ranked, relevant, k - 1),
            "You look at k - 1 places: the first k are ranked[:, :k].",
        ),
        "mean over the questions": (
            lambda ranked, relevant, k: _recall(ranked, relevant, k).mean(),
            "You averaged over the questions. One number for each is asked: the spread over "
            "questions is needed later.",
        ),
        "number found": (
            lambda ranked, relevant, k: _hits(ranked, relevant, k).any(1).sum(1).float(),
            "You counted what was found. Divide by the number of relevant passages.",
        ),
        "reciprocal place": (
            _reciprocal,
            "You return one over the place of the first relevant passage. The recall does not ask "
            "at which of the k places it stands.",
        ),
    },
    clauses={
        "fewer relevant": Clause(
            _fewer_relevant,
            "A question may have fewer than r relevant passages, and -1 in the other places: "
            "divide by its own number.",
            lambda ranked, relevant, k: (
                _hits(ranked, relevant, k).any(1).sum(1) / relevant.shape[1]
            ),
        ),
        "fewer found": Clause(
            _fewer_found,
            "-1 in a ranking means that nothing more was found. It is not the passage that the -1 "
            "of `relevant` stands for.",
            lambda ranked, relevant, k: (
                (ranked[:, :k, None] == relevant[:, None, :]).any(1).sum(1) / _count(relevant)
            ),
        ),
        "ranked twice": Clause(
            _ranked_twice,
            "A passage that stands in a ranking twice is found once.",
            lambda ranked, relevant, k: _hits(ranked, relevant, k).sum((1, 2)) / _count(relevant),
        ),
        "none relevant": Clause(
            _none_relevant,
            "A question without a relevant passage gets 0, not 0 / 0.",
            lambda ranked, relevant, k: (
                _hits(ranked, relevant, k).any(1).sum(1) / (relevant >= 0).sum(1)
            ),
        ),
        "k above m": Clause(
            _large_k,
            "k may be larger than the number of places: then all of them count. A slice does so by "
            "itself, a list of k places does not.",
            lambda ranked, relevant, k: _recall(ranked[:, torch.arange(k)], relevant, k),
        ),
    },
    hints=[
        "ranked[:, :k, None] == relevant[:, None, :] has the shape (Q, k, r): is this place that "
        "passage?",
        ".any(1) says for each relevant passage whether it is at one of the places, (Q, r).",
        "real = relevant >= 0 keeps out the -1; divide by real.sum(1).clamp(min=1).",
    ],
)


# --- in_batch_loss -------------------------------------------------------------------------------


def _pairs(*sizes):
    def of(seed):
        g = _generator(seed)
        cases = []
        for B, d, temperature in sizes:
            x, y = torch.randn(2, B, d, generator=g, dtype=torch.float64)
            y = y + x  # a pair is more alike than chance
            cases.append((x * (0.5 + torch.rand(B, 1, generator=g)), 2 * y, temperature))
        return cases

    return of


_PAIRS = _pairs((4, 3, 0.5), (6, 5, 0.2), (5, 4, 1.5))


def _cold(seed):
    return [(x, y, 1e-3) for x, y, _ in _PAIRS(seed)]


def _single(seed):
    return [(x[:1], y[:1], t) for x, y, t in _PAIRS(seed)]


def _cosines(queries, passages):
    return F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T


def _choose(scores, reduction="mean"):
    return F.cross_entropy(scores, torch.arange(len(scores)), reduction=reduction)


def _in_exponentials(queries, passages, temperature=0.05):
    e = (_cosines(queries, passages) / temperature).exp()
    return -(e.diagonal() / e.sum(1)).log().mean()


def _others_only(queries, passages, temperature=0.05):
    s = _cosines(queries, passages) / temperature
    others = s.masked_fill(torch.eye(len(s), dtype=torch.bool), -torch.inf)
    return (others.logsumexp(1) - s.diagonal()).mean()


def _single_is_a_distance(queries, passages, temperature=0.05):
    s = _cosines(queries, passages)
    return _choose(s / temperature) if len(s) > 1 else (1 - s).mean()


exercise(
    bi_encoder.in_batch_loss,
    cases=_PAIRS,
    mistakes={
        "inner products": (
            lambda queries, passages, temperature=0.05: _choose(queries @ passages.T / temperature),
            "You compare by inner products: a long vector would win only because it is long. "
            "Divide each by its length first.",
        ),
        "temperature above": (
            lambda queries, passages, temperature=0.05: _choose(
                _cosines(queries, passages) * temperature
            ),
            "You multiplied by the temperature. Divide by it: a small one makes differences large.",
        ),
        "without temperature": (
            lambda queries, passages, temperature=0.05: _choose(_cosines(queries, passages)),
            "You left out the temperature: the scores are cosines divided by it.",
        ),
        "passages choose": (
            lambda queries, passages, temperature=0.05: _choose(
                _cosines(passages, queries) / temperature
            ),
            "Here each passage chooses among the questions. Each question should choose among the "
            "passages: row i of the scores belongs to question i.",
        ),
        "both choose": (
            lambda queries, passages, temperature=0.05: (
                (
                    _choose(_cosines(queries, passages) / temperature)
                    + _choose(_cosines(passages, queries) / temperature)
                )
                / 2
            ),
            "You averaged both directions, as CLIP does. Only the questions choose here.",
        ),
        "its own left out": (
            _others_only,
            "The sum below the line leaves out the question's own passage. It runs over all j.",
        ),
        "sum over the questions": (
            lambda queries, passages, temperature=0.05: _choose(
                _cosines(queries, passages) / temperature, "sum"
            ),
            "You added up over the questions: take the mean.",
        ),
        "sign turned": (
            lambda queries, passages, temperature=0.05: (
                -_choose(_cosines(queries, passages) / temperature)
            ),
            "Your sign is turned: minus the logarithm of a probability is never below 0.",
        ),
    },
    clauses={
        "small temperature": Clause(
            _cold,
            "The temperature may be small, and exp of a cosine over it too large for a number: "
            "log_softmax, logsumexp or cross_entropy do not form it.",
            _in_exponentials,
        ),
        "one pair": Clause(
            _single,
            "A single pair has no negative: the loss is 0, however far the two are from each "
            "other.",
            _single_is_a_distance,
        ),
        "default": Clause(
            lambda seed: [(x, y) for x, y, _ in _PAIRS(seed)],
            "Called without it, the temperature is 0.05: keep the default of the signature.",
            lambda queries, passages, temperature=0.07: _choose(
                _cosines(queries, passages) / temperature
            ),
        ),
    },
    hints=[
        "F.normalize(x, dim=1) gives each row the length 1. Then one product holds all cosines, "
        "(B, B), a row for each question.",
        "Row i is a question of B answers, of which number i is right: F.cross_entropy(scores, "
        "torch.arange(B)).",
    ],
    grad=["queries", "passages"],
)


# --- reciprocal_rank_fusion ----------------------------------------------------------------------


def _rankings(*sizes):
    def of(seed):
        g = _generator(seed)
        return [
            (torch.rand(R, Q, n, generator=g).argsort(-1)[..., :m], n, k) for R, Q, m, n, k in sizes
        ]

    return of


_RANKINGS = _rankings((3, 5, 4, 7, 10.0), (4, 3, 5, 6, 2.0), (5, 2, 3, 9, 30.0))


def _not_found(seed):
    g = _generator(seed + 1)
    cases = []
    for rankings, n, k in _RANKINGS(seed):
        m = rankings.shape[-1]
        there = torch.randint(0, m, rankings.shape[:2], generator=g)
        late = torch.arange(m) >= there[..., None]
        cases.append((rankings.masked_fill(late, -1), n, k))
    return cases


def _fused(rankings, n, worth, reduce="sum"):
    """Worth (m,) of the places given to the passages, -1 to nobody."""
    R, Q, m = rankings.shape
    each = torch.zeros(R, Q, n + 1)
    each.scatter_(2, torch.where(rankings < 0, n, rankings), worth.expand(R, Q, m).contiguous())
    return getattr(each, reduce)(0)[:, :n]


def _places(rankings, first=1):
    return torch.arange(first, first + rankings.shape[-1]).float()


exercise(
    retrieval.reciprocal_rank_fusion,
    cases=_RANKINGS,
    mistakes={
        "places from 0": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / (k + _places(rankings, 0))),
            "You count places from 0: the best place is 1, and is worth 1 / (k + 1).",
        ),
        "k left out": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / _places(rankings)),
            "You left out k: the first place would be worth as much as any number of others.",
        ),
        "places added": (
            lambda rankings, n, k=60.0: _fused(rankings, n, k + _places(rankings)),
            "You added up the places: the best place would be worth least. One over them is asked.",
        ),
        "mean": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / (k + _places(rankings)), "mean"),
            "You took the mean over the methods: the sum is asked.",
        ),
        "best place alone": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / (k + _places(rankings)), "amax"),
            "You kept the best place alone. A passage that two methods find should gain from both.",
        ),
        "points for places": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 + _places(rankings).flip(0)),
            "You gave points, one less for each place. Here a place is worth 1 / (k + place).",
        ),
        "first method only": (
            lambda rankings, n, k=60.0: _fused(rankings[:1], n, 1 / (k + _places(rankings))),
            "You took the first method only: add up over all of them.",
        ),
        "squared": (
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / (k + _places(rankings)) ** 2),
            "You squared the places: 1 / (k + place) is asked.",
        ),
    },
    clauses={
        "not found": Clause(
            _not_found,
            "-1 means that the method found no more, and is nobody's place. As an index it would "
            "mean the last passage.",
            lambda rankings, n, k=60.0: (
                _fused(torch.where(rankings < 0, n - 1, rankings), n, 1 / (k + _places(rankings)))
                if (rankings >= 0).all()
                else torch.zeros(rankings.shape[1], n).scatter_add(
                    1,
                    (rankings % n).transpose(0, 1).flatten(1),
                    (1 / (k + _places(rankings))).repeat(rankings.shape[1], len(rankings)),
                )
            ),
        ),
        "k of 0": Clause(
            lambda seed: [(rankings, n, 0.0) for rankings, n, _ in _RANKINGS(seed)],
            "k may be 0: then a place is worth one over itself.",
            lambda rankings, n, k=60.0: _fused(rankings, n, 1 / ((k or 60.0) + _places(rankings))),
        ),
        "default": Clause(
            lambda seed: [(rankings, n) for rankings, n, _ in _RANKINGS(seed)],
            "Called without it, k is 60: keep the default of the signature.",
            lambda rankings, n, k=10.0: _fused(rankings, n, 1 / (k + _places(rankings))),
        ),
    },
    hints=[
        "worth = 1 / (k + torch.arange(1, m + 1)) is what the m places are worth.",
        "For each ranking: scores.scatter_add_(1, ranking, worth.expand(Q, m)) adds the worth of "
        "each place to the passage that stands there.",
        "Make `scores` one column wider, send every -1 to that column, and leave it out at the "
        "end.",
    ],
)


# --- paired_interval: find the fault -------------------------------------------------------------


def _each_by_itself(first, second, draws):
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    one, other = first[draws].mean(1), second[draws].mean(1)  # (R,), the same questions in both
    return one.quantile(levels) - other.quantile(levels)


def _methods(*sizes, dtype=torch.float64):
    """What two methods reached on n questions, and R draws of them."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for n, R in sizes:
            first, second = torch.rand(2, n, generator=g, dtype=dtype)
            cases.append((first, second, torch.randint(n, (R, n), generator=g)))
        return cases

    return of


_LEVELS = torch.tensor([0.025, 0.975], dtype=torch.float64)

exercise(
    retrieval.paired_interval,
    cases=_methods((12, 40), (30, 60), (20, 25)),
    planted=_each_by_itself,
    symptom="Each method has its own quantiles, and these are subtracted: a draw in which both are "
    "lucky is set against one in which both are. What is asked are the quantiles of the "
    "difference.",
    mistakes={
        "other questions for the second": (
            lambda first, second, draws: (
                first[draws].mean(1) - second[draws.flip(0)].mean(1)
            ).quantile(_LEVELS.to(first.dtype)),
            "Now the second method is asked other questions than the first. A hard question that "
            "comes often must count for both.",
        ),
        "the other way round": (
            lambda first, second, draws: (
                (second - first)[draws].mean(1).quantile(_LEVELS.to(first.dtype))
            ),
            "Your difference is the other way round: how much better the first is than the second.",
        ),
        "spread of the questions": (
            lambda first, second, draws: (first - second).quantile(_LEVELS.to(first.dtype)),
            "These are quantiles of single questions. The interval is one of the mean: average "
            "over each draw first.",
        ),
        "ninety per cent": (
            lambda first, second, draws: (
                (first - second)[draws]
                .mean(1)
                .quantile(torch.tensor([0.05, 0.95], dtype=first.dtype))
            ),
            "That is a 90 % interval: 2.5 % lie below and 2.5 % above one of 95 %.",
        ),
        "sorted ends": (
            lambda first, second, draws: _each_by_itself(first, second, draws).sort().values,
            "The order of the ends was not the fault, but a sign of it: these are still quantiles "
            "of each method by itself.",
        ),
    },
    clauses={
        "single precision": Clause(
            _methods((12, 40), (30, 60), dtype=torch.float32),
            "The values may be float32, and the result has their kind: make the levels of the same "
            "kind, dtype=first.dtype.",
            lambda first, second, draws: (first - second)[draws].mean(1).quantile(_LEVELS),
        ),
    },
    hints=[
        "Take two methods that are never right on the same question, each on half of them. How "
        "wide should the interval of their difference be, and how wide is it?",
        "In each draw there is one value: the difference of the two means. The interval is one of "
        "these R values.",
        "(one - other).quantile(levels)",
    ],
)


PREDICTIONS = (
    Prediction(
        "wrong-passage",
        "A small GPT has learned to answer questions about people from one to four passages, one "
        "of which always held the answer. With the right passage and three drawn by chance it is "
        "right nearly always. Now it gets a question and only passages that do not answer it: one "
        "tells something else about the same person, one tells what is asked about somebody else. "
        "What does it say, most of the time?",
        "b",
        "With three seeds 81.0 % of the answers are from a wrong passage: 29.5 ± 7.6 % the same "
        "fact of somebody else, 51.5 ± 8.1 % another fact of the person. In 87.4 ± 20.2 % one of "
        "the two is cited. The reader never met passages of which none answers, so it takes what "
        "fits best (section 16.7).",
        choices=(
            "a value that stands in none of the passages: it falls back on a guess",
            "a value out of one of the wrong passages, and it cites that passage",
            "nothing: it ends the text at once",
            "a value out of a wrong passage, but without a citation",
        ),
    ),
)


EXPERIMENTS = (
    Experiment(
        "how-much-doubt",
        question="The reader of section 16.7 that may say “unknown” saw questions without an "
        "answer in 30 % of the cases. How few are enough? Train it with 30, 10, 3, 1 and 0 %, with "
        "the same number of steps, three seeds each. Measure how often it says “unknown” where no "
        "passage answers, and how often it is right where one does.",
        hand_in="the smallest share, in per cent, with “unknown” in at least 90 % of the questions "
        "without an answer and at most 2 points lost where there is one",
        good=(
            "Both numbers for each share, with the spread of three seeds.",
            "The same passages for all readers, drawn with a seed that no training used.",
            "If some seeds reach it and others do not, that is the answer, and no mean.",
            "A word on which questions are hardest: those with another fact of the same person, "
            "or with the same fact of somebody else.",
            "What the answer means for a store in which one passage in ten is missing.",
        ),
        minutes=60,
        kind="number",
        unit="%",
        between=(0.1, 30),
        beyond="Was “unknown” counted on questions without an answer alone, and are the steps of "
        "training as many for each share?",
    ),
)
