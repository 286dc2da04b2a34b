"""Metrics of texts: the loss of a language model on held-out text, and n-gram models to compare."""

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.inputs import kind_of, refusal, tokens, whole


@torch.no_grad()
def next_token_nll(logits, ids, length, batch_size=64):
    """Mean negative log-likelihood of a text under a model of the next token, nats per token.

    The text is cut into windows of `length`; each token but the first is predicted exactly once,
    from those before it in its window. exp of the result is the perplexity.

    logits: function (B, T) int64 → (B, T, V) scores of the next token, such as a model.
    ids: (n,) int64, n ≥ 2.
    Raises ValueError for fewer than two tokens, TypeError for what are no whole numbers.
    """
    length, batch_size = whole(length, "length"), whole(batch_size, "batch_size")
    ids = tokens(ids, "ids", None, values=False)
    if ids.ndim != 1 or len(ids) < 2:
        raise refusal("ids", "one sequence of at least 2 tokens", f"the shape {tuple(ids.shape)}")
    full = (len(ids) - 1) // length  # windows that are full
    inputs, targets = (x[: full * length].view(full, length) for x in (ids[:-1], ids[1:]))
    pairs = list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))
    if full * length < len(ids) - 1:
        pairs.append((ids[None, full * length : -1], ids[None, full * length + 1 :]))
    total = sum(
        F.cross_entropy(logits(x).float().flatten(0, 1), y.flatten(), reduction="sum").item()
        for x, y in pairs
        if x.numel()
    )
    return total / (len(ids) - 1)


class NGram:
    """A language model of counts: the next token given the n − 1 before it, Witten–Bell smoothed.

        P(w | h) = (c(h, w) + T(h) P(w | h')) / (c(h) + T(h))

    h' is the history without its oldest token and T(h) the number of different tokens seen after
    h; after the empty history comes the uniform distribution. order 1: unigram, 2: bigram, …

    ids: (n,) int64 training text. vocabulary: V; ids are below it.
    Raises ValueError for ids outside the vocabulary or a text shorter than the order.
    Source: Witten & Bell 1991, method C, interpolated.
    """

    MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: a history's hash is Σ token · MIXᵏ modulo 2^64

    def __init__(self, ids, order, vocabulary):
        self.order, self.vocabulary = whole(order, "order"), whole(vocabulary, "vocabulary")
        ids = self._checked(ids, least=self.order)
        self.tables = []  # for each length of history: sorted hashes and their counts
        for n in range(order):
            history, word = self._hashes(ids, n)[n:], ids[n:]
            grams, first, count = np.unique(
                self._append(history, word), return_index=True, return_counts=True
            )
            known, kinds = np.unique(history[first], return_counts=True)  # T(h)
            seen = np.unique(history, return_counts=True)[1]  # c(h), in the same order
            self.tables.append((grams, count, known, kinds, seen))

    def _checked(self, ids, least=0):
        found = ids.cpu().numpy() if torch.is_tensor(ids) else np.asarray(ids)
        if found.dtype.kind not in "iu":
            raise refusal("ids", "whole numbers", kind_of(found), kind=TypeError)
        if found.ndim != 1 or len(found) < least:
            expected = f"one sequence (n,) of tokens, n of at least {least}"
            raise refusal("ids", expected, f"the shape {found.shape}")
        tokens(found, "ids", self.vocabulary)
        return found.astype(np.uint64)

    def _append(self, history, word):
        with np.errstate(over="ignore"):
            return history * self.MIX + word + np.uint64(1)

    def _hashes(self, ids, n):
        """The hash of the n tokens before each place; places below n see fewer and are unused."""
        hashes = np.zeros(len(ids), np.uint64)
        for back in range(n, 0, -1):
            hashes[back:] = self._append(hashes[back:], ids[: len(ids) - back])
        return hashes

    @staticmethod
    def _look_up(keys, values, wanted):
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return np.where(keys[place] == wanted, values[place], 0)

    def _mixed(self, words, histories):
        """P of each word: from the uniform distribution upwards, one longer history at a time."""
        p = np.full(len(words), 1 / self.vocabulary)
        for (grams, count, known, kinds, seen), history in zip(
            self.tables, histories, strict=False
        ):
            c = self._look_up(grams, count, self._append(history, words))
            T = self._look_up(known, kinds, history)
            total = T + self._look_up(known, seen, history)  # 0: a history that was never seen
            p = np.where(total > 0, (c + T * p) / np.maximum(total, 1), p)
        return p

    def probability(self, ids):
        """P of each token given the up to n − 1 before it, (n,) float64."""
        ids = self._checked(ids)
        p = self._mixed(ids, (self._hashes(ids, n) for n in range(self.order)))
        for place in range(min(self.order - 1, len(ids))):  # the first ones have shorter histories
            histories = [self._hashes(ids[: place + 1], n)[-1:] for n in range(place + 1)]
            p[place] = self._mixed(ids[place : place + 1], histories)[0]
        return p

    def nll(self, ids):
        """Mean negative log-likelihood, nats per token. Raises ValueError for no token at all."""
        self._checked(ids, least=1)
        return float(-np.log(self.probability(ids)).mean())

    def distribution(self, history):
        """P of each possible next token after a history of any length, (V,) float64."""
        history = self._checked(np.asarray(history, dtype=np.int64))
        words = np.arange(self.vocabulary, dtype=np.uint64)
        ids = np.append(history, np.uint64(0))
        hashes = (self._hashes(ids, n)[-1:] for n in range(min(self.order, len(ids))))
        return self._mixed(words, (np.repeat(h, self.vocabulary) for h in hashes))
