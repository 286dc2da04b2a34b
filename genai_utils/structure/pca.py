"""Principal component analysis: the best linear autoencoder, and four ways to find it.

Symbols follow the lecture: X (n, d) holds one example per row, X = U diag(s) V^T is its singular
value decomposition, k the number of components kept, z = V_k^T (x - mean) the code of one example
(the lecture's "loading vector", elsewhere: scores).

Sources: Eckart & Young 1936; Baldi & Hornik 1989 (linear autoencoders); Halko, Martinsson & Tropp
2011 (subspace iteration from a random start); Musco & Musco 2015 (block Krylov). Lecture items
B2-B25.
"""

import math

import torch
from torch import Tensor, nn

from genai_utils.inputs import array, matrix, number, one_of, refusal, whole


def origin(X: Tensor) -> Tensor:
    """A round point (d,) near the data, so that X - origin is exact; 0 for data that lie around 0.

    In each column a multiple of a power of two that is two to four times the column's range.
    """
    low, high = X.amin(dim=0), X.amax(dim=0)
    width = high - low  # mantissa * 2^exponent
    unit = torch.where(width > 0, 2 * width / torch.frexp(width).mantissa, 1.0)
    return ((low / 2 + high / 2) / unit).trunc() * unit


def moved(X: Tensor, near: Tensor) -> Tensor:
    """X - near; where near is 0 X itself, for to copy much data takes longer than to use it."""
    return X - near if near.any() else X


