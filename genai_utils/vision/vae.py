"""Variational autoencoder (VAE), dense and convolutional. Lecture items A87–A92, B59–B61.

The story of the file: the two terms of the bound (`gaussian_kl`, a log-likelihood), the step that
lets gradients through a sample (`reparameterize`), the bound with many samples (`iwae_bound`), and
the model. Its networks are those of the autoencoder (chapter 22). All log-probabilities are in
nats, one number per example. Where the model knows classes y, read P(x|y), Q(c|x), P(x|c, y).

Symbols follow the lecture: x image, c code, mu and logvar the parameters of Q(c|x), a the decoder's
output. `logvar` is log σ² (erratum N09: the slide writes it "sigma").

Sources: Kingma & Welling 2014; Burda, Grosse & Salakhutdinov 2016 (importance weights);
Kingma et al. 2016 (free bits); Sohn, Lee & Yan 2015 (a class as condition).
"""

import math

import torch
import torch.nn.functional as F

from genai_utils import data, inputs
from genai_utils.training import TensorBatches, dynamic_binarize

from .autoencoder import (
    checked_kind,
    conv_decoder,
    conv_encoder,
    dense_decoder,
    dense_encoder,
    gaussian_log_likelihood,
)
from .image_model import ImageModel, class_vectors, codes, drawn

# --- The terms of the bound --------------------------------------------------------------------


def gaussian_kl(mu, logvar):
    """KL divergence of a diagonal normal from the standard normal, in nats.

        D_KL(N(mu, diag(σ²)) ‖ N(0, I)) = ½ Σ_j (exp(s_j) - 1 - s_j + mu_j²)
        s = logvar = log σ²

    Shapes: mu (B, k), logvar (B, k) -> (B,).
    Source: Kingma & Welling 2014, appendix B; lecture item A90, errata N09, N10.
    """
    return 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(dim=-1)


def reparameterize(mu, logvar, eps):
    """A sample of N(mu, diag(σ²)) that lets gradients reach mu and logvar.

        c = mu + σ·eps,   eps ~ N(0, I),   σ = exp(logvar / 2)

    Shapes: mu, logvar (B, k); eps, drawn from N(0, I), (B, k) or (K, B, k)
    -> the shape of eps.
    Source: Kingma & Welling 2014, section 2.4; lecture item A91, erratum N15.
    """
    return mu + torch.exp(0.5 * logvar) * eps


def bernoulli_log_likelihood(x, logits):
    """log P(x|c) of black-and-white pixels, per example, in nats.

        log P(x|c) = Σ_i [x_i log p_i + (1 - x_i) log(1 - p_i)],   p = sigmoid(a)

    Shapes: x (B, ...) of zeros and ones; logits a, of the shape of x or (K, B, ...)
    -> (B,) or (K, B). From the logits and pixel by pixel, since log(sigmoid(a))
    underflows for a << 0, and so does the product over many pixels for any a.
    Source: Kingma & Welling 2014, appendix C.1; lecture item A91.
    """
    most = torch.finfo(logits.dtype).max  # a sure pixel has the logit inf, and 0 inf is no number
    a = logits.clamp(-most, most)
    log_p = -F.binary_cross_entropy_with_logits(a, x.expand_as(logits), reduction="none")
    return log_p.flatten(start_dim=logits.dim() - x.dim() + 1).sum(dim=-1)


def standard_normal_log_prob(c):
    """log N(c; 0, I) in nats. Shapes: c (..., k) -> (...)."""
    return -0.5 * (c**2 + math.log(2 * math.pi)).sum(dim=-1)


def iwae_bound(log_w):
    """The importance-weighted bound on log P(x), per example, in nats.

        log (1/K Σ_k w_k),   k = 1 … K
        log w_k = log P(x|c_k) + log P(c_k) - log Q(c_k|x),   c_k ~ Q(c|x)

    In the mean over the draws, K = 1 gives the ELBO; the bound rises with K and tends to
    log P(x). The sum is taken in the log domain (log-sum-exp), since exp(-1000) is zero in any
    precision, however far apart samples and examples lie. A weight of 0, log_w = -inf, counts
    in K.
    Shapes: log_w (K, B) -> (B,).
    Source: Burda et al. 2016, eq. 8; lecture item A89.
    """
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def free_bits(kl, floor):
    """KL term that leaves each code unit `floor` nats for free: a cure for collapse.

        Σ_j max(λ, 1/B Σ_i kl_ij),   λ = floor

    The mean over the batch comes before the maximum: single examples may use less.
    A unit below the floor has no gradient; a floor of 0 gives the plain KL term.
    Shapes: kl (B, k), the KL divergence of each example and unit -> a scalar, in nats.
    Source: Kingma et al. 2016, appendix C.8.
    """
    return kl.mean(dim=0).clamp(min=floor).sum()


