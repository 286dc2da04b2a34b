"""Vectors of two kinds that should agree in pairs: the losses, their optimum, and what to measure.

Symbols: I (B, d) vectors of images, T (B, d) of sentences, all of length 1; S = I Tᵀ their cosines,
where I_i and T_i are a pair; τ > 0 the scale of the cosines, 1 over a temperature.

Sources: Radford et al. 2021 (CLIP); Oord et al. 2018 (InfoNCE); Welch 1974; Liang et al. 2022 (the
modality gap). Lecture items B52 to B55, errata Y25 and Y26.
"""

import math

import torch
import torch.nn.functional as F

from genai_utils.inputs import refusal, whole


def unit(x):
    """Vectors divided by their length, (…, d) → (…, d). A zero vector stays zero."""
    return F.normalize(x, dim=-1)


def contrastive_loss(images, sentences, scale):
    """CLIP's loss: of all sentences of the batch each image finds its own, and the other way round.

        S_ij = cos(image i, sentence j)
        loss = ½ mean_i −log softmax over j of τ S_ij at j = i      image → sentence
             + ½ mean_j −log softmax over i of τ S_ij at i = j      sentence → image

    Only differences within a row or a column of S matter: a number added to all changes nothing.
    images, sentences (B, d), of any length, in pairs; scale τ, a number or a tensor, which may be
    large. Returns a scalar in nats; log B where all cosines are alike, 0 for B = 1.
    Raises ValueError where there are not as many sentences as images.
    Source: Radford et al. 2021, figure 3; lecture item B53.
    """
    if len(images) != len(sentences):
        raise ValueError(
            f"sentences: expected one for each of {len(images)}, got {len(sentences)}."
        )
    S = F.normalize(images, dim=-1) @ F.normalize(sentences, dim=-1).T  # (B, B)
    logits, own = scale * S, torch.arange(len(S), device=S.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def identity_loss(cosines):
    """The slide, taken by its word: cosines as near to the identity matrix as can be.

        loss = mean over i, j of (S_ij − [i = j])²

    cosines (B, B). Returns a scalar. Source: lecture item B53, erratum Y26.
    """
    wanted = torch.eye(len(cosines), device=cosines.device, dtype=cosines.dtype)
    return ((cosines - wanted) ** 2).mean()


def simplex(B, d):
    """B unit vectors in d dimensions that are as far from each other as can be, all alike: (B, d).

    Each pair has the inner product −1/(B − 1): for B = 3 a triangle's corners, −½. It is what
    `contrastive_loss` comes to with I = T. The sum of the vectors is 0.
    Raises ValueError for B < 2, or B > d + 1, where there are no such vectors.
    Source: erratum Y26; Wang and Isola 2020.
    """
    whole(d, "d")
    whole(B, "B", least=2)
    if d + 1 < B:
        raise refusal("B", f"at most d + 1 = {d + 1} vectors in {d} dimensions", f"{B}")
    corners = torch.eye(B, dtype=torch.float64) - 1 / B  # on a plane of B − 1 dimensions
    axes = torch.linalg.svd(corners).Vh[: B - 1]  # (B − 1, B)
    flat = corners @ axes.T  # (B, B − 1)
    flat = flat / flat.norm(dim=1, keepdim=True)
    return F.pad(flat, (0, d - (B - 1))).to(torch.get_default_dtype())


def welch_bound(B, d):
    """No B unit vectors in d dimensions have all |inner products| below this number.

        √((B − d) / (d (B − 1)))  for B > d;   0 for B ≤ d, where they can be orthogonal

    Source: Welch 1974; erratum Y26.
    """
    whole(d, "d")
    whole(B, "B", least=2)
    return math.sqrt(max(B - d, 0) / (d * (B - 1)))


def zero_shot(images, prompts, scale=100.0):
    """How probable each class is for each image, from prompts alone: no image was ever labelled.

        softmax over k of τ cos(image, C_k),   C_k: the mean of the directions of class k's prompts

    Each prompt counts alike, whatever its length, and each class vector has length 1 again.
    images (n, d), prompts (K, P, d): P prompts for each of K classes; both of any length. scale τ
    may be large, as 1,000 is. Returns (n, K), whose rows sum to 1.
    Source: Radford et al. 2021, sections 3.1.2 and 3.1.4; lecture item B55.
    """
    images, prompts = F.normalize(images, dim=-1), F.normalize(prompts, dim=-1)
    classes = F.normalize(prompts.mean(1), dim=-1)  # (K, d)
    return (scale * images @ classes.T).softmax(-1)


def recall_at(similarity, k):
    """Retrieval: the share of rows whose partner is among the k most similar columns.

    The partner of row i is column i. Columns that are exactly as similar as the partner count as
    before it: who gives all the same number has found nothing.
    similarity (n, m), m ≥ n; k from 1 to m. Returns a scalar tensor in [0, 1].
    Raises ValueError for k out of range. Source: lecture item B52.
    """
    if not 1 <= k <= similarity.shape[1]:
        raise ValueError(f"k: expected 1 to {similarity.shape[1]}, got {k}.")
    own = similarity.diagonal()[:, None]  # (n, 1)
    before = (similarity >= own).sum(1) - 1  # all but the partner itself
    return (before < k).double().mean()


def modality_gap(images, sentences):
    """The distance between the middle of the images and the middle of the sentences.

        ‖mean_i I_i − mean_j T_j‖

    images (n, d), sentences (m, d), of any length: they are brought to length 1 first, and one of
    zeros stays so. Returns a scalar from 0 to 2. Source: Liang et al. 2022, section 2.
    """
    images, sentences = F.normalize(images, dim=-1), F.normalize(sentences, dim=-1)
    return (images.mean(0) - sentences.mean(0)).norm()


def end_vectors(hidden, ids, end):
    """The vector of each sentence: what the network has at its end token, the first one.

    Of a network that looks back only, this place is the first that has read the whole sentence;
    what fills up after it has no effect. A sentence without an end is read to its last token.

    hidden (B, T, d); ids (B, T) int64; end: a token. Returns (B, d).
    Source: Radford et al. 2021, section 2.4.
    """
    before = (ids == end).long().cumsum(1) == 0  # (B, T): the end has not come yet
    place = before.sum(1).clamp(max=ids.shape[1] - 1)
    return hidden[torch.arange(len(ids), device=ids.device), place]
