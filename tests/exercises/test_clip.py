"""Answers to the exercises of 28_clip, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F

# --- contrastive_loss ----------------------------------------------------------------------------


def length_one(x):
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def cosines(images, sentences):
    if images.size(0) != sentences.size(0):
        raise ValueError("no pairs")
    return length_one(images) @ length_one(sentences).mT


def cl_logsumexp(images, sentences, scale):
    S = scale * cosines(images, sentences)
    return (S.logsumexp(0) + S.logsumexp(1)).mean() / 2 - S.diagonal().mean()


def cl_log_softmax(images, sentences, scale):
    S = scale * cosines(images, sentences)
    both = S.log_softmax(0) + S.log_softmax(1)
    return -both.diagonal().sum() / (2 * len(S))


def cl_loops(images, sentences, scale):
    S, total = scale * cosines(images, sentences), 0.0
    for i in range(len(S)):
        for line in (S[i], S[:, i]):
            total = total - (line[i] - torch.logsumexp(line, 0))
    return total / (2 * len(S))


def cl_soft_targets(images, sentences, scale):
    S = scale * cosines(images, sentences)
    eye = torch.eye(len(S), dtype=S.dtype)
    return 0.5 * F.cross_entropy(S, eye) + 0.5 * F.cross_entropy(S.mT, eye)


def cl_image_side(images, sentences, scale):
    S = scale * cosines(images, sentences)
    return F.cross_entropy(S, torch.arange(len(S)))


def cl_text_side(images, sentences, scale):
    S = scale * cosines(images, sentences)
    return F.cross_entropy(S.T, torch.arange(len(S)))


def cl_twice(images, sentences, scale):
    return 2 * cl_logsumexp(images, sentences, scale)


def cl_summed(images, sentences, scale):
    return len(images) * cl_logsumexp(images, sentences, scale)


def cl_negative(images, sentences, scale):
    return -cl_logsumexp(images, sentences, scale)


def cl_sigmoid(images, sentences, scale):
    """SigLIP's loss."""
    S = scale * cosines(images, sentences)
    sign = 2 * torch.eye(len(S)) - 1
    return -F.logsigmoid(sign * S).sum(1).mean()


def cl_squares(images, sentences, scale):
    return ((cosines(images, sentences) - torch.eye(len(images))) ** 2).mean()


def cl_others_only(images, sentences, scale):
    """The pair is left out of its own denominator."""
    S = scale * cosines(images, sentences)
    others = S.masked_fill(torch.eye(len(S)).bool(), -math.inf)
    return (others.logsumexp(0) + others.logsumexp(1)).mean() / 2 - S.diagonal().mean()


def cl_bits(images, sentences, scale):
    return cl_logsumexp(images, sentences, scale) / math.log(2)


def cl_any_length(images, sentences, scale):
    S = scale * images @ sentences.T
    return (S.logsumexp(0) + S.logsumexp(1)).mean() / 2 - S.diagonal().mean()


def cl_temperature(images, sentences, scale):
    return cl_logsumexp(images, sentences, 1 / scale)


def cl_any_number(images, sentences, scale):
    n = min(len(images), len(sentences))
    return cl_logsumexp(images[:n], sentences[:n], scale)


def cl_exponentials(images, sentences, scale):
    e = (scale * cosines(images, sentences)).exp()
    p, q = e.diagonal() / e.sum(1), e.diagonal() / e.sum(0)
    return -(p.log() + q.log()).mean() / 2


def cl_detached(images, sentences, scale):
    return cl_logsumexp(images, sentences.detach(), scale)


# --- zero_shot -----------------------------------------------------------------------------------


def zs_plain(images, prompts, scale=100.0):
    classes = length_one(length_one(prompts).sum(1))
    return torch.softmax(scale * length_one(images) @ classes.mT, 1)


def zs_einsum(images, prompts, scale=100.0):
    K, P, d = prompts.shape
    mean = torch.einsum("kpd,kp->kd", prompts, 1 / prompts.norm(dim=-1)) / P
    cos = torch.einsum("nd,kd->nk", images, mean)
    cos = cos / images.norm(dim=1)[:, None] / mean.norm(dim=1)[None]
    return F.softmax(scale * cos, dim=1)


def zs_loops(images, prompts, scale=100.0):
    rows = []
    for x in images:
        cos = [
            F.cosine_similarity(x, F.normalize(group, dim=1).mean(0), dim=0) for group in prompts
        ]
        rows.append(F.log_softmax(scale * torch.stack(cos), 0).exp())
    return torch.stack(rows)


def zs_first_prompt(images, prompts, scale=100.0):
    return torch.softmax(scale * length_one(images) @ length_one(prompts[:, 0]).T, 1)


def zs_raw_prompts(images, prompts, scale=100.0):
    return torch.softmax(scale * length_one(images) @ length_one(prompts.mean(1)).T, 1)


def zs_short_classes(images, prompts, scale=100.0):
    return torch.softmax(scale * length_one(images) @ length_one(prompts).mean(1).T, 1)