# --- One code, one pixel, everything Gaussian: the case whose log P(x) is known ------------------


def linear_gaussian_log_prob(x, w, s2):
    """log P(x) of the model c ~ N(0, 1), x ~ N(w c, s2), in nats: log N(x; 0, w² + s2).

    Shapes: x, w, s2 scalars or broadcastable tensors. Source: lecture item A88.
    """
    var = torch.as_tensor(w**2 + s2, dtype=torch.as_tensor(x).dtype)
    return -0.5 * (torch.log(2 * math.pi * var) + x**2 / var)


def linear_gaussian_elbo(x, w, s2, mu, var):
    """The exact ELBO of that model for the encoder Q(c|x) = N(mu, var), in nats.

        ELBO = E_Q log P(x|c) - D_KL
        E_Q log P(x|c) = -½ (log(2π s2) + ((x - w mu)² + w² var) / s2)
        D_KL = ½ (var - 1 - log var + mu²)

    Source: lecture item A88, erratum N13.
    """
    log_s2 = torch.log(2 * math.pi * s2) if torch.is_tensor(s2) else math.log(2 * math.pi * s2)
    reconstruction = -0.5 * (log_s2 + ((x - w * mu) ** 2 + w**2 * var) / s2)
    return reconstruction - 0.5 * (var - 1 - torch.log(torch.as_tensor(var)) + mu**2)


# --- The model ---------------------------------------------------------------------------------


