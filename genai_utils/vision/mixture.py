"""The simplest generators of images: one formula, four models. Lecture item A37.

Random pixels, independent pixels, a mixture of those, and a copy machine are all a
`BernoulliMixture`, with more and more components. EM fits it. Everything is in nats.

Source: Dempster, Laird & Rubin 1977 (EM).
"""

import torch

from genai_utils import inputs

from .image_model import ImageModel


def em_step(x, weights, means, prior):
    """One step of EM for a mixture of K models with independent black-and-white pixels.

        r_ik = w_k P_k(x_i) / Σ_l w_l P_l(x_i),   n_k = Σ_i r_ik
        w_k ← n_k / n,   m_kj ← (a + Σ_i r_ik x_ij) / (2a + n_k)

    with P_k(x) = Π_j m_kj^x_j (1 - m_kj)^(1 - x_j). The prior a counts as that many
    white and as many black pixels that each component has seen beforehand. Over hundreds of
    pixels P_k(x) is too small for a floating-point number, its logarithm is not. A component that
    has seen nothing (a = 0 and n_k = 0) keeps its means.
    Shapes: x (n, d) of zeros and ones; weights (K,), 0 or more, means (K, d) in (0, 1); a number
    a, 0 or more -> new weights (K,), new means (K, d).
    Source: Dempster, Laird & Rubin 1977.
    """
    log_black = torch.log1p(-means)  # (K, d)
    log_joint = weights.log() + x @ (means.log() - log_black).T + log_black.sum(dim=-1)
    r = log_joint.softmax(dim=-1)  # (n, K): who is responsible for which image
    counts = r.sum(dim=0)  # (K,)
    white, seen = r.T @ x + prior, counts[:, None] + 2 * prior
    return counts / len(x), torch.where(seen > 0, white / seen, means)  # saw nothing: unchanged


class BernoulliMixture(ImageModel):
    """K drawers, in each a probability of white for every pixel: P(x) = Σ_k w_k P_k(x).

    The code is c = (k, u): a drawer k, drawn with the probabilities w, and one uniform number u_j
    for each pixel; x_j = g(c)_j = 1 if u_j < m_kj. The same formula is all rungs of the ladder:
    K = 1 and m = 1/2: random pixels; K = 1 and the mean image: independent pixels; K of them: a
    mixture; one for each training image: a copy machine that flips pixels.

    Args:
        means: (K, 1, H, W), probabilities of white, strictly between 0 and 1.
        weights: (K,), >= 0, sum 1; default: all equal.
    Source: lecture item A37.
    """

    pixels = "binary"

    def __init__(self, means, weights=None):
        means = inputs.array(means, "means")
        if means.dim() != 4 or means.shape[1] != 1 or means.shape[2] != means.shape[3]:
            raise inputs.refusal("means", "the shape (K, 1, H, H)", f"{tuple(means.shape)}")
        super().__init__(means.shape[-1])
        if not (means.min() > 0 and means.max() < 1):
            raise inputs.refusal(
                "means", "probabilities strictly between 0 and 1",
                f"{means.min():.3g} to {means.max():.3g}", "use means.clamp(eps, 1 - eps)",
            )  # fmt: skip
        weights = torch.full((len(means),), 1 / len(means)) if weights is None else weights
        weights = inputs.array(weights, "weights")
        if weights.shape != means.shape[:1] or weights.min() < 0 or abs(weights.sum() - 1) > 1e-4:
            got = f"{tuple(weights.shape)} with the sum {weights.sum():.4g}"
            raise inputs.refusal("weights", f"{len(means)} numbers >= 0 with the sum 1", got)
        self.register_buffer("means", means)
        self.register_buffer("weights", weights.to(means))

    def _joint(self, x):
        """log w_k + log P_k(x): (B, 1, H, W) of zeros and ones -> (B, K), in nats."""
        x, white = x.flatten(1), self.means.flatten(1)
        log_black = torch.log1p(-white)
        return self.weights.log() + x @ (white.log() - log_black).T + log_black.sum(dim=-1)

    def _log_prob(self, x, chunk=1_000):
        return torch.cat([torch.logsumexp(self._joint(part), dim=-1) for part in x.split(chunk)])

    def log_prob(self, x, chunk=1_000):
        """log P(x) in nats: (B, 1, H, W) of zeros and ones -> (B,)."""
        return self._log_prob(self.images(x), inputs.whole(chunk, "chunk"))

    def responsibilities(self, x):
        """P(k | x), the share of drawer k in image x: (B, 1, H, W) -> (B, K)."""
        return self._joint(self.images(x)).softmax(dim=-1)

    def forward(self, k, u):
        """g(c) for codes c = (k, u): k (B,) drawers, u (B, 1, H, W) in [0, 1) -> (B, 1, H, W)."""
        return (u < self.means[k]).to(self.means.dtype)

    def loss(self, x):
        """Minus the mean log-likelihood, in nats per image."""
        x, _ = self.batch(x)
        return -self._log_prob(x).mean()

    def sample(self, n, generator=None, y=None):
        """n new images of zeros and ones, (n, 1, H, W): random codes, through g.

        The codes are drawn where the generator is, so that a seed gives the same on any device.
        """
        self.kinds(inputs.whole(n, "n"), y)  # it knows no classes
        device = self.means.device if generator is None else generator.device
        weights, size = self.weights.to(device), self.means.shape[1:]
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        u = torch.rand(n, *size, generator=generator, device=device)
        return self(k.to(self.means.device), u.to(self.means.device))


def fit_mixture(x, components, steps, prior=1.0, seed=0):
    """A `BernoulliMixture` of black-and-white images by EM, from K randomly chosen images.

    Each step raises the objective mean_i log P(x_i) + (a/n) Σ_kj log(m_kj (1 - m_kj)), or leaves
    it as it is (a is the prior of `em_step`).
    x: (n, 1, H, W) of zeros and ones, on the device that is to do the work: a step is two matrix
    products, 4 n K H W operations. Returns the model after `steps` steps, on the same device.
    Raises ValueError for more components than images, grey pixels, or prior <= 0.
    """
    x = inputs.images(x, "x", values=False)
    inputs.whole(components, "components", most=len(x)), inputs.whole(steps, "steps")
    inputs.number(prior, "prior", above=0)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:components]
    model = BernoulliMixture(0.25 + 0.5 * x[order.to(x.device)])
    model.check_batch(x[:1_000])
    flat, weights, means = x.flatten(1), model.weights, model.means.flatten(1)
    for _ in range(steps):
        weights, means = em_step(flat, weights, means, prior)
    return BernoulliMixture(means.view(-1, *x.shape[1:]), weights)
