"""What BERT is trained on: pieces of words, pairs of texts, hidden tokens, and batches of them.

Shapes: B sequences of T tokens, V pieces in the vocabulary.

Source: Devlin et al. 2019; lecture items A10, A24, A25.
"""

import torch

from genai_utils import inputs
from genai_utils.inputs import number, refusal, whole
from genai_utils.training.batches import derive_seed
from genai_utils.training.describe import fingerprint

from .tokenizer import SPECIAL
from .tokens import IGNORE

PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
TRIES = 50  # draws of another article, before its own is taken out of the urn


def longest_match(letters, pieces):
    """Cut a word into the longest pieces, from the left, as WordPiece does.

        at each place: the longest piece that the rest of the word begins with

    letters: (n,) int64, a word as numbers of its letters; n may be 0. pieces: list of different
    tuples of such numbers, none empty.
    Returns (n,) int64: the number, in the list, of the piece that covers each letter; all -1
    where some place has no piece that fits (the word is then the unknown token). A piece once
    taken stays: it is -1 even if shorter pieces would have led to the end.
    Source: Devlin et al. 2019, section 3 and its code.
    """
    word, cover, place = tuple(letters.tolist()), [], 0
    while place < len(word):
        fits = [p for p in pieces if p and word[place : place + len(p)] == p]
        if not fits:
            return torch.full_like(letters, -1)
        longest = max(fits, key=len)
        cover += [pieces.index(longest)] * len(longest)
        place += len(longest)
    return torch.tensor(cover, dtype=torch.int64)


def pack_pair(a, b, length):
    """Two texts as one input, [CLS] a [SEP] b [SEP], filled up with [PAD].

    [CLS] is 2, [SEP] is 3 and [PAD] is 0. a, b: (n,), (m,) int64 ids, which may be any; n or m may
    be 0. If n + m + 3 > length, the longer of the two (b, if they are equally long) loses its last
    token until they fit.
    Returns ids, segments (0 up to and with the first [SEP], 1 to the second, 0 on padding) and
    real (True where there is no padding), each (length,).
    Raises ValueError for a length below 5.
    Source: Devlin et al. 2019, figure 2 and appendix A.2; lecture item A25.
    """
    if length < 5:
        raise ValueError(f"[CLS] a [SEP] b [SEP] needs a length of at least 5, got {length}")
    n, m = len(a), len(b)
    while n + m + 3 > length:
        n, m = (n - 1, m) if n > m else (n, m - 1)
    cls, sep, pad = 2, 3, 0
    parts = [[cls], a[:n].tolist(), [sep], b[:m].tolist(), [sep], [pad] * (length - n - m - 3)]
    ids = torch.tensor([i for part in parts for i in part], dtype=torch.int64)
    place = torch.arange(length)
    real = place < n + m + 3
    segments = ((place > n + 1) & real).long()
    return ids, segments, real


def apply_mask(ids, chosen, draw, random_ids):
    """The 80/10/10 rule: what the model sees, and what it should say.

        chosen and draw < 0.8:          [MASK], which is 4
        chosen and 0.8 <= draw < 0.9:   a random token
        chosen and draw >= 0.9:         the token itself

    ids: (B, T) int64. chosen: (B, T) bool, which tokens are to be predicted. draw: (B, T) uniform
    numbers in [0, 1). random_ids: (B, T) int64; one may happen to be the token itself.
    Returns inputs (B, T), and labels (B, T): the token where chosen, -100 elsewhere; both int64.
    Source: Devlin et al. 2019, section 3.1; lecture item A24.
    """
    inputs = torch.where(chosen & (draw < 0.9), random_ids, ids)
    inputs = torch.where(chosen & (draw < 0.8), torch.full_like(ids, 4), inputs)  # 4: [MASK]
    return inputs, torch.where(chosen, ids, torch.full_like(ids, -100))


def mask_tokens(ids, vocabulary, rate=0.15, generator=None, rule=(0.8, 0.1, 0.1)):
    """Choose tokens to predict, and hide them by the 80/10/10 rule.

    In a row with n tokens that are not special (ids 0 to 4), rate · n of them, rounded, are chosen
    at random; at least one, if there is any. BERT's code does so too: the batches then all have the
    same number of tokens to predict.
    ids: (B, T) int64. vocabulary: V; random tokens are drawn from 5 … V - 1. rule: shares of
    [MASK], random, unchanged.
    Returns inputs and labels as `apply_mask` does.
    Without a generator the draws come from torch's global one.
    Raises TypeError or ValueError for a rate outside (0, 1], shares that do not sum to 1, or a
    vocabulary of special tokens alone.
    """
    number(rate, "rate", above=0, most=1)
    whole(vocabulary, "vocabulary", least=len(SPECIAL) + 1)
    if len(rule) != 3 or min(rule) < 0 or abs(sum(rule) - 1) > 1e-6:
        raise refusal("rule", "three shares of at least 0 that sum to 1", f"{rule}")
    settings = {"generator": generator, "device": ids.device}
    score = torch.rand(ids.shape, **settings)
    score = score.masked_fill(ids < len(SPECIAL), 2.0)  # last in line
    real = (ids >= len(SPECIAL)).sum(-1, keepdim=True)  # (B, 1)
    wanted = torch.minimum((rate * real.double()).round().clamp(min=1), real)
    chosen = score.argsort(-1).argsort(-1) < wanted
    draw = torch.rand(ids.shape, **settings)
    if rule != (0.8, 0.1, 0.1):  # move the borders to where apply_mask has them
        borders = torch.tensor([0, rule[0], rule[0] + rule[1], 1.0], device=ids.device)
        kind = torch.bucketize(draw, borders[1:3], right=True)  # 0, 1, 2
        draw = torch.tensor([0.0, 0.8, 0.9], device=ids.device)[kind]
    random_ids = torch.randint(len(SPECIAL), vocabulary, ids.shape, **settings)
    return apply_mask(ids, chosen, draw, random_ids)