class VAE(ImageModel):
    """An encoder to N(mu, diag(σ²)), a decoder, and the bound that trains both (A87, A91).

    Args:
        size: side of the square images; a multiple of 4 for `kind="conv"`.
        code: number of code units k.
        width: hidden units of the dense networks, or channels of the convolutional ones.
        kind: "dense" or "conv".
        likelihood: "bernoulli" (x in {0, 1}, a are logits) or "gaussian" (a is the mean).
        std: standard deviation of the Gaussian likelihood.
        beta: weight of the KL term. 1 is the bound; anything else is not one (Higgins et al. 2017).
        noise: sample the code (True), or use its mean: with beta=0, a plain autoencoder (B59).
        channels: 1 for grey images, 3 for colour.
        classes: number of classes y, or None. The decoder is told the class: a vector learned for
            each is added behind its first matrix, as if the code had one more unit for each class.
            The encoder sees it in the image.
    """

    def __init__(
        self, size=28, code=40, width=512, kind="dense", likelihood="bernoulli", std=1.0,
        beta=1.0, noise=True, channels=1, classes=None,
    ):  # fmt: skip
        super().__init__(size, channels, classes)
        code, width = inputs.whole(code, "code"), inputs.whole(width, "width")
        checked_kind(kind, ("dense", "conv"), size)
        inputs.one_of(likelihood, "likelihood", ("bernoulli", "gaussian"))
        self.code, self.likelihood, self.std = code, likelihood, inputs.number(std, "std", above=0)
        self.beta, self.noise = inputs.number(beta, "beta", least=0), noise
        encoder, decoder = (
            (dense_encoder, dense_decoder) if kind == "dense" else (conv_encoder, conv_decoder)
        )
        self.encoder = encoder(size, width, 2 * code, channels)
        self.decoder = decoder(code, width, size, channels)
        self.of_class = class_vectors(classes, self.decoder[0].out_features)

    def encode(self, x):
        """The parameters of Q(c|x): x (B, C, H, W) -> mu (B, k), logvar (B, k)."""
        return self.posterior(self.images(x))

    def posterior(self, x):
        """`encode` without a look at the values of x: for a loss, which should wait for nothing."""
        return self.encoder(self.images(x, values=False)).chunk(2, dim=-1)

    def decode(self, c, y=None):
        """The decoder's output a (logits, if Bernoulli): c (..., k) -> (..., C, H, W).

        y: the classes (B,) of codes c (..., B, k), where the model knows classes.
        """
        flat = codes(c, self.code).reshape(-1, self.code)
        if self.classes is None and y is None:
            a = self.decoder(flat)
        else:
            vectors = self.of_class(self.labels(y, c.shape[-2], values=False))  # (B, w)
            h = self.decoder[0](flat) + vectors.repeat(len(flat) // len(vectors), 1)
            a = self.decoder[1:](h)
        return a.reshape(*c.shape[:-1], self.channels, self.size, self.size)

    def image(self, c, y=None):
        """The mean image of P(x|c), in [0, 1]: c (..., k) -> (..., C, H, W)."""
        a = self.decode(c, y)
        return a.sigmoid() if self.likelihood == "bernoulli" else a.clamp(0, 1)

    def log_likelihood(self, x, a):
        """log P(x|c) in nats: x (B, C, H, W), a ([K,] B, C, H, W) -> ([K,] B)."""
        if self.likelihood == "bernoulli":
            return bernoulli_log_likelihood(x, a)
        return gaussian_log_likelihood(x, a, self.std)

    def loss(self, batch):
        """Minus the bound: the mean over the batch, in nats, with its two terms."""
        x, y = self.batch(batch)
        mu, logvar = self.posterior(x)  # (B, k) each
        c = reparameterize(mu, logvar, torch.randn_like(mu)) if self.noise else mu
        reconstruction = -self.log_likelihood(x, self.decode(c, y)).mean()
        kl = gaussian_kl(mu, logvar).mean()
        loss = reconstruction + self.beta * kl
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def log_weights(self, x, samples, y=None, generator=None):
        """log w_k = log P(x|c_k) + log P(c_k) - log Q(c_k|x): x (B, C, H, W) -> (K, B), in nats."""
        x = self.images(x)
        mu, logvar = self.posterior(x)
        eps = drawn(torch.randn, samples, *mu.shape, like=mu, generator=generator)
        c = reparameterize(mu, logvar, eps)  # (K, B, k)
        # log Q(c|x) = log N(eps; 0, I) - Σ_j log σ_j
        log_q = standard_normal_log_prob(eps) - 0.5 * logvar.sum(dim=-1)
        return self.log_likelihood(x, self.decode(c, y)) + standard_normal_log_prob(c) - log_q

    @torch.no_grad()
    def bound(self, x, samples=1, chunk=20_000, y=None, generator=None):
        """The ELBO of each image, its KL term exact, mean over `samples` codes: (B,), in nats."""
        parts = self._parts(x, y, samples, chunk)
        return torch.cat([self._elbo(part, samples, labels, generator) for part, labels in parts])

    def _elbo(self, x, samples, y, generator):
        mu, logvar = self.posterior(x)
        eps = drawn(torch.randn, samples, *mu.shape, like=mu, generator=generator)
        log_p = self.log_likelihood(x, self.decode(reparameterize(mu, logvar, eps), y))  # (K, B)
        return log_p.mean(dim=0) - gaussian_kl(mu, logvar)

    @torch.no_grad()
    def log_prob(self, x, samples=500, chunk=20_000, y=None, generator=None):
        """log P(x) estimated from below with `samples` importance weights: (B,), in nats."""
        parts = self._parts(x, y, samples, chunk)
        weights = (self.log_weights(part, samples, labels, generator) for part, labels in parts)
        return torch.cat([iwae_bound(log_w) for log_w in weights])

    def _parts(self, x, y, samples, chunk):
        """x and y in parts, so that at most `chunk` codes are decoded at once (memory)."""
        size = inputs.whole(chunk, "chunk") // inputs.whole(samples, "samples")
        return self.parts(x, y, max(1, size))

    @torch.no_grad()
    def sample(self, n, y=None, generator=None):
        """n new mean images: codes from N(0, I), decoded. Shape (n, C, H, W), in [0, 1].

        y: their class, or classes (n,); if None, each class is equally likely.
        """
        weight = next(self.parameters())
        y = self.kinds(inputs.whole(n, "n"), y, generator)
        c = drawn(torch.randn, n, self.code, like=weight, generator=generator, dtype=weight.dtype)
        return self.image(c, y)


def recipe():
    """What `python -m genai_utils.train vae` trains: the main model of chapter 24 on MNIST."""
    images = data.mnist("train").x
    batches = TensorBatches(images, batch_size=128, transform=dynamic_binarize)
    options = {"steps": 20_000, "lr": 2e-3, "warmup": 100, "ema": 0.999}
    options |= {"graph": True}  # on a graphics card only
    return VAE(), batches, options