def zs_raw_images(images, prompts, scale=100.0):
    classes = length_one(length_one(prompts).mean(1))
    return torch.softmax(scale * images @ classes.T, 1)


def zs_over_images(images, prompts, scale=100.0):
    classes = length_one(length_one(prompts).mean(1))
    return torch.softmax(scale * length_one(images) @ classes.T, 0)


def zs_always_hundred(images, prompts, scale=100.0):
    return zs_plain(images, prompts, 100.0)


def zs_temperature(images, prompts, scale=100.0):
    return zs_plain(images, prompts, 1 / scale)


def zs_hard(images, prompts, scale=100.0):
    return F.one_hot(zs_plain(images, prompts, scale).argmax(1), len(prompts)).float()


def zs_labels(images, prompts, scale=100.0):
    return zs_plain(images, prompts, scale).argmax(1)


def zs_log(images, prompts, scale=100.0):
    return zs_plain(images, prompts, scale).log()


def zs_exponentials(images, prompts, scale=100.0):
    classes = length_one(length_one(prompts).mean(1))
    e = (scale * length_one(images) @ classes.T).exp()
    return e / e.sum(1, keepdim=True)


def zs_other_default(images, prompts, scale=1 / 0.07):
    return zs_plain(images, prompts, scale)


def zs_distances(images, prompts, scale=100.0):
    classes = length_one(length_one(prompts).mean(1))
    return torch.softmax(-scale * torch.cdist(length_one(images), classes), 1)


# --- recall_at -----------------------------------------------------------------------------------


def in_range(similarity, k):
    if k < 1 or k > similarity.size(1):
        raise ValueError("k")


def ra_loops(similarity, k):
    in_range(similarity, k)
    hits = 0
    for i, row in enumerate(similarity.tolist()):
        before = sum(v >= row[i] for j, v in enumerate(row) if j != i)
        hits += before < k
    return torch.tensor(hits / len(similarity), dtype=torch.float64)


def ra_kth(similarity, k):
    """The partner is strictly above the k-th best of the others, or there are not so many."""
    in_range(similarity, k)
    n, m = similarity.shape
    others = similarity[~torch.eye(n, m).bool()].view(n, m - 1)
    if k > m - 1:
        return torch.tensor(1.0, dtype=torch.float64)
    return (similarity.diagonal() > others.topk(k, 1).values[:, -1]).double().mean()


def ra_masked(similarity, k):
    in_range(similarity, k)
    own = similarity.diag().unsqueeze(1)
    others = ~torch.eye(*similarity.shape, dtype=torch.bool)
    rank = ((similarity >= own) & others).sum(1)
    return (rank <= k - 1).to(torch.float64).mean()


def ra_topk(similarity, k):
    """Ties may fall to the partner."""
    in_range(similarity, k)
    best = similarity.topk(k, 1).indices
    own = torch.arange(len(similarity))[:, None]
    return (best == own).any(1).double().mean()


def ra_columns(similarity, k):
    in_range(similarity, k)
    return ra_masked(similarity[:, : len(similarity)].T, min(k, len(similarity)))


def ra_kind(similarity, k):
    """Ties count for the partner."""
    in_range(similarity, k)
    return ((similarity > similarity.diagonal()[:, None]).sum(1) < k).double().mean()


def ra_no_range(similarity, k):
    own = similarity.diagonal()[:, None]
    return ((similarity >= own).sum(1) - 1 < k).double().mean()


def ra_square_part(similarity, k):
    in_range(similarity, k)
    return ra_masked(similarity[:, : len(similarity)], min(k, len(similarity)))


def ra_first_only(similarity, k):
    return (
        ra_masked(similarity, 1) if k >= 1 and k <= similarity.size(1) else in_range(similarity, k)
    )


def ra_next(similarity, k):
    in_range(similarity, k)
    return ra_no_range(similarity, k + 1)


def ra_hits(similarity, k):
    return ra_masked(similarity, k) * len(similarity)


def ra_per_column(similarity, k):
    return ra_masked(similarity, k) * len(similarity) / similarity.size(1) / k


def ra_smallest(similarity, k):
    return ra_masked(-similarity, k)


def ra_median(similarity, k):
    in_range(similarity, k)
    return ((similarity >= similarity.diagonal()[:, None]).sum(1)).double().median()


# --- modality_gap --------------------------------------------------------------------------------


def mg_loops(images, sentences):
    a = torch.stack([length_one(x) for x in images]).mean(0)
    b = torch.stack([length_one(x) for x in sentences]).mean(0)
    return ((a - b) ** 2).sum().sqrt()


def mg_double(images, sentences):
    a, b = (F.normalize(x.double(), dim=1).sum(0) / len(x) for x in (images, sentences))
    return torch.linalg.vector_norm(a - b).to(images.dtype)


def mg_distance(images, sentences):
    a, b = (length_one(x).mean(0, keepdim=True) for x in (images, sentences))
    return torch.cdist(a, b).squeeze()