def chosen_places(labels, k):
    """Where the tokens to predict stand, and which they are: (B, T) → places, targets (B, k).

    labels: as of `apply_mask`, at most k in a row that are not -100. A row with fewer is filled up
    with other places, whose target is -100. The output layer, of V numbers per token, is the most
    expensive one; with a fixed k it is computed for B k tokens instead of all B T, and a graphics
    card need not tell the processor how many there are.
    """
    places = (labels != IGNORE).byte().topk(k, dim=-1).indices.sort(-1).values
    return places, labels.gather(-1, places)


class PairBatches:
    """Batches for pre-training: `batches(step)` is ids, segments, (places, targets), follows.

    ids and segments: (B, T). The tokens to predict stand at `places` (B, k) and are `targets`
    (B, k), see `chosen_places`. follows: (B,).
    Each row is [CLS] a [SEP] b [SEP]: a from a random place of a random article, b what follows
    it there (0, half of the rows), or a piece of another article (1). Long articles come up
    more often. A batch depends on (seed, step) alone.

    articles: list of (n,) int64, at least two with `length` tokens. rate, rule: see `mask_tokens`.
    Raises TypeError or ValueError for fewer such articles, or sizes that do not fit.
    """

    def __init__(self, articles, vocabulary, length=128, batch_size=64, rate=0.15,
                 rule=(0.8, 0.1, 0.1), seed=0, device=None):  # fmt: skip
        if torch.is_tensor(articles):
            raise refusal("articles", "a list of token ids (n,)", "one tensor", kind=TypeError)
        whole(length, "length", least=7), whole(batch_size, "batch_size")
        for i, article in enumerate(articles := list(articles)):
            inputs.tokens(article, f"articles[{i}]", vocabulary)
        self.articles = [a for a in articles if len(a) >= length]
        if len(self.articles) < 2:
            raise refusal(
                "articles", f"two of at least {length} tokens", f"{len(self.articles)}",
                "take more articles, or a smaller length",
            )  # fmt: skip
        self.vocabulary, self.length, self.batch_size = vocabulary, length, batch_size
        self.rate, self.rule, self.seed, self.device = rate, rule, seed, device
        self.text = torch.cat(self.articles)
        sizes = torch.tensor([len(a) for a in self.articles])
        self.start = sizes.cumsum(0) - sizes  # where each article begins
        self.places = sizes - length + 1  # where a window may begin in it

    def describe(self) -> dict:
        """What shapes the batches, the data by a digest; see `fit`'s checkpoint."""
        names = ("vocabulary", "length", "batch_size", "rate", "rule", "seed")
        data = [fingerprint(self.text), fingerprint(self.start)]
        return {"data": data} | {name: getattr(self, name) for name in names}

    def windows(self, article, n, generator):
        """A window of n tokens from a random place of each article: (B,) → (B, n)."""
        place = torch.rand(len(article), generator=generator) * self.places[article]
        return self.text[(self.start[article] + place.long())[:, None] + torch.arange(n)]

    def __call__(self, step):
        g = torch.Generator().manual_seed(derive_seed(self.seed, "pairs", step))
        B, T = self.batch_size, self.length
        weight = self.places.double()
        one = torch.multinomial(weight, B, True, generator=g)
        other = torch.multinomial(weight, B, True, generator=g)
        for _ in range(TRIES):
            if not (same := one == other).any():
                break
            other[same] = torch.multinomial(weight, int(same.sum()), True, generator=g)
        if (same := one == other).any():  # one article is nearly all of the text
            others = weight.repeat(int(same.sum()), 1).scatter(1, one[same][:, None], 0.0)
            other[same] = torch.multinomial(others, 1, generator=g)[:, 0]
        n = T // 2 - 2 + int(torch.randint(3, (1,), generator=g))  # tokens of a
        follows = torch.arange(B) % 2  # 0: b follows a
        text = self.windows(one, T - 3, g)
        elsewhere = self.windows(other, T - 3 - n, g)
        b = torch.where(follows[:, None] == 0, text[:, n:], elsewhere)
        edge = torch.full((B, 1), CLS), torch.full((B, 1), SEP)
        ids = torch.cat([edge[0], text[:, :n], edge[1], b, edge[1]], 1)  # (B, T)
        segments = (torch.arange(T) > n + 1).long().expand(B, T)
        inputs, labels = mask_tokens(ids, self.vocabulary, self.rate, g, self.rule)
        chosen = chosen_places(labels, max(1, round(self.rate * (T - 3))))
        inputs, segments, places, targets, follows = (
            x.to(self.device or "cpu") for x in (inputs, segments, *chosen, follows)
        )
        return inputs, segments, (places, targets), follows
