"""Exercises of notebook 23_manifold: dimension, contraction, tangent vectors, Tangent Prop."""

import torch

from genai_utils.checks import exercise
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
    sizes = ((3, 4, 9, 2), (4, 5, 7, 3), (5, 3, 8, 1))
    return [(normal(b, k, d), m) for b, k, d, m in sizes]


def _each_up_to_sign(v):
    """v_j v_jᵀ for each vector: what does not change with the sign."""
    return v[..., :, None] * v[..., None, :]


def _svd(J):
    return torch.linalg.svd(J, full_matrices=False)


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

    def case(b, h, w, share):
        x, u = torch.rand(2, b, h, w, generator=g)
        return x, u, share

    return [case(3, 4, 6, 0.25), case(4, 7, 5, 0.6), case(5, 8, 3, 0.4)]


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
    hints=[
        "u is uniform: it falls below 0.3 for 30 % of the pixels.",
        "A comparison gives True and False, which count as 1 and 0 in a product.",
    ],
    grad=["x"],
)
