"""Variational autoencoder (VAE), dense and convolutional. Lecture items A87–A92, B59–B61.

The story of the file: the two terms of the bound (`gaussian_kl`, a log-likelihood), the step that
lets gradients through a sample (`reparameterize`), the bound with many samples (`iwae_bound`), and
the model. Its networks are those of the autoencoder (chapter 22). All log-probabilities are in
nats, one number per example.

Symbols follow the lecture: x image, c code, mu and logvar the parameters of Q(c|x), a the decoder's
output. `logvar` is log sigma^2 (erratum N09: the slide writes it "sigma").

Sources: Kingma & Welling 2014; Burda, Grosse & Salakhutdinov 2016 (importance weights);
Kingma et al. 2016 (free bits).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import data
from genai_utils.evaluation.inputs import positive_int
from genai_utils.training import TensorBatches, dynamic_binarize

from .autoencoder import (
    conv_decoder,
    conv_encoder,
    dense_decoder,
    dense_encoder,
    gaussian_log_likelihood,
)
from .inputs import checked_codes, checked_images, shaped_images

# --- The terms of the bound --------------------------------------------------------------------


def gaussian_kl(mu, logvar):
    r"""KL divergence of a diagonal normal from the standard normal, in nats.

    $$ D_{KL}(N(\mu, \mathrm{diag}(\sigma^2)) \,\|\, N(0, I))
       = \tfrac12 \sum_j \left( e^{s_j} - 1 - s_j + \mu_j^2 \right), \;
       s_j = \log \sigma_j^2 $$

    Shapes: mu (B, k), logvar (B, k) -> (B,).
    Source: Kingma & Welling 2014, appendix B; lecture item A90, errata N09, N10.
    """
    return 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(dim=-1)


def reparameterize(mu, logvar, eps):
    r"""A sample of N(mu, diag(sigma^2)) that lets gradients reach mu and logvar.

    $$ c = \mu + \sigma \epsilon, \quad \epsilon \sim N(0, I), \; \sigma = e^{s/2} $$

    Shapes: mu, logvar (B, k); eps, drawn from N(0, I), (B, k) or (K, B, k)
    -> the shape of eps.
    Source: Kingma & Welling 2014, section 2.4; lecture item A91, erratum N15.
    """
    return mu + torch.exp(0.5 * logvar) * eps


def bernoulli_log_likelihood(x, logits):
    r"""log P(x|c) of black-and-white pixels, per example, in nats.

    $$ \log P(x|c) = \sum_i x_i \log p_i + (1 - x_i) \log (1 - p_i), \quad
       p = \mathrm{sigmoid}(a) $$

    Shapes: x (B, ...) of zeros and ones; logits a, of the shape of x or (K, B, ...)
    -> (B,) or (K, B). From the logits, since log(sigmoid(a)) underflows for a << 0.
    Source: Kingma & Welling 2014, appendix C.1; lecture item A91.
    """
    log_p = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    return log_p.flatten(start_dim=logits.dim() - x.dim() + 1).sum(dim=-1)


def standard_normal_log_prob(c):
    """log N(c; 0, I) in nats. Shapes: c (..., k) -> (...)."""
    return -0.5 * (c**2 + math.log(2 * math.pi)).sum(dim=-1)


def iwae_bound(log_w):
    r"""The importance-weighted bound on log P(x), per example, in nats.

    $$ \mathcal L_K = \log \frac1K \sum_{k=1}^K w_k, \quad
       \log w_k = \log P(x|c_k) + \log P(c_k) - \log Q(c_k|x), \; c_k \sim Q(c|x) $$

    K = 1 gives the ELBO; the bound rises with K and tends to log P(x). The sum is
    taken in the log domain (log-sum-exp), since exp(-1000) is zero in any precision.
    Shapes: log_w (K, B) -> (B,).
    Source: Burda et al. 2016, eq. 8; lecture item A89.
    """
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def free_bits(kl, floor):
    r"""KL term that leaves each code unit `floor` nats for free: a cure for collapse.

    $$ \sum_j \max\left( \lambda, \tfrac1B \sum_i D_{KL}^{(i,j)} \right) $$

    The mean over the batch comes before the maximum: single examples may use less.
    Shapes: kl (B, k), the KL divergence of each example and unit -> a scalar, in nats.
    Source: Kingma et al. 2016, appendix C.8.
    """
    return kl.mean(dim=0).clamp(min=floor).sum()


# --- One code, one pixel, everything Gaussian: the case whose log P(x) is known ------------------


def linear_gaussian_log_prob(x, w, s2):
    r"""log P(x) of the model c ~ N(0, 1), x ~ N(w c, s2), in nats: log N(x; 0, w^2 + s2).

    Shapes: x, w, s2 scalars or broadcastable tensors. Source: lecture item A88.
    """
    var = torch.as_tensor(w**2 + s2, dtype=torch.as_tensor(x).dtype)
    return -0.5 * (torch.log(2 * math.pi * var) + x**2 / var)


def linear_gaussian_elbo(x, w, s2, mu, var):
    r"""The exact ELBO of that model for the encoder Q(c|x) = N(mu, var), in nats.

    $$ E_Q \log P(x|c) = -\tfrac12 \left( \log 2 \pi s^2
       + \frac{(x - w \mu)^2 + w^2 \sigma^2}{s^2} \right), \quad
       D_{KL} = \tfrac12 (\sigma^2 - 1 - \log \sigma^2 + \mu^2) $$

    Source: lecture item A88, erratum N13.
    """
    reconstruction = -0.5 * (math.log(2 * math.pi * s2) + ((x - w * mu) ** 2 + w**2 * var) / s2)
    return reconstruction - 0.5 * (var - 1 - torch.log(torch.as_tensor(var)) + mu**2)


# --- The model ---------------------------------------------------------------------------------


class VAE(nn.Module):
    """An encoder to N(mu, diag(sigma^2)), a decoder, and the bound that trains both (A87, A91).

    Args:
        size: side of the square images; a multiple of 4 for `kind="conv"`.
        code: number of code units k.
        width: hidden units of the dense networks, or channels of the convolutional ones.
        kind: "dense" or "conv".
        likelihood: "bernoulli" (x in {0, 1}, a are logits) or "gaussian" (a is the mean).
        std: standard deviation of the Gaussian likelihood.
        beta: weight of the KL term. 1 is the bound; anything else is not one (Higgins et al. 2017).
        noise: sample the code (True), or use its mean: with beta=0, a plain autoencoder (B59).
    """

    def __init__(
        self, size=28, code=40, width=512, kind="dense", likelihood="bernoulli", std=1.0,
        beta=1.0, noise=True,
    ):  # fmt: skip
        super().__init__()
        for name, value in {"size": size, "code": code, "width": width}.items():
            positive_int(value, name)
        for name, value, known in (
            ("kind", kind, ("dense", "conv")),
            ("likelihood", likelihood, ("bernoulli", "gaussian")),
        ):
            if value not in known:
                raise ValueError(f"VAE expects {name} to be one of {known}; it got {value!r}.")
        if kind == "conv" and size % 4:
            raise ValueError(f"A conv VAE halves the image twice; size {size} is no multiple of 4.")
        if std <= 0 or beta < 0:
            raise ValueError(f"VAE expects std > 0 and beta >= 0; it got std={std}, beta={beta}.")
        self.size, self.code, self.likelihood, self.std = size, code, likelihood, std
        self.beta, self.noise = beta, noise
        encoder, decoder = (
            (dense_encoder, dense_decoder) if kind == "dense" else (conv_encoder, conv_decoder)
        )
        self.encoder = encoder(size, width, 2 * code)
        self.decoder = decoder(code, width, size)

    def encode(self, x):
        """The parameters of Q(c|x): x (B, 1, H, W) -> mu (B, k), logvar (B, k)."""
        self.check_batch(x)
        return self.posterior(x)

    def check_batch(self, x):
        """Raises TypeError or ValueError for images that do not fit, values included."""
        checked_images(x, self.size, "VAE")

    def posterior(self, x):
        """`encode` without a look at the values of x: for a loss, which should wait for nothing."""
        return self.encoder(shaped_images(x, self.size, "VAE")).chunk(2, dim=-1)

    def decode(self, c):
        """The decoder's output a (logits, if Bernoulli): c (..., k) -> (..., 1, H, W)."""
        checked_codes(c, self.code)
        a = self.decoder(c.reshape(-1, self.code))
        return a.reshape(*c.shape[:-1], 1, self.size, self.size)

    def image(self, c):
        """The mean image of P(x|c), in [0, 1]: c (..., k) -> (..., 1, H, W)."""
        a = self.decode(c)
        return a.sigmoid() if self.likelihood == "bernoulli" else a.clamp(0, 1)

    def log_likelihood(self, x, a):
        """log P(x|c) in nats: x (B, 1, H, W), a ([K,] B, 1, H, W) -> ([K,] B)."""
        if self.likelihood == "bernoulli":
            return bernoulli_log_likelihood(x, a)
        return gaussian_log_likelihood(x, a, self.std)

    def loss(self, x):
        """Minus the bound: the mean over the batch, in nats, with its two terms."""
        mu, logvar = self.posterior(x)  # (B, k) each
        c = reparameterize(mu, logvar, torch.randn_like(mu)) if self.noise else mu
        reconstruction = -self.log_likelihood(x, self.decode(c)).mean()
        kl = gaussian_kl(mu, logvar).mean()
        loss = reconstruction + self.beta * kl
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def log_weights(self, x, samples):
        """log w_k = log P(x|c_k) + log P(c_k) - log Q(c_k|x): x (B, 1, H, W) -> (K, B), in nats."""
        mu, logvar = self.encode(x)
        eps = torch.randn(samples, *mu.shape, device=x.device)
        c = reparameterize(mu, logvar, eps)  # (K, B, k)
        # log Q(c|x) = log N(eps; 0, I) - sum_j log sigma_j
        log_q = standard_normal_log_prob(eps) - 0.5 * logvar.sum(dim=-1)
        return self.log_likelihood(x, self.decode(c)) + standard_normal_log_prob(c) - log_q

    @torch.no_grad()
    def bound(self, x, samples=1, chunk=20_000):
        """The ELBO of each image, its KL term exact, mean over `samples` codes: (B,), in nats."""
        return torch.cat([self._elbo(part, samples) for part in self._parts(x, samples, chunk)])

    def _elbo(self, x, samples):
        mu, logvar = self.encode(x)
        eps = torch.randn(samples, *mu.shape, device=x.device)
        log_p = self.log_likelihood(x, self.decode(reparameterize(mu, logvar, eps)))  # (K, B)
        return log_p.mean(dim=0) - gaussian_kl(mu, logvar)

    @torch.no_grad()
    def log_prob(self, x, samples=500, chunk=20_000):
        """log P(x) estimated from below with `samples` importance weights: (B,), in nats."""
        parts = self._parts(x, samples, chunk)
        return torch.cat([iwae_bound(self.log_weights(part, samples)) for part in parts])

    def _parts(self, x, samples, chunk):
        """x in parts, so that at most `chunk` codes are decoded at once (memory)."""
        positive_int(samples, "samples")
        return x.split(max(1, chunk // samples))

    @torch.no_grad()
    def sample(self, n):
        """n new mean images: codes from N(0, I), decoded. Shape (n, 1, H, W), in [0, 1]."""
        positive_int(n, "n")
        return self.image(torch.randn(n, self.code, device=next(self.parameters()).device))


def recipe():
    """What `python -m genai_utils.train vae` trains: the main model of chapter 24 on MNIST."""
    images = data.mnist("train").x
    batches = TensorBatches(images, batch_size=128, transform=dynamic_binarize)
    options = {"steps": 20_000, "lr": 2e-3, "warmup": 100, "ema": 0.999}
    options |= {"graph": True}  # on a graphics card only
    return VAE(), batches, options
