"""Word vectors from a table of counts: windows, PMI and its factorisation, GloVe.

Symbols follow chapter 5: M (V, V) holds how often each two of V words meet; w_i and y_i are the
left and right vectors of word i, of length d. Words stand in rows, so M is near W Y^T.

Sources: Pennington, Socher & Manning 2014 (GloVe); Levy, Goldberg & Dagan 2015. Lecture items B32,
B39-B46.
"""

import scipy.sparse
import torch
from torch import Tensor, nn

from genai_utils.inputs import array, matrix, number, whole
from genai_utils.structure import lsa


def window_counts(blocks: Tensor, size: int, window: int, weighting: str = "flat") -> Tensor:
    """How often each two words stand at most `window` words apart: M (size, size), symmetric.

    blocks (N, L): N texts of word ids, filled up with -1; no pair spans two of them. A pair o words
    apart counts 1 ("flat"), 1/o ("harmonic", as in GloVe) or 1 - (o - 1)/window ("linear": what
    word2vec's random windows come to), in both directions, so that M_ii grows by twice that where a
    word meets itself. A window may be longer than a text. The lecture's "window size 4", any 4
    consecutive words, is window = 3. Raises ValueError for a window that is not a whole number of
    at least 1, for another weighting, and if there is no word. Lecture items B41 and B42.
    """
    if type(window) is not int or window < 1:
        raise ValueError(f"window should be a whole number of at least 1, got {window!r}")
    if weighting not in ("flat", "harmonic", "linear"):
        raise ValueError(f'weighting should be "flat", "harmonic" or "linear", got {weighting!r}')
    if not (blocks >= 0).any():
        raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
    M = torch.zeros(size * size, device=blocks.device)
    for o in range(1, min(window, blocks.shape[1] - 1) + 1):
        first, second = blocks[:, :-o], blocks[:, o:]  # a word, and the word o later
        real = (first >= 0) & (second >= 0)
        cells = first[real] * size + second[real]
        weight = {"flat": 1.0, "harmonic": 1 / o, "linear": 1 - (o - 1) / window}[weighting]
        M.index_add_(0, cells, torch.full(cells.shape, weight, device=M.device))
    return M.view(size, size) + M.view(size, size).T


def pmi(M: Tensor, power: float = 1.0) -> Tensor:
    """Pointwise mutual information: how much more often two words meet than chance would have it.

    log[ p(i,j) / (p(i) p(j)) ] in nats, p(i,j) = M_ij / sum of M, p(i) its row sum, p(j) in
    proportion to (column sum)^power and summing to 1. -inf where M is 0, also in the row or column
    of a word that met nobody. M >= 0 is (V, V), symmetric or not, or words by contexts; whole
    numbers or fractions. Lecture items B41 and B44.
    """
    P = M / M.sum()
    left, right = P.sum(1, keepdim=True), P.sum(0) ** power  # (V, 1), (V,)
    ratio = P / (left * right / right.sum())  # 0 / 0 for a word that met nobody
    return torch.where(M > 0, ratio, 0.0).log()


def shifted_positive_pmi(M: Tensor, negatives: float = 1, power: float = 1.0) -> Tensor:
    """max(PMI - log k, 0): no -inf, and as sparse as M. (V, V) -> (V, V); k = 1 is plain PPMI."""
    shift = torch.tensor(number(negatives, "negatives", above=0)).log()
    return (pmi(array(M, "M", finite=False), power) - shift).clamp(min=0)


def factorise(M: Tensor, d: int, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """W, Y (V, d) with W Y^T the best approximation of M of rank d: U S^share and V S^(1-share).

    The truncated SVD of chapter 4, exact to rounding: of M only the cells that are not 0 are kept.
    The spectrum of such a table falls slowly, so a few steps of subspace iteration are not enough.
    W and Y differ in signs unless M is positive semi-definite: lecture items B40, B45 and B46.
    """
    M = matrix(M, "M", finite=False)
    sparse = scipy.sparse.csr_array(M.cpu().numpy()).astype(float)
    U, s, V = (part.to(M).contiguous() for part in lsa.truncated_svd(sparse, d))
    return U * s**share, V * s ** (1 - share)


def symmetric_factor(M: Tensor, d: int) -> Tensor:
    """Y (V, d) with Y Y^T as near to the symmetric M as one matrix and its transpose can come.

    The d largest eigenvalues, where positive; negative ones cannot be had. Lecture item B45.
    """
    M = matrix(M, "M", columns=len(M))
    d = whole(d, "d", 1, len(M))
    values, vectors = torch.linalg.eigh(M)  # ascending
    return vectors[:, -d:].flip(1) * values[-d:].flip(0).clamp(min=0).sqrt()


# --- GloVe


def glove_loss(score: Tensor, count: Tensor, most: float = 100.0, alpha: float = 0.75) -> Tensor:
    """Weighted squared error of the logarithm: mean of f(x) (score - log x)^2, in nats squared.

    f(x) = (x / most)^alpha for x < most, else 1. score (n,) = <w_i, y_j> + b_i + c_j, count (n,)
    the x of the same cells, which may be fractions. A cell with x = 0 has weight 0 for every alpha:
    it adds 0 to the sum and the gradient, and is counted in the mean. Source: Pennington et al.
    2014, eqs. 8 and 9; lecture item B43.
    """
    weight = (count / most).clamp(max=1) ** alpha * (count > 0)  # (n,): 0 ** 0 would be 1
    log = torch.where(count > 0, count, 1.0).log()  # 0 * log(0) would be NaN
    return (weight * (score - log) ** 2).mean()


class GloVe(nn.Module):
    """Vectors and biases whose <w_i, y_j> + b_i + c_j is the logarithm of the count. (B43)"""

    def __init__(self, size: int, dim: int = 100, most: float = 100.0, alpha: float = 0.75):
        super().__init__()
        self.most, self.alpha = most, alpha
        size, dim = whole(size, "size"), whole(dim, "dim")
        self.w, self.y = (nn.Embedding(size, dim) for _ in "wy")
        self.b, self.c = (nn.Embedding(size, 1) for _ in "bc")
        for table in (self.w, self.y, self.b, self.c):
            nn.init.uniform_(table.weight, -0.5 / dim, 0.5 / dim)

    @property
    def vectors(self) -> Tensor:
        """w + y, as the paper uses them, (V, dim)."""
        return (self.w.weight + self.y.weight).detach()

    def forward(self, i: Tensor, j: Tensor) -> Tensor:
        """Score of each cell (i, j): (n,), (n,) -> (n,)."""
        return (self.w(i) * self.y(j)).sum(-1) + (self.b(i) + self.c(j))[:, 0]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """`glove_loss` of some cells: row i (n,), column j (n,), count x (n,)."""
        i, j, x = batch
        return glove_loss(self(i, j), x, self.most, self.alpha)
