"""Answers to the exercises of 16_rag, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F

WRONG, RIGHT = [], []


def wrong(name):
    return lambda function: WRONG.append((name, function)) or function


def right(name):
    return lambda function: RIGHT.append((name, function)) or function


# --- bm25_scores ---------------------------------------------------------------------------------


def by_loops(counts, query, k1=1.5, b=0.75, found=lambda c: c > 0, one=1.0, norm=True):
    n, mean = len(counts), counts.sum().item() / len(counts)
    scores = torch.zeros(n, dtype=counts.dtype)
    for j in query.tolist():
        if j < 0:
            continue
        df = found(counts[:, j]).sum().item()
        idf = math.log(one + (n - df + 0.5) / (df + 0.5))
        for i in range(n):
            c = counts[i, j].item()
            if c:
                size = counts[i].sum().item() / (mean if norm else 1)
                scores[i] += idf * (k1 + 1) * c / (c + k1 * (1 - b + b * size))
    return scores


@right("bm25_scores")
def plain_loops(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b)


@right("bm25_scores")
def columns_first(counts, query, k1=1.5, b=0.75):
    asked = counts[:, query[query != -1]]  # (n, q)
    df = asked.gt(0).sum(0)
    idf = torch.log((len(counts) + 1) / (df + 0.5))  # the same: 1 = (df + ½) / (df + ½)
    length = counts.sum(1)
    crowd = k1 * ((1 - b) + b * length * len(counts) / counts.sum())
    share = torch.where(asked > 0, asked / (asked + crowd[:, None]), 0)
    return (k1 + 1) * (share @ idf.to(share))


@right("bm25_scores")
def by_a_question_vector(counts, query, k1=1.5, b=0.75):
    asked = torch.zeros(counts.shape[1] + 1, dtype=counts.dtype)
    for j in query.tolist():
        asked[j] += 1  # -1 is the further place
    df = (counts != 0).to(counts.dtype).sum(0)
    idf = torch.log1p((len(counts) - df + 0.5) / (df + 0.5))
    crowd = k1 * (1 - b + b * counts.sum(1) / counts.sum(1).mean())
    worth = torch.nan_to_num((k1 + 1) * counts / (counts + crowd[:, None]), nan=0.0)
    return worth @ (idf * asked[:-1])


@wrong("bm25_scores")
def occurrences(counts, query, k1=1.5, b=0.75):
    n, total = len(counts), counts.sum(0)
    scores = 0
    for j in query[query >= 0].tolist():
        idf = math.log(1 + abs(n - total[j].item() + 0.5) / (total[j].item() + 0.5))
        size = counts.sum(1) / counts.sum(1).mean()
        scores = scores + idf * (k1 + 1) * counts[:, j] / (counts[:, j] + k1 * (1 - b + b * size))
    return scores


@wrong("bm25_scores")
def odds_alone(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b, one=1e-12)


@wrong("bm25_scores")
def raw_length(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b, norm=False)


@wrong("bm25_scores")
def k1_and_b_swapped(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, b, k1)


@wrong("bm25_scores")
def no_length(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, 0)


@wrong("bm25_scores")
def tf_idf(counts, query, k1=1.5, b=0.75):
    df = (counts > 0).sum(0)
    idf = torch.log(1 + (len(counts) - df + 0.5) / (df + 0.5)).to(counts)
    return (counts * idf)[:, query[query >= 0]].sum(1)


@wrong("bm25_scores")
def as_in_lucene(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b) / (k1 + 1)


@wrong("bm25_scores")
def each_word_once(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query.unique(), k1, b)


@wrong("bm25_scores")
def minus_one_as_index(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query % counts.shape[1], k1, b)


@wrong("bm25_scores")
def best_passage(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b).argsort(descending=True)


@wrong("bm25_scores")
def base_two(counts, query, k1=1.5, b=0.75):
    return by_loops(counts, query, k1, b) / math.log(2)


# --- recall_at_k ---------------------------------------------------------------------------------


def by_sets(ranked, relevant, k, divide=lambda wanted, k: len(wanted)):
    found = []
    for row, targets in zip(ranked.tolist(), relevant.tolist(), strict=True):
        wanted = {t for t in targets if t != -1}
        got = wanted & set(row[:k])
        found.append(len(got) / divide(wanted, k) if wanted else 0.0)
    return torch.tensor(found)


@right("recall_at_k")
def sets(ranked, relevant, k):
    return by_sets(ranked, relevant, k)


@right("recall_at_k")
def by_isin(ranked, relevant, k):
    rows = []
    for row, targets in zip(ranked, relevant, strict=True):
        targets = targets[targets >= 0]
        hit = torch.isin(targets, row[:k]).sum()
        rows.append(hit / max(len(targets), 1))
    return torch.stack(rows)


@right("recall_at_k")
def one_target_at_a_time(ranked, relevant, k):
    first, total, count = ranked[:, :k], 0.0, 0.0
    for j in range(relevant.shape[1]):
        target = relevant[:, j : j + 1]
        real = (target[:, 0] >= 0).float()
        total = total + real * (first == target).any(1)
        count = count + real
    return torch.where(count > 0, total / count.clamp(min=1), 0.0)


@wrong("recall_at_k")
def precision(ranked, relevant, k):
    return by_sets(ranked, relevant, k, lambda wanted, k: k)


@wrong("recall_at_k")
def any_hit(ranked, relevant, k):
    return (by_sets(ranked, relevant, k) > 0).float()


@wrong("recall_at_k")
def all_places(ranked, relevant, k):
    return by_sets(ranked, relevant, ranked.shape[1])


@wrong("recall_at_k")
def last_places(ranked, relevant, k):
    return by_sets(ranked.flip(1), relevant, k)


@wrong("recall_at_k")
def one_less(ranked, relevant, k):
    return by_sets(ranked, relevant, k - 1)


@wrong("recall_at_k")
def divided_by_the_smaller(ranked, relevant, k):
    return by_sets(ranked, relevant, k, lambda wanted, k: max(1, min(2, len(wanted))))


@wrong("recall_at_k")
def in_one_number(ranked, relevant, k):
    return by_sets(ranked, relevant, k).mean()


@wrong("recall_at_k")
def padding_counts(ranked, relevant, k):
    hit = (ranked[:, :k, None] == relevant[:, None]).any(1)
    return hit.float().mean(1)


@wrong("recall_at_k")
def doubles_count(ranked, relevant, k):
    hit = (ranked[:, :k, None] == relevant[:, None]) & (relevant >= 0)[:, None]
    return hit.sum((1, 2)) / (relevant >= 0).sum(1).clamp(min=1)


@wrong("recall_at_k")
def nan_for_none(ranked, relevant, k):
    real = relevant >= 0
    hit = (ranked[:, :k, None] == relevant[:, None]).any(1) & real
    return hit.sum(1) / real.sum(1)


# --- in_batch_loss -------------------------------------------------------------------------------


def pair_by_pair(queries, passages, temperature=0.05):
    losses = []
    for i, q in enumerate(queries):
        s = torch.stack([F.cosine_similarity(q, p, dim=0) for p in passages]) / temperature
        losses.append(torch.logsumexp(s, 0) - s[i])
    return torch.stack(losses).mean()


@right("in_batch_loss")
def one_pair_after_the_other(queries, passages, temperature=0.05):
    return pair_by_pair(queries, passages, temperature)


@right("in_batch_loss")
def diagonal_of_log_softmax(queries, passages, temperature=0.05):
    q = queries / queries.norm(dim=1, keepdim=True)
    p = passages / passages.norm(dim=1, keepdim=True)
    return -torch.log_softmax(q @ p.mT / temperature, dim=1).diagonal().mean()


@right("in_batch_loss")
def differences(queries, passages, temperature=0.05):
    s = F.cosine_similarity(queries[:, None], passages[None], dim=-1) / temperature
    return torch.logsumexp(s - s.diagonal()[:, None], 1).mean()


@wrong("in_batch_loss")
def long_ones_win(queries, passages, temperature=0.05):
    s = queries @ passages.T / temperature
    return (s.logsumexp(1) - s.diagonal()).mean()


@wrong("in_batch_loss")
def turned_round(queries, passages, temperature=0.05):
    return pair_by_pair(passages, queries, temperature)


@wrong("in_batch_loss")
def as_in_clip(queries, passages, temperature=0.05):
    return (
        pair_by_pair(queries, passages, temperature) + pair_by_pair(passages, queries, temperature)
    ) / 2


@wrong("in_batch_loss")
def over_the_temperature(queries, passages, temperature=0.05):
    return pair_by_pair(queries, passages, 1 / temperature)


@wrong("in_batch_loss")
def temperature_outside(queries, passages, temperature=0.05):
    return pair_by_pair(queries, passages, 1.0) / temperature


@wrong("in_batch_loss")
def only_one_side_unit(queries, passages, temperature=0.05):
    s = queries @ F.normalize(passages, dim=1).T / temperature
    return (s.logsumexp(1) - s.diagonal()).mean()


@wrong("in_batch_loss")
def whole_table(queries, passages, temperature=0.05):
    s = F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T / temperature
    return -s.flatten().log_softmax(0).view_as(s).diagonal().mean()


@wrong("in_batch_loss")
def bare(queries, passages, temperature=0.05):
    s = F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T / temperature
    return (s.exp().sum(1).log() - s.diagonal()).mean()


@wrong("in_batch_loss")
def detached(queries, passages, temperature=0.05):
    return pair_by_pair(queries, passages.detach(), temperature)


@wrong("in_batch_loss")
def each_question(queries, passages, temperature=0.05):
    s = F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T / temperature
    return s.logsumexp(1) - s.diagonal()


# --- reciprocal_rank_fusion ----------------------------------------------------------------------


def by_places(rankings, n, k=60.0, first=1, skip=True):
    R, Q, m = rankings.shape
    scores = torch.zeros(Q, n)
    for r in range(R):
        for q in range(Q):
            for place in range(m):
                i = rankings[r, q, place].item()
                if i >= 0 or not skip:
                    scores[q, i] += 1 / (k + place + first)
    return scores


@right("reciprocal_rank_fusion")
def three_loops(rankings, n, k=60.0):
    return by_places(rankings, n, k)


@right("reciprocal_rank_fusion")
def by_one_hot(rankings, n, k=60.0):
    there = F.one_hot(rankings.clamp(min=0), n) * (rankings >= 0)[..., None]  # (R, Q, m, n)
    worth = 1 / (k + torch.arange(1, rankings.shape[-1] + 1))
    return torch.einsum("rqmn,m->qn", there.float(), worth)


@right("reciprocal_rank_fusion")
def by_comparison(rankings, n, k=60.0):
    places = torch.arange(rankings.shape[-1]) + 1.0
    same = rankings[..., None] == torch.arange(n)
    return (same / (places + k)[:, None]).sum(2).sum(0)


@wrong("reciprocal_rank_fusion")
def from_nought(rankings, n, k=60.0):
    return by_places(rankings, n, k, first=0)


@wrong("reciprocal_rank_fusion")
def minus_one_is_the_last(rankings, n, k=60.0):
    return by_places(rankings, n, k, skip=False)


@wrong("reciprocal_rank_fusion")
def averaged(rankings, n, k=60.0):
    return by_places(rankings, n, k) / len(rankings)


@wrong("reciprocal_rank_fusion")
def always_sixty(rankings, n, k=60.0):
    return by_places(rankings, n)


@wrong("reciprocal_rank_fusion")
def written_over(rankings, n, k=60.0):
    scores = torch.zeros(rankings.shape[1], n)
    worth = (1 / (k + torch.arange(1, rankings.shape[-1] + 1))).expand(rankings.shape[1:])
    for ranking in rankings:
        scores.scatter_(1, ranking.clamp(min=0), worth.contiguous())
    return scores


@wrong("reciprocal_rank_fusion")
def ranked_at_once(rankings, n, k=60.0):
    return by_places(rankings, n, k).argsort(1, descending=True)


@wrong("reciprocal_rank_fusion")
def one_row_for_all(rankings, n, k=60.0):
    return by_places(rankings, n, k).sum(0)


@wrong("reciprocal_rank_fusion")
def divided_by_the_places(rankings, n, k=60.0):
    return by_places(rankings, n, 0.0)


@wrong("reciprocal_rank_fusion")
def one_column_too_many(rankings, n, k=60.0):
    return F.pad(by_places(rankings, n, k), (0, 1))


@wrong("reciprocal_rank_fusion")
def sums_to_one(rankings, n, k=60.0):
    scores = by_places(rankings, n, k)
    return scores / scores.sum(1, keepdim=True)


# --- paired_interval -----------------------------------------------------------------------------


@right("paired_interval")
def of_the_differences(first, second, draws):
    values = (first - second)[draws].mean(1)
    return torch.quantile(values, torch.tensor([0.025, 0.975], dtype=values.dtype))


@right("paired_interval")
def by_numpy(first, second, draws):
    import numpy as np

    values = (first[draws] - second[draws]).mean(1).numpy()
    return torch.as_tensor(np.quantile(values, [0.025, 0.975]).astype(values.dtype))


@right("paired_interval")
def draw_by_draw(first, second, draws):
    values = torch.stack([first[d].mean() - second[d].mean() for d in draws])
    return torch.stack([values.quantile(0.025), values.quantile(0.975)])


@wrong("paired_interval")
def still_apart(first, second, draws):
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    return first[draws].mean(1).quantile(levels) - second[draws].mean(1).quantile(levels)


@wrong("paired_interval")
def crossed_ends(first, second, draws):
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    one, other = first[draws].mean(1).quantile(levels), second[draws].mean(1).quantile(levels)
    return one - other.flip(0)


@wrong("paired_interval")
def rolled(first, second, draws):
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    return (first[draws].mean(1) - second[draws.roll(1, 0)].mean(1)).quantile(levels)


@wrong("paired_interval")
def normal(first, second, draws):
    d = first - second
    half = 1.96 * d.std() / math.sqrt(len(d))
    return torch.stack([d.mean() - half, d.mean() + half])


@wrong("paired_interval")
def as_a_share(first, second, draws):
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    return (first[draws].mean(1) / second[draws].mean(1) - 1).quantile(levels)


@wrong("paired_interval")
def one_tail(first, second, draws):
    levels = torch.tensor([0.05, 0.95], dtype=first.dtype)
    return (first - second)[draws].mean(1).quantile(levels)