def mg_raw(images, sentences):
    return (images.mean(0) - sentences.mean(0)).norm()


def mg_directions(images, sentences):
    a, b = (length_one(length_one(x).mean(0)) for x in (images, sentences))
    return (a - b).norm()


def mg_after(images, sentences):
    a, b = (length_one(x.mean(0)) for x in (images, sentences))
    return (a - b).norm()


def mg_square(images, sentences):
    return mg_loops(images, sentences) ** 2


def mg_city(images, sentences):
    a, b = (length_one(x).mean(0) for x in (images, sentences))
    return (a - b).abs().sum()


def mg_angle(images, sentences):
    a, b = (length_one(x).mean(0) for x in (images, sentences))
    return 1 - F.cosine_similarity(a, b, dim=0)


def mg_pairs(images, sentences):
    n = min(len(images), len(sentences))
    return (length_one(images[:n]) - length_one(sentences[:n])).norm(dim=1).mean()


def mg_vector(images, sentences):
    return length_one(images).mean(0) - length_one(sentences).mean(0)


def mg_other_axis(images, sentences):
    a, b = (F.normalize(x, dim=0).mean(0) for x in (images, sentences))
    return (a - b).norm()


def mg_not_a_number(images, sentences):
    a, b = ((x / x.norm(dim=1, keepdim=True)).mean(0) for x in (images, sentences))
    return (a - b).norm()


# --- end_vectors ---------------------------------------------------------------------------------


def ev_loops(hidden, ids, end):
    found = []
    for h, row in zip(hidden, ids.tolist(), strict=True):
        found.append(h[row.index(end) if end in row else -1])
    return torch.stack(found)


def ev_smallest_place(hidden, ids, end):
    T = ids.shape[1]
    place = torch.where(ids == end, torch.arange(T), T - 1).amin(1)
    return hidden.gather(1, place[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]


def ev_mask(hidden, ids, end):
    hit = ids == end
    hit[:, -1] = True
    first = hit & (hit.long().cumsum(1) == 1)
    return (hidden * first[..., None]).sum(1)


def ev_largest(hidden, ids, end):
    """OpenAI's own way: the end has the largest number there, but not here."""
    return hidden[torch.arange(len(ids)), ids.argmax(1)]


def ev_argmax(hidden, ids, end):
    """Without an end: the first place."""
    return hidden[torch.arange(len(ids)), (ids == end).int().argmax(1)]


def ev_last(hidden, ids, end):
    return hidden[:, -1]


def ev_last_end(hidden, ids, end):
    T = ids.shape[1]
    place = torch.where(ids == end, torch.arange(T), -1).amax(1)
    return hidden[torch.arange(len(ids)), torch.where(place < 0, T - 1, place)]


def ev_before(hidden, ids, end):
    return ev_loops(hidden.roll(1, 1), ids, end)


def ev_words(hidden, ids, end):
    return (hidden * (ids != end)[..., None]).sum(1) / (ids != end).sum(1)[:, None]


def ev_zero_ends(hidden, ids, end):
    return ev_loops(hidden, ids, 0)


def ev_count(hidden, ids, end):
    place = (ids != end).sum(1).clamp(max=ids.shape[1] - 1)
    return hidden[torch.arange(len(ids)), place]


WRONG = [
    *(("contrastive_loss", f) for f in (
        cl_image_side, cl_text_side, cl_twice, cl_summed, cl_negative, cl_sigmoid, cl_squares,
        cl_others_only, cl_bits, cl_any_length, cl_temperature, cl_any_number, cl_exponentials,
        cl_detached,
    )),
    *(("zero_shot", f) for f in (
        zs_first_prompt, zs_raw_prompts, zs_short_classes, zs_raw_images, zs_over_images,
        zs_always_hundred, zs_temperature, zs_hard, zs_labels, zs_log, zs_exponentials,
        zs_other_default, zs_distances,
    )),
    *(("recall_at", f) for f in (
        ra_topk, ra_columns, ra_kind, ra_no_range, ra_square_part, ra_first_only, ra_next, ra_hits,
        ra_per_column, ra_smallest, ra_median,
    )),
    *(("modality_gap", f) for f in (
        mg_raw, mg_directions, mg_after, mg_square, mg_city, mg_angle, mg_pairs, mg_vector,
        mg_other_axis, mg_not_a_number,
    )),
    *(("end_vectors", f) for f in (
        ev_largest, ev_argmax, ev_last, ev_last_end, ev_before, ev_words, ev_zero_ends, ev_count,
    )),
]  # fmt: skip

RIGHT = [
    *(("contrastive_loss", f) for f in (cl_logsumexp, cl_log_softmax, cl_loops, cl_soft_targets)),
    *(("zero_shot", f) for f in (zs_plain, zs_einsum, zs_loops)),
    *(("recall_at", f) for f in (ra_loops, ra_kth, ra_masked)),
    *(("modality_gap", f) for f in (mg_loops, mg_double, mg_distance)),
    *(("end_vectors", f) for f in (ev_loops, ev_smallest_place, ev_mask)),
]