def fix_signs(U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Flip (u_i, v_i), defined only up to a common sign: the largest entry of v_i is positive."""
    largest = V.abs().argmax(dim=0, keepdim=True)  # (1, k)
    signs = torch.where(V.gather(0, largest) < 0, -1.0, 1.0).to(V.dtype)
    return U * signs, V * signs


def thin_svd(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X = U diag(s) V^T with r = min(n, d) columns: returns U (n, r), s (r,) falling, V (d, r).

    Note V, not V^T. Costs O(n d min(n, d)) time. A tall X goes through X = Q R, whose R (d, d) has
    the same s and V: several times quicker, most of all on a graphics card. Lecture item B3.
    """
    X = matrix(X, "X")
    tall = X.shape[0] > 2 * X.shape[1]
    Q, R = torch.linalg.qr(X) if tall else (None, X)
    U, s, Vt = torch.linalg.svd(R, full_matrices=False)
    U, V = fix_signs(U, Vt.T)  # (n or d, r), (d, r)
    return Q @ U if tall else U, s, V


def gram(X: Tensor) -> Tensor:
    """X^T X (d, d), symmetric. NumPy sees that both factors are one matrix and computes half."""
    if X.requires_grad or X.device.type != "cpu":
        return X.T @ X
    rows = X.numpy()
    return torch.from_numpy(rows.T @ rows)


def scatter(X: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) of the rows and centred X^T X (d, d), X (n, d) being looked at once, in parts.

    With `near` a point among the rows and m the mean of x - near, the sum over all rows of
    (x - near - m)(x - near - m)^T is that of (x - near)(x - near)^T less n m m^T. As m is short,
    no digit is lost by the difference, nor far from the origin.
    """
    n, d = X.shape
    near = X[:: max(1, n // 2_048)].mean(dim=0)
    total, G = X.new_zeros(d), X.new_zeros(d, d)
    for rows in X.split(8_192):  # a copy of all rows takes longer than its use
        rows = rows - near
        total += rows.sum(dim=0)
        G += gram(rows)
    m = total / n
    return near + m, G - n * torch.outer(m, m)


def gram_factors(G: Tensor) -> tuple[Tensor, Tensor]:
    """s (d,) falling and V (d, d) of X, from G = X^T X = V diag(s^2) V^T (d, d)."""
    values, V = torch.linalg.eigh(G)  # ascending
    return values.flip(0).clamp(min=0).sqrt(), V.flip(1)


def eigen_svd(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same three factors from the eigenvectors of X^T X (or of X X^T if X is wide).

    X^T X = V diag(s^2) V^T. Quick when one side is short, but it squares the condition number:
    singular values below sqrt(machine epsilon) * s_1 are noise, and their columns of the longer
    factor are 0. Lecture item B10.
    """
    X = matrix(X, "X")
    if X.shape[0] < X.shape[1]:
        V, s, U = eigen_svd(X.T)
    else:
        s, V = gram_factors(gram(X))
        noise = torch.finfo(s.dtype).eps ** 0.5 * s[0]
        U = X @ V / torch.where(s > noise, s, torch.inf)  # (n, d)
    U, V = fix_signs(U, V)
    return U, s, V


def power_iteration_step(X: Tensor, v: Tensor) -> Tensor:
    """One step of power iteration: v <- X^T X v / ||X^T X v||.

    X is (n, d), v is (d,), of any length; returns a vector (d,) of length 1. Compute X v first: the
    two products cost O(n d), while forming X^T X would cost O(n d^2).
    """
    w = X.T @ (X @ v)  # (d,)
    return w / w.norm()


def power_iteration(X: Tensor, tolerance=1e-10, most=10_000, seed=0) -> tuple[float, Tensor, int]:
    """First singular value, first right singular vector (d,) and the steps it took.

    Repeats the step from a random vector until v moves by less than `tolerance`. The error shrinks
    by (s_2 / s_1)^2 per step, so a small gap means many steps.
    """
    X = matrix(X, "X")
    if not X.any():
        raise refusal("X", "a matrix with a first principal component", "zeros everywhere")
    unit = 2.0 ** math.frexp(X.abs().max().item())[1]  # X^T X v must not run out of range
    X, generator = X / unit, torch.Generator().manual_seed(seed)
    v = torch.randn(X.shape[1], generator=generator, dtype=torch.float64).to(X)
    steps, moved, v = 0, 1.0, v / v.norm()
    while moved > tolerance and steps < most:
        new = power_iteration_step(X, v)
        steps, moved, v = steps + 1, (new - v).norm(), new
    v = fix_signs(v[:, None], v[:, None])[1][:, 0]
    return (X @ v).norm().item() * unit, v, steps


def subspace_iteration(
    X: Tensor, k: int, iterations: int = 8, oversample: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Top k singular triplets from a random start: U (n, k), s (k,), V (d, k), in O(n d k).

    Power iteration on k + oversample vectors at once, made orthonormal by QR after each product so
    that they do not all turn towards v_1; then an SVD of the small matrix that is left
    (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1). Lecture item B4.
    """
    X = matrix(X, "X")
    n, d = X.shape
    width = min(whole(k, "k", 1, min(n, d)) + whole(oversample, "oversample", 0), n, d)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(d, width, generator=generator, dtype=torch.float64).to(X)
    Q = torch.linalg.qr(X @ start).Q  # (n, width)
    for _ in range(whole(iterations, "iterations", 0)):
        Q = torch.linalg.qr(X.T @ Q).Q  # (d, width)
        Q = torch.linalg.qr(X @ Q).Q  # (n, width)
    U, s, V = thin_svd(Q.T @ X)  # (width, width), (width,), (d, width)
    return Q @ U[:, :k], s[:k], V[:, :k]


def block_krylov(
    X: Tensor, k: int, iterations: int = 4, oversample: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Top k singular triplets from a random start: U (n, k), s (k,), V (d, k), in O(n d k).

    Subspace iteration forgets all blocks but the last. Here Q, X^T X Q, (X^T X)^2 Q, ..., made
    orthonormal, are all kept, and the best k directions of their span are taken: smaller blocks and
    fewer iterations give as much. They come from the eigenvectors of a Gram matrix, so singular
    values below sqrt(machine epsilon) * s_1 are noise. Musco & Musco 2015, algorithm 2.
    """
    X = matrix(X, "X")
    n, d = X.shape
    k = whole(k, "k", 1, min(n, d))
    width = k // 2 + whole(oversample, "oversample", 1)
    iterations = whole(iterations, "iterations", 1)
    if width * (iterations + 1) > min(n, d):  # the span would be all there is
        return tuple(part[..., :k] for part in eigen_svd(X))
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(d, width, generator=generator, dtype=torch.float64).to(X)
    Q = B = torch.linalg.qr(start).Q  # (d, width)
    images = [X @ Q]  # (n, width) each
    for _ in range(iterations):
        Q = X.T @ images[-1]
        for _ in range(2):  # the second time clears away what rounding has left of B
            Q = torch.linalg.qr(Q - B @ (B.T @ Q)).Q
        B = torch.cat([B, Q], dim=1)
        images.append(X @ Q)
    image = torch.cat(images, dim=1)  # X B
    s, R = gram_factors(gram(image))
    s, R = s[:k], R[:, :k]
    noise = torch.finfo(s.dtype).eps ** 0.5 * s[0]
    U, V = fix_signs(image @ R / torch.where(s > noise, s, torch.inf), B @ R)
    return U, s, V


# --- what it says about the data


def project(X: Tensor, V: Tensor) -> Tensor:
    """Projection of each row of X on the span of the orthonormal columns of V: X V V^T.

    X is (n, d), V is (d, k); returns (n, d). Row by row it is sum_i <x, v_i> v_i.
    Lecture items B6 and B23.
    """
    Z = X @ V  # (n, k)
    return Z @ V.T


def explained_variance_ratio(s: Tensor) -> Tensor:
    """Share of the variance in each component: s_i^2 / sum_j s_j^2.

    s is (r,), all the singular values of the centred data, some of which may be 0; returns (r,),
    which sums to one in any unit of the data. (B15)
    """
    return s**2 / (s**2).sum()


def tail_energy(s: Tensor) -> Tensor:
    """||X - X_k||_F^2 = sum_{i>k} s_i^2 for k = 0, 1, ..., r. s is (r,); returns (r + 1,). (B16)"""
    tail = (s**2).flip(0).cumsum(0).flip(0)  # smallest first: no cancellation
    return torch.cat([tail, tail.new_zeros(1)])


def components_for(s: Tensor, share: float) -> int:
    """Fewest components that hold at least `share` (between 0 and 1) of the variance."""
    share = number(share, "share", above=0, most=1)
    kept = explained_variance_ratio(array(s, "s").double()).cumsum(0)
    return min(int((kept < share - 1e-12).sum()) + 1, len(s))


def complete(X: Tensor, visible: Tensor, V: Tensor, mean: Tensor) -> Tensor:
    """Fill in hidden pixels: the point of the affine span that fits the visible pixels best.

    For each row x of X: z = argmin_z sum_{j visible} (x_j - mean_j - (V z)_j)^2, and the result is
    mean + V z, at the visible pixels as well. X is (n, d), visible a boolean mask (d,) for all
    rows, V (d, k), orthonormal or not, mean (d,); returns (n, d). What X holds at the hidden pixels
    has no influence, be it NaN. Lecture item B12.
    """
    targets = (X - mean)[:, visible]  # (n, m)
    Z = torch.linalg.lstsq(V[visible], targets.T).solution  # (k, n): one solve for all rows
    return mean + Z.T @ V.T


TOP = {"subspace": subspace_iteration, "krylov": block_krylov}  # solvers for the top k


class PCA:
    """PCA of the rows of X, centred first: PCA(k).fit(X), then transform and back.

    solver: "svd" (exact), "gram" (eigenvectors of X^T X: exact to about 1e-8 s_1, quick for many
    rows), or for the top k only "subspace" or "krylov", which is quicker. After fit, on X's device:
    mean (d,), V (d, k), and s, explained_variance, explained_variance_ratio, each (k,).
    """

    def __init__(self, k: int, solver: str = "svd"):
        self.k = whole(k, "k")
        self.solver = one_of(solver, "solver", ("svd", "gram", "subspace", "krylov"))

    def fit(self, X: Tensor) -> "PCA":
        """Learn mean, V and s of the rows of X (n, d), n >= 2, k <= min(n, d). Returns itself."""
        X = matrix(X, "X", rows=2)  # one row has no variance
        n, _ = X.shape[0], whole(self.k, "k", 1, min(X.shape))
        if self.solver == "gram" and n >= X.shape[1]:  # without U, as large a product as X^T X
            self.mean, G = scatter(X)
            s, V = gram_factors(G)
            V, _ = fix_signs(V, V)
        else:
            near = origin(X)
            centred = moved(X, near)
            mean = centred.mean(dim=0)
            self.mean = near + mean  # (d,)
            centred = centred - mean  # (n, d)
            if self.solver == "svd" and n > X.shape[1]:  # R: the same s and V, only d rows
                centred = torch.linalg.qr(centred, mode="r").R  # (d, d)
            if self.solver in TOP:
                _, s, V = TOP[self.solver](centred, self.k)
            else:
                _, s, V = (thin_svd if self.solver == "svd" else eigen_svd)(centred)
        total = (s**2).sum()
        if self.solver in TOP:  # s is not all there is
            total = torch.linalg.vector_norm(centred, dim=1).square().sum()
        self.s, self.V = s[: self.k], V[:, : self.k].contiguous()
        self.explained_variance = self.s**2 / (n - 1)
        # Where all rows are equal, total is 0: then no share is left to explain.
        self.explained_variance_ratio = self.s**2 / torch.where(total > 0, total, 1.0)
        return self

    def transform(self, X: Tensor) -> Tensor:
        """Codes z_i = <x - mean, v_i>: (n, d) -> (n, k)."""
        if not hasattr(self, "V"):
            raise ValueError("this PCA is not fitted yet; call fit(X) first")
        X = matrix(X, "X", columns=len(self.mean)).to(self.mean)
        return (X - self.mean) @ self.V

    def inverse_transform(self, Z: Tensor) -> Tensor:
        """x~ = mean + sum_i z_i v_i: (n, k) -> (n, d). Fewer columns of Z use fewer components."""
        Z = matrix(Z, "Z", finite=False).to(self.mean)
        return self.mean + Z @ self.V[:, : Z.shape[1]].T

    def reconstruct(self, X: Tensor, k: int | None = None) -> Tensor:
        """Rows of rank k (at most self.k) nearest to the rows of X: (n, d) -> (n, d)."""
        k = self.k if k is None else whole(k, "k", 1, self.k)
        return self.inverse_transform(self.transform(X)[:, :k])

    def sample(self, n: int, generator=None) -> Tensor:
        """n new rows (n, d): z ~ N(0, diag(explained_variance)), decoded. Lecture item B13."""
        eps = torch.randn(n, self.k, generator=generator, dtype=torch.float64).to(self.V)
        return self.inverse_transform(eps * self.explained_variance.sqrt())


# --- the same thing, learned


def tied_loss(X: Tensor, W: Tensor) -> Tensor:
    """Loss of the linear autoencoder whose decoder is the encoder's transpose.

    (1/n) sum_i ||x_i - x_i W W^T||^2: the squared error summed over the d columns, averaged over
    the n rows. X is (n, d), W is (d, k); returns a scalar.
    """
    error = X - X @ W @ W.T  # (n, d)
    return (error**2).sum(dim=1).mean()


class LinearAutoencoder(nn.Module):
    """x -> x W_1 W_2 with W_1 (d, k), W_2 (k, d), no non-linearity; tied: W_2 = W_1^T. (B2)"""

    def __init__(self, d: int, k: int, tied: bool = False):
        super().__init__()
        self.tied, d = tied, whole(d, "d")
        k = whole(k, "k", 1, d)
        self.W1 = nn.Parameter(torch.randn(d, k) * d**-0.5)
        if not tied:
            self.W2 = nn.Parameter(torch.randn(k, d) * d**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W1 @ (self.W1.T if self.tied else self.W2)  # (n, d) -> (n, k) -> (n, d)

    def loss(self, x: Tensor) -> Tensor:
        """Squared error, summed over columns, averaged over rows: ||X - X W_1 W_2||_F^2 / n."""
        if self.tied:
            return tied_loss(x, self.W1)
        return ((x - self(x)) ** 2).sum(dim=1).mean()
