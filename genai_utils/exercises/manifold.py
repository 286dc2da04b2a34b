"""Exercises of notebook 23_manifold: dimension, contraction, tangent vectors, Tangent Prop."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.vision import manifold, tangent_prop

NOTEBOOK = "23_manifold"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


# --- two_nn --------------------------------------------------------------------------------------


def _distances(seed):
    normal = _normal(seed)
    return [(normal(n, 2).abs().add(0.2).cumsum(dim=1),) for n in (3, 5, 11)]


def _log_ratio(r):
    return torch.log(r[:, 1] / r[:, 0])


def _ties(seed):
    r = _normal(seed)(7, 2).abs().add(0.2).cumsum(dim=1)
    r[2:5, 1] = r[2:5, 0]
    return [(r,)]


def _ties_left_out(r):
    r = r[r[:, 1] > r[:, 0]]
    return len(r) / _log_ratio(r).sum()


def _many(seed):
    return [(_normal(seed)(5_000, 2).abs().add(0.2).cumsum(dim=1),)]


exercise(
    manifold.two_nn,
    cases=_distances,
    mistakes={
        "upside down": (
            lambda r: _log_ratio(r).sum() / len(r),
            "Yours is one over the dimension. Ratios close to 1 mean many dimensions, so the sum "
            "of their logarithms stands below.",
        ),
        "ratio turned": (
            lambda r: -len(r) / _log_ratio(r).sum(),
            "You divided the near distance by the far one: the logarithm is then negative, and so "
            "is your dimension.",
        ),
        "no logarithm": (
            lambda r: len(r) / (r[:, 1] / r[:, 0]).sum(),
            "You added the ratios themselves. Their logarithms are wanted.",
        ),
        "mean of the single estimates": (
            lambda r: (1 / _log_ratio(r)).mean(),
            "You averaged one estimate per point, and a single ratio near 1 spoils that mean. "
            "Add the logarithms first, then divide once.",
        ),
        "decimal logarithm": (
            lambda r: len(r) / torch.log10(r[:, 1] / r[:, 0]).sum(),
            "You took the logarithm to base ten. The natural one is wanted, torch.log.",
        ),
        "one point less": (
            lambda r: (len(r) - 1) / _log_ratio(r).sum(),
            "You divided n - 1 by the sum. That estimate is unbiased; the one of maximum "
            "likelihood, which is asked for, has n.",
        ),
        "logarithm of the mean": (
            lambda r: 1 / torch.log((r[:, 1] / r[:, 0]).mean()),
            "You took the mean of the ratios and then its logarithm. First the logarithm of each "
            "ratio, then the mean.",
        ),
    },
    clauses={
        "neighbours equally near": Clause(
            _ties,
            "A point whose two neighbours are equally near counts, too: its logarithm is 0, and n "
            "is the number of all points.",
            _ties_left_out,
        ),
        "unit of length": Clause(
            lambda seed: [(1e-8 * r,) for (r,) in _distances(seed)],
            "Only the ratios of distances count, so that the unit of length changes nothing: a "
            "small number added to the distances does.",
            lambda r: len(r) / _log_ratio(r + 1e-7).sum(),
        ),
        "many points": Clause(
            _many,
            "With thousands of points the product of the ratios overflows. Take the logarithms "
            "first, then add them.",
            lambda r: len(r) / torch.log((r[:, 1] / r[:, 0]).double().prod()),
        ),
    },
    hints=[
        "First the ratio r2 / r1 of each point, then its logarithm, then the sum.",
        "len(distances) / torch.log(ratio).sum()",
    ],
)


# --- contractive_penalty -------------------------------------------------------------------------


def _codes(seed):
    normal = _normal(seed)
    return [(normal(b, k).sigmoid(), normal(k, d)) for b, k, d in ((3, 2, 5), (4, 7, 3), (6, 5, 8))]


def _slopes(c):
    return c * (1 - c)


def _penalty(c, W):
    return _slopes(c).square() @ W.square().sum(1)


def _saturated(seed):
    normal = _normal(seed)
    c = normal(4, 5).sigmoid()
    c[0, :2], c[1, 3] = 0.0, 1.0
    c[2] = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])  # the whole example
    small = normal(3, 4).sigmoid() * 1e-5
    return [(c, normal(5, 3)), (small, normal(4, 6))]


exercise(
    manifold.contractive_penalty,
    cases=_codes,
    mistakes={
        "slopes not squared": (
            lambda c, W: _slopes(c) @ W.square().sum(1),
            "You left the slope c(1 - c) unsquared. It is a factor of every entry of the "
            "Jacobian, and the entries are squared.",
        ),
        "weights not squared": (
            lambda c, W: _slopes(c).square() @ W.sum(1),
            "You left the weights unsquared. The Frobenius norm squares every entry.",
        ),
        "square root taken": (
            lambda c, W: (_slopes(c).square() @ W.square().sum(1)).sqrt(),
            "You took the square root: that is the norm. The penalty is the squared norm.",
        ),
        "tanh instead of sigmoid": (
            lambda c, W: (1 - c**2).square() @ W.square().sum(1),
            "You used the slope of tanh, 1 - c². For a sigmoid it is c(1 - c).",
        ),
        "summed before squaring": (
            lambda c, W: (_slopes(c) @ W).square().sum(1),
            "You added the rows of the Jacobian before squaring. Square each entry, then add.",
        ),
        "mean over the batch": (
            lambda c, W: (_slopes(c).square() @ W.square().sum(1)).mean(),
            "You averaged over the batch as well. One number per example is wanted, shape (B,).",
        ),
        "slope forgotten": (
            lambda c, W: W.square().sum().expand(len(c)),
            "You have the squared norm of W. Each row of the Jacobian is a row of W times the "
            "slope c(1 - c) of its unit.",
        ),
        "slope of a slope": (
            lambda c, W: _penalty(c.sigmoid(), W),
            "You applied the sigmoid to c. The code c is its result already.",
        ),
    },
    clauses={
        "saturated units": Clause(
            _saturated,
            "A unit that is saturated (c of 0 or 1, or nearly) adds nothing, or next to nothing, "
            "and its gradient is 0, not NaN: no logarithm, no root, no clamp is needed.",
            lambda c, W: torch.exp(2 * c.log() + 2 * (1 - c).log()) @ W.square().sum(1),
        ),
        "sizes of one": Clause(
            lambda seed: [
                (_normal(seed)(b, k).sigmoid(), _normal(seed)(k, d))
                for b, k, d in ((1, 4, 3), (3, 1, 2), (3, 4, 1), (1, 1, 1))
            ],
            "One example, one unit or one pixel changes nothing: the shape is (B,), also where B "
            "is 1.",
            lambda c, W: _penalty(c, W).squeeze(),
        ),
    },
    hints=[
        "Row j of the Jacobian is c_j (1 - c_j) times row j of W.",
        "Its squared length is the squared slope times W[j].square().sum().",
        "(c * (1 - c)).square() @ W.square().sum(dim=1) adds them up over j.",
    ],
    grad=True,
)


# --- tangent_vectors -----------------------------------------------------------------------------


def _jacobians(seed):
    normal = _normal(seed)
    # Also more units than pixels, and one tangent only.
    sizes = ((3, 4, 9, 2), (4, 5, 7, 3), (5, 3, 8, 1), (3, 8, 4, 3))
    return [(normal(b, k, d), m) for b, k, d, m in sizes]


def _each_up_to_sign(v):
    """v_j v_jᵀ for each vector: what does not change with the sign."""
    return v[..., :, None] * v[..., None, :]


def _svd(J):
    return torch.linalg.svd(J, full_matrices=False)


def _in_range(J, m):
    if not 1 <= m <= min(J.shape[1:]):
        raise ValueError("m")


def _first(J, m):
    _in_range(J, m)
    return _svd(J).Vh[:, :m]


def _no_upper_bound(J, m):
    if m < 1:
        raise ValueError("m")
    return torch.linalg.svd(J).Vh[:, :m]


def _no_lower_bound(J, m):
    _in_range(J, max(m, 1))
    return _svd(J).Vh[:, :m]


def _sized(seed, *sizes):
    normal = _normal(seed)
    return [(normal(b, k, d), m) for b, k, d, m in sizes]


exercise(
    manifold.tangent_vectors,
    cases=_jacobians,
    mistakes={
        "rows of V": (
            lambda J, m: torch.linalg.svd(J).Vh.mT[:, :m, :],
            "You took rows of V, as the slide says (erratum N16). Right singular vectors are its "
            "columns, which are the rows of Vh.",
        ),
        "the smallest": (
            lambda J, m: _svd(J).Vh[:, -m:, :],
            "These belong to the smallest singular values: directions that change the code least. "
            "The values come in falling order.",
        ),
        "left singular vectors": (
            lambda J, m: _svd(J).U.mT[:, :m],
            "These are left singular vectors: directions in the code. A tangent vector has as "
            "many numbers as the input.",
        ),
        "scaled by the singular values": (
            lambda J, m: (_svd(J).S[..., None] * _svd(J).Vh)[:, :m],
            "You multiplied by the singular values. Unit vectors are wanted.",
        ),
        "columns instead of rows": (
            lambda J, m: _svd(J).Vh[:, :m, :].mT,
            "Right vectors, but as columns: the shape (B, m, d) is wanted, one vector in each row.",
        ),
        "largest rows of J": (
            lambda J, m: torch.nn.functional.normalize(J[:, :m], dim=-1),
            "These are rows of J: what changes one code unit most. The SVD finds what changes all "
            "of them together most.",
        ),
        "rising order": (
            lambda J, m: _svd(J).Vh[:, :m].flip(1) if m > 1 else _svd(J).Vh[:, -1:],
            "The largest singular value comes first; eigh, other than svd, gives rising ones.",
        ),
    },
    clauses={
        "more tangents than there are": Clause(
            lambda seed: _sized(seed, (3, 4, 6, 5), (3, 6, 4, 5)),
            "J has no more than min(k, d) tangent vectors. If more are asked for, raise a "
            "ValueError: what completes the basis changes the code not at all.",
            _no_upper_bound,
            raises=ValueError,
        ),
        "no tangent": Clause(
            lambda seed: _sized(seed, (3, 4, 6, 0), (3, 4, 6, -1)),
            "At least one tangent must be asked for: raise a ValueError where m is below 1.",
            _no_lower_bound,
            raises=ValueError,
        ),
        "one example": Clause(
            lambda seed: _sized(seed, (1, 3, 5, 2), (1, 4, 6, 1)),
            "One example keeps the dimension of the batch: the shape is (B, m, d), here (1, m, d).",
            lambda J, m: _first(J, m).squeeze(0),
        ),
    },
    hints=[
        "torch.linalg.svd takes a batch of matrices and gives U, S, Vh, with J = U diag(S) Vh.",
        "Vh is V transposed, so the columns of V are the rows of Vh.",
        "With full_matrices=False take Vh[..., :m, :].",
    ],
    canonical=_each_up_to_sign,
)


# --- tangent_prop_penalty ------------------------------------------------------------------------


def _directions(seed):
    normal = _normal(seed)
    sizes = ((3, 4, 7, 2), (4, 3, 6, 5), (5, 2, 8, 3))
    return [(normal(b, c, d), normal(b, m, d)) for b, c, d, m in sizes]


def _changes(J, v):
    return J @ v.mT  # (B, classes, m)


def _blank(seed):
    ((J, v),) = _directions(seed)[:1]
    v[1, 0] = 0.0  # the tangent of an image that does not change
    return [(J, v)]


def _single(seed):
    normal = _normal(seed)
    sizes = ((1, 4, 7, 3), (3, 4, 7, 1), (3, 1, 5, 2))
    return [(normal(b, c, d), normal(b, m, d)) for b, c, d, m in sizes]


def _squeezed_changes(J, v):
    return _changes(J, v).squeeze(0).square().flatten(1).sum(1).mean()


exercise(
    tangent_prop.tangent_prop_penalty,
    cases=_directions,
    mistakes={
        "not squared": (
            lambda J, v: _changes(J, v).sum(dim=(1, 2)).mean(),
            "You added the directional derivatives unsquared, as the slide does (erratum N17). "
            "They may be negative, and their sum has no lower bound.",
        ),
        "absolute values": (
            lambda J, v: _changes(J, v).abs().sum(dim=(1, 2)).mean(),
            "You added absolute values. Squares are wanted.",
        ),
        "norm instead of its square": (
            lambda J, v: _changes(J, v).norm(dim=1).sum(dim=1).mean(),
            "You added the lengths ‖J v‖. Their squares are wanted.",
        ),
        "sum over the examples": (
            lambda J, v: _changes(J, v).square().sum(),
            "You summed over the examples as well. The mean over them is wanted, so that the "
            "weight of the penalty does not depend on the batch size.",
        ),
        "mean over everything": (
            lambda J, v: _changes(J, v).square().mean(),
            "You averaged over classes and tangents too. Sum over both; only over the examples "
            "is it a mean.",
        ),
        "one direction of all": (
            lambda J, v: _changes(J, v).sum(dim=2).square().sum(dim=1).mean(),
            "You added the tangents of an example before squaring, so that they can cancel. "
            "Square each change, then add.",
        ),
        "whole Jacobian": (
            lambda J, v: J.square().sum(dim=(1, 2)).mean(),
            "This is the norm of the Jacobian: it forbids change in every direction. Only the "
            "directions v count.",
        ),
        "mean over the tangents": (
            lambda J, v: _changes(J, v).square().sum(dim=1).mean(),
            "You averaged over the tangents, too. Their squared changes add up; the mean is over "
            "the examples only.",
        ),
    },
    clauses={
        "no change": Clause(
            _blank,
            "A tangent of zeros, as a blank image has, adds 0, and the gradient there is 0, not "
            "NaN: a root that is squared again has no gradient at 0.",
            lambda J, v: _changes(J, v).square().sum(1).sqrt().square().sum(1).mean(),
        ),
        "sizes of one": Clause(
            _single,
            "One example, one class or one tangent changes nothing: the squares add up over "
            "classes and tangents, and the mean is over the examples.",
            _squeezed_changes,
        ),
    },
    hints=[
        "J_i v_ij is the change of all outputs along one tangent: a vector of `classes` numbers.",
        "J @ v.mT has the shape (B, classes, m). Square it, sum over the last two dimensions.",
        "Then take the mean over the examples.",
    ],
    grad=True,
)


# --- masked --------------------------------------------------------------------------------------


def _images(seed):
    g = torch.Generator().manual_seed(seed)

    def case(share, *shape):
        x, u = torch.rand(2, *shape, generator=g)
        return x, u, share

    return [case(0.25, 3, 4, 6), case(0.6, 4, 1, 7, 5), case(0.4, 5, 24)]


def _drawn_shares(seed):
    cases = []
    for (x, u, _), share in zip(_images(seed), (0.25, 0.5, 0.75), strict=True):
        u.flatten()[::3] = share
        cases.append((x, u, share))
    return cases


def _ends(seed):
    x, u, _ = _images(seed)[0]
    u.flatten()[::4] = 0.0  # uniform in [0, 1): zero may be drawn, one may not
    return [(x, u, 0.0), (x, u, 1.0)]


def _other_values(seed):
    return [(4 * x - 2, u, share) for x, u, share in _images(seed)]


exercise(
    manifold.masked,
    cases=_images,
    mistakes={
        "kept and dropped exchanged": (
            lambda x, u, share: x * (u < share),
            "You kept what should go. A pixel becomes 0 where u is below the share.",
        ),
        "scaled like dropout": (
            lambda x, u, share: x * (u >= share) / (1 - share),
            "You scaled up the pixels that stay, as dropout does. Here they keep their values.",
        ),
        "set to one": (
            lambda x, u, share: torch.where(u >= share, x, 1.0),
            "You set the masked pixels to 1. They become 0.",
        ),
        "the mask itself": (
            lambda x, u, share: (u >= share).float(),
            "You returned the mask. Multiply the image by it.",
        ),
        "compared with the pixel": (
            lambda x, u, share: x * (x >= share),
            "You compared the pixels with the share. The random numbers u decide.",
        ),
    },
    clauses={
        "exactly the share": Clause(
            _drawn_shares,
            "A pixel whose number is exactly the share stays: only what falls below it goes.",
            lambda x, u, share: x * (u > share) if share else x * (u >= 0),
        ),
        "none and all": Clause(
            _ends,
            "A share of 0 masks no pixel, not even where u is 0; a share of 1 masks all of them.",
            lambda x, u, share: x * (u >= (share or 0.5)),
        ),
        "values of any size": Clause(
            _other_values,
            "The pixels that stay keep their values, negative ones and those above 1 too.",
            lambda x, u, share: (x * (u >= share)).clamp(0, 1),
        ),
    },
    hints=[
        "u is uniform: it falls below 0.3 for 30 % of the pixels.",
        "A comparison gives True and False, which count as 1 and 0 in a product.",
    ],
    grad=["x"],
)
