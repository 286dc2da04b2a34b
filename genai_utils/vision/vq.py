"""The vector-quantised autoencoder (VQ-VAE): it makes a few tokens of an image, and an image again.

The story of the file: the nearest entry of a codebook, the step that lets gradients pass it
(`straight_through`), the loss of three terms, the model, and images by way of its tokens
(`TokenImages`). The encoder halves the image twice, so each token stands for a place of a grid that
is four times coarser: 28 x 28 pixels are 7 x 7 tokens.

Symbols: x image, z the encoder's output (k numbers for each place), e the codebook (K, k), K the
number of its entries. A token is a whole number 0 ... K - 1.

Source: van den Oord, Vinyals & Kavukcuoglu 2017; lecture item A35, erratum N25.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils import inputs
from genai_utils.training import gathered
from genai_utils.training.draws import alike

from .image_model import ImageModel


def nearest_entry(z: Tensor, codebook: Tensor) -> Tensor:
    """The token of each vector: the number of the codebook entry that is nearest to it.

        t = argmin_j ‖z - e_j‖² = argmin_j (‖e_j‖² - 2 zᵀ e_j)

    Of several entries that are equally near it is the first.
    Shapes: z (..., k), codebook (K, k) -> (...) int64.
    Source: van den Oord et al. 2017, eq. 1; lecture item A35.
    """
    return (codebook.pow(2).sum(1) - 2 * z @ codebook.T).argmin(-1)


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """The value of q with the gradient of z: what gets learning past the choice of an entry.

        y = z + sg(q - z),   sg: a constant for the gradient

    Shapes: z (..., k), q (..., k) -> (..., k).
    Source: van den Oord et al. 2017, section 3.2; lecture item A35.
    """
    return z + (q - z).detach()


def codebook_penalty(z: Tensor, q: Tensor, weight: float) -> Tensor:
    """What brings entries and vectors together: a mean over all numbers of two terms.

        mean (sg(z) - q)² + β mean (z - sg(q))²,   sg: a constant for the gradient

    The first moves the entries only, the second (the commitment) the encoder only. Where z = q
    neither moves: the gradient is 0 there.
    Shapes: z (..., k), q (..., k) the entries chosen; weight β -> a scalar.
    Source: van den Oord et al. 2017, eq. 3; lecture item A35.
    """
    return (z.detach() - q).pow(2).mean() + weight * (z - q.detach()).pow(2).mean()


def usage_perplexity(tokens: Tensor, entries: int) -> float:
    """How many entries are in use, as if they were used equally often: exp of the entropy.

        exp(-Σ_j p_j log p_j),   p_j: the share of the tokens that are j

    tokens: any shape, whole numbers 0 ... entries - 1. Returns a number between 1 and `entries`.
    Source: van den Oord et al. 2017; lecture item A35.
    """
    if inputs.tokens(tokens, "tokens", inputs.whole(entries, "entries")).numel() == 0:
        raise inputs.refusal("tokens", "at least one token", f"none: {tuple(tokens.shape)}")
    p = torch.bincount(tokens.flatten(), minlength=entries) / tokens.numel()
    return torch.special.entr(p).sum().exp().item()


def _encoder(channels, width, code):
    return nn.Sequential(
        nn.Conv2d(channels, width // 2, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(width // 2, width, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(width, code, 1),
    )  # fmt: skip


def _decoder(channels, width, code):
    return nn.Sequential(
        nn.Conv2d(code, width, 3, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(width // 2, channels, 4, 2, 1),
    )  # fmt: skip


class VQAutoencoder(ImageModel):
    """An autoencoder whose code is a grid of tokens: (size/4) x (size/4) of them, `entries` kinds.

    Args:
        size: side of the square images, a multiple of 4.
        entries: K, the number of kinds of tokens, at least 2.
        code: k, the numbers of one entry.
        width: channels of the convolutions, even.
        commitment: weight of the term that keeps the encoder near the entries it chose.
        patience: an entry that no batch has used for so many training steps starts anew at an
            output of the encoder.
        channels: 1 for grey images, 3 for colour.

    encode(x): images (B, C, size, size) in [0, 1] -> tokens (B, T), T = (size/4)^2, int64, row by
    row. decode(tokens): (B, T) -> images in [0, 1]. loss(x): a dict, see there.
    Raises TypeError or ValueError for settings, images or tokens that do not fit.
    """

    def __init__(
        self, size=28, entries=64, code=16, width=64, commitment=0.25, patience=100, channels=1
    ):  # fmt: skip
        super().__init__(size, channels)
        inputs.whole(entries, "entries", least=2)  # one: all images would be equal
        for name, value in {"code": code, "width": width, "patience": patience}.items():
            inputs.whole(value, name)
        if size % 4:
            raise inputs.refusal("size", "a multiple of 4, one token for 4 x 4", f"{size}")
        if width % 2:
            raise inputs.refusal("width", "an even number", f"{width}")
        self.side, self.entries, self.patience = size // 4, entries, patience
        self.commitment = inputs.number(commitment, "commitment", least=0)
        self.encoder = _encoder(channels, width, code)
        self.decoder = _decoder(channels, width, code)
        self.codebook = nn.Parameter(torch.randn(entries, code))
        self.register_buffer("idle", torch.full((entries,), patience))  # steps since it was used

    def vectors(self, x):
        """The encoder's output before it is rounded: (B, C, H, W) -> (B, T, k)."""
        return self.encoder(self.images(x, values=False)).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def encode(self, x):
        """The tokens of images: x (B, C, H, W) in [0, 1] -> (B, T) int64."""
        return self.tokens(self.images(x))

    @torch.no_grad()
    def tokens(self, x):
        """`encode` without a look at the values of x: for a loss, which should wait for nothing."""
        return nearest_entry(self.vectors(x), self.codebook)  # (B, T)

    def logits(self, q):
        """The decoder's output before the sigmoid: (B, T, k) -> (B, C, H, W)."""
        return self.decoder(q.transpose(1, 2).unflatten(2, (self.side, self.side)))

    @torch.no_grad()
    def decode(self, tokens):
        """The images of tokens: (B, T) -> (B, C, H, W) in [0, 1]."""
        tokens = inputs.tokens(tokens, "tokens", self.entries)
        if tokens.dim() != 2 or tokens.shape[1] != self.side**2:
            shape = f"the shape (B, {self.side**2})"
            raise inputs.refusal("tokens", shape, f"{tuple(tokens.shape)}")
        return self.logits(self.codebook[tokens.to(self.codebook.device, torch.int64)]).sigmoid()

    def loss(self, x):
        """Rebuild the image (cross-entropy, nats per number), and `codebook_penalty`."""
        x, _ = self.batch(x)
        z = self.vectors(x)  # (B, T, k)
        if self.training:
            self.revive(z.detach())
        tokens = nearest_entry(z, self.codebook).detach()
        q = self.codebook[tokens]  # (B, T, k)
        a = self.logits(straight_through(z, q))
        reconstruction = F.binary_cross_entropy_with_logits(a, x)
        penalty = codebook_penalty(z, q, self.commitment)
        if self.training:
            self.idle.add_(1).index_fill_(0, gathered(tokens).flatten(), 0)
        used = (self.idle < self.patience).float().mean()
        terms = {"reconstruction": reconstruction, "penalty": penalty, "used": used}
        return {"loss": reconstruction + penalty, **terms}

    @torch.no_grad()
    def revive(self, z):
        """Entries that were idle too long move to random vectors of this batch."""
        dead = self.idle >= self.patience  # (K,)
        pool = gathered(z).flatten(0, 1)
        # one vector for every entry, needed or not: to count the dead, a card would have to be
        # waited for
        with alike():
            chosen = torch.randint(len(pool), (self.entries,), device=z.device)
        fresh = pool[chosen]
        self.codebook.copy_(torch.where(dead[:, None], fresh.to(self.codebook), self.codebook))
        self.idle.masked_fill_(dead, 0)


class TokenImages(ImageModel):
    """Images by way of tokens: a coder makes tokens of an image, a writer writes new ones.

    Args:
        coder: a trained `VQAutoencoder`; from now on it is held still (`requires_grad_(False)`).
        writer: a model of its tokens, such as `MaskGIT`: loss(tokens), and
            sample(n, generator=…, …) -> tokens.

    loss(x): the writer's, of the tokens of x. sample(n, …): images in [0, 1], decoded from tokens
    that were drawn with the further options of the writer's `sample`.
    Source: van den Oord et al. 2017, section 3.3; lecture item A35.
    """

    def __init__(self, coder, writer):
        super().__init__(coder.size, coder.channels)
        self.coder, self.writer = coder.requires_grad_(False), writer

    def loss(self, x):
        x, _ = self.batch(x)
        return self.writer.loss(self.coder.tokens(x))

    @torch.no_grad()
    def sample(self, n, y=None, generator=None, **options):
        self.kinds(inputs.whole(n, "n"), y)  # it knows no classes
        return self.coder.decode(self.writer.sample(n, generator=generator, **options))
