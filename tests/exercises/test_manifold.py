"""Answers to the exercises of 23_manifold, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def nn_difference(distances):
    near, far = distances.log().unbind(dim=1)
    return 1 / (far - near).mean()


def nn_double(distances):
    r = distances.double()
    return torch.tensor(float(len(r))) / (r[:, 1] / r[:, 0]).log().sum()


def nn_loop(distances):
    return len(distances) / sum(math.log(b / a) for a, b in distances.tolist())


def nn_base_two(distances):
    return len(distances) / torch.log2(distances[:, 1] / distances[:, 0]).sum()


def nn_one_less(distances):
    return (len(distances) - 1) / torch.log(distances[:, 1] / distances[:, 0]).sum()


def nn_of_the_means(distances):
    near, far = distances.mean(dim=0)
    return 1 / torch.log(far / near)


def nn_median(distances):
    return 1 / torch.log(distances[:, 1] / distances[:, 0]).median()


def nn_vector(distances):
    return 1 / torch.log(distances[:, 1] / distances[:, 0])


def cp_jacobian(c, W):
    J = (c * (1 - c))[:, :, None] * W
    return J.pow(2).sum(dim=(1, 2))


def cp_einsum(c, W):
    return torch.einsum("bk,kd,kd->b", (c - c**2) ** 2, W, W)


def cp_loops(c, W):
    rows = []
    for one in c:
        rows.append(sum((one[j] * (1 - one[j])) ** 2 * W[j].dot(W[j]) for j in range(len(W))))
    return torch.stack(rows)


def cp_norm(c, W):
    return torch.linalg.matrix_norm((c * (1 - c))[:, :, None] * W) ** 2


def cp_half(c, W):
    return 0.5 * cp_jacobian(c, W)


def cp_mean_over_units(c, W):
    return cp_jacobian(c, W) / c.shape[1]


def cp_slope_twice(c, W):
    return cp_jacobian(torch.sigmoid(c), W)


def cp_columns(c, W):
    return (c * (1 - c)).square().sum(1) * W.square().sum()


def cp_detached(c, W):
    return cp_jacobian(c.detach(), W)


def cp_spectral(c, W):
    return torch.linalg.matrix_norm((c * (1 - c))[:, :, None] * W, ord=2) ** 2


def in_range(J, m):
    if not 1 <= m <= min(J.shape[1:]):
        raise ValueError(m)


def tv_full(J, m):
    in_range(J, m)
    return torch.linalg.svd(J)[2][:, :m, :]


def tv_gram(J, m):
    """Eigenvectors of JᵀJ, largest first."""
    in_range(J, m)
    return torch.linalg.eigh(J.double().mT @ J.double())[1].flip(-1)[..., :m].mT


def tv_loops(J, m):
    in_range(J, m)
    rows = [torch.linalg.svd(one, full_matrices=False).Vh[:m] for one in J]
    return -torch.stack(rows)


def tv_transposed(J, m):
    in_range(J, m)
    return torch.linalg.svd(J.mT, full_matrices=False).U[..., :m].mT


def tv_one_too_many(J, m):
    return torch.linalg.svd(J, full_matrices=False).Vh[:, : m + 1]


def tv_from_second(J, m):
    return torch.linalg.svd(J, full_matrices=False).Vh[:, 1 : m + 1]


def tv_of_the_mean(J, m):
    return torch.linalg.svd(J.mean(0), full_matrices=False).Vh[:m].expand(len(J), -1, -1)


def tv_qr(J, m):
    return torch.linalg.qr(J.mT)[0].mT[:, :m]


def tp_einsum(J, v):
    return torch.einsum("bcd,bmd->bcm", J, v).pow(2).sum() / len(J)


def tp_loops(J, v):
    total = 0.0
    for j, tangents in zip(J, v, strict=True):
        for t in tangents:
            total = total + (j @ t).dot(j @ t)
    return total / len(J)


def tp_double(J, v):
    return torch.linalg.matrix_norm(J.double() @ v.double().mT).square().mean()


def tp_half(J, v):
    return 0.5 * tp_einsum(J, v)


def tp_vector(J, v):
    return (J @ v.mT).square().sum(dim=(1, 2))


def tp_classes_first(J, v):
    return (J.sum(dim=1, keepdim=True) @ v.mT).square().sum(dim=(1, 2)).mean()


def tp_unit(J, v):
    return tp_einsum(J, torch.nn.functional.normalize(v, dim=-1))


def tp_number(J, v):
    return tp_einsum(J, v).item()


def mk_where(x, u, share):
    return torch.where(u < share, torch.zeros_like(x), x)


def mk_fill(x, u, share):
    return x.masked_fill(u < share, 0.0)


def mk_new(x, u, share):
    return x * (torch.rand_like(x) >= share)


def mk_pixel_row(x, u, share):
    return x * (u[:1] >= share)


def mk_faded(x, u, share):
    return x * (1 - share)


def mk_noise(x, u, share):
    return torch.where(u < share, u, x)


# ---- written against the clauses of the docstrings ----


def nn_scipy(distances):
    mu = (distances[:, 1] / distances[:, 0]).double().numpy()
    b, _, _ = stats.pareto.fit(mu, floc=0, fscale=1)
    return torch.tensor(b)


def nn_product(distances):
    return len(distances) / torch.log(torch.prod(distances[:, 1] / distances[:, 0]))


def nn_trimmed(distances):  # Facco's fit leaves out the largest tenth
    mu = (distances[:, 1] / distances[:, 0]).sort().values
    mu = mu[: int(0.9 * len(mu))]
    return len(mu) / mu.log().sum()


def nn_ties_dropped(distances):
    mu = distances[:, 1] / distances[:, 0]
    mu = mu[mu > 1]
    return len(mu) / mu.log().sum()


def nn_eps(distances):  # wrong for small distances
    return len(distances) / torch.log((distances[:, 1] + 1e-6) / (distances[:, 0] + 1e-6)).sum()


def nn_rounded(distances):
    return (len(distances) / torch.log(distances[:, 1] / distances[:, 0]).sum()).round()


def nn_mean_of_inverses(distances):
    return (1 / torch.log(distances[:, 1] / distances[:, 0])).mean()


def cp_logs(c, W):  # saturated units: NaN
    return torch.exp(2 * c.log() + 2 * (1 - c).log()) @ (W**2).sum(1)


def cp_clamped(c, W):
    c = c.clamp(1e-3, 1 - 1e-3)
    return (c * (1 - c)).square() @ W.square().sum(1)


def cp_root(c, W):
    J = (c * (1 - c))[:, :, None] * W
    return (J**2).sum((1, 2)).sqrt() ** 2


def cp_squeezed(c, W):
    return ((c * (1 - c)).square() @ W.square().sum(1)).squeeze()


def cp_dead_units_left_out(c, W):
    alive = (c > 1e-3) & (c < 1 - 1e-3)
    return (c * (1 - c) * alive).square() @ W.square().sum(1)


def cp_tanh(c, W):
    return (1 - c**2).square() @ W.square().sum(1)


def tv_numpy_loop(J, m):
    if not 0 < m <= min(J.shape[1], J.shape[2]):
        raise ValueError("m")
    return torch.stack([torch.from_numpy(np.linalg.svd(j.numpy())[2][:m]) for j in J])


def tv_torch_svd(J, m):
    if m > min(J.shape[1:]) or m <= 0:
        raise ValueError("too many")
    _, _, V = torch.svd(J)
    return V.transpose(1, 2)[:, :m]


def tv_no_error(J, m):
    return torch.linalg.svd(J, full_matrices=False).Vh[:, :m]


def tv_scaled(J, m):
    s = torch.linalg.svd(J, full_matrices=False)
    return s.S[:, :m, None] * s.Vh[:, :m]


def tv_squeezed(J, m):
    return torch.linalg.svd(J, full_matrices=False).Vh[:, :m].squeeze()


def tv_ascending(J, m):
    return torch.linalg.eigh(J.mT @ J).eigenvectors[:, :, -m:].mT


def tv_columns(J, m):
    return torch.linalg.svd(J, full_matrices=False).Vh[:, :m].mT


def tp_matmul(J, v):
    return (J @ v.mT).pow(2).sum() / len(J)


def tp_gram(J, v):
    return torch.einsum("bmd,bcd,bce,bme->b", v, J, J, v).mean()


def tp_root(J, v):  # NaN gradient where nothing changes
    return (J @ v.mT).square().sum(1).sqrt().square().sum(1).mean()


def tp_per_tangent(J, v):
    return (J @ v.mT).square().sum(1).mean()


def tp_all_pairs(J, v):
    return torch.einsum("bcd,amd->bamc", J, v).square().sum((2, 3)).mean()


def tp_tangents_fixed(J, v):
    return (J @ v.detach().mT).square().sum((1, 2)).mean()


def tp_summed_tangents(J, v):
    return (J @ v.sum(1)[..., None]).square().sum((1, 2)).mean()


def tp_absolute(J, v):
    return (J @ v.mT).abs().sum((1, 2)).mean()


def mk_clone(x, u, share):
    y = x.clone()
    y[u < share] = 0
    return y


def mk_heaviside(x, u, share):
    gap = u.detach() - torch.tensor(share, dtype=u.dtype)  # it has no derivative
    return x * torch.heaviside(gap, torch.ones(()))


def mk_above(x, u, share):
    return x * (u > share)


def mk_dropout(x, u, share):
    return x * (u >= share) / max(1 - share, 1e-6)


def mk_quantile(x, u, share):  # exactly the share of the smallest
    n = int(share * u[0].numel())
    out = x.clone().flatten(1)
    order = u.flatten(1).argsort(1)[:, :n]
    return out.scatter(1, order, 0).view_as(x)


def mk_inverted(x, u, share):
    return x * (u < share)


def mk_rows(x, u, share):
    return x * (u[..., :1] >= share)


def mk_binary(x, u, share):  # pixels that stay become 1
    return ((u >= share) & (x > 0)).to(x.dtype)


def mk_inplace(x, u, share):
    x[u < share] = 0
    return x


def mk_zero_share(x, u, share):  # share or a default
    return x * (u >= (share or 0.5))


NN, CP, TV = "two_nn", "contractive_penalty", "tangent_vectors"
TP, MK = "tangent_prop_penalty", "masked"
RIGHT = [
    *((NN, f) for f in (nn_difference, nn_double, nn_loop)),
    *((CP, f) for f in (cp_jacobian, cp_einsum, cp_loops, cp_norm)),
    *((TV, f) for f in (tv_full, tv_gram, tv_loops, tv_transposed)),
    *((TP, f) for f in (tp_einsum, tp_loops, tp_double)),
    *((MK, f) for f in (mk_where, mk_fill)),
    *((NN, f) for f in (nn_scipy,)),
    *(
        (TV, f)
        for f in (
            tv_numpy_loop,
            tv_torch_svd,
        )
    ),
    *(
        (TP, f)
        for f in (
            tp_matmul,
            tp_gram,
        )
    ),
    *(
        (MK, f)
        for f in (
            mk_clone,
            mk_heaviside,
        )
    ),
]
WRONG = [
    *((NN, f) for f in (nn_base_two, nn_one_less, nn_of_the_means, nn_median, nn_vector)),
    *((CP, f) for f in (cp_half, cp_mean_over_units, cp_slope_twice, cp_columns)),
    *((CP, f) for f in (cp_detached, cp_spectral)),
    *((TV, f) for f in (tv_one_too_many, tv_from_second, tv_of_the_mean, tv_qr)),
    *((TP, f) for f in (tp_half, tp_vector, tp_classes_first, tp_unit, tp_number)),
    *((MK, f) for f in (mk_new, mk_pixel_row, mk_faded, mk_noise)),
    *(
        (NN, f)
        for f in (
            nn_product,
            nn_trimmed,
            nn_ties_dropped,
            nn_eps,
            nn_rounded,
            nn_mean_of_inverses,
        )
    ),
    *(
        (CP, f)
        for f in (
            cp_logs,
            cp_clamped,
            cp_root,
            cp_dead_units_left_out,
            cp_squeezed,
            cp_tanh,
        )
    ),
    *(
        (TV, f)
        for f in (
            tv_no_error,
            tv_scaled,
            tv_squeezed,
            tv_ascending,
            tv_columns,
        )
    ),
    *(
        (TP, f)
        for f in (
            tp_root,
            tp_per_tangent,
            tp_all_pairs,
            tp_tangents_fixed,
            tp_summed_tangents,
            tp_absolute,
        )
    ),
    *(
        (MK, f)
        for f in (
            mk_above,
            mk_dropout,
            mk_quantile,
            mk_inverted,
            mk_rows,
            mk_binary,
            mk_inplace,
            mk_zero_share,
        )
    ),
]

SAID = [
    (CP, cp_half, "is 1/2 times the expected one"),
    (CP, cp_detached, "no gradient flows back to c"),
    (CP, cp_clamped, "A unit that is saturated"),
    (TV, tv_no_error, "If more are asked for, raise a ValueError"),
    (MK, mk_above, "exactly the share stays"),
    (TP, tp_number, "no gradient flows back"),
    (MK, mk_new, "random numbers of its own"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "23_manifold"), answer).sentence


def test_a_tangent_vector_has_no_sign():
    exercise = register.find(TV, "23_manifold")
    assert diagnose(exercise, tv_loops).state == "correct"
