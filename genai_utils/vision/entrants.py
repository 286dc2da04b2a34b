"""The image generators of the book as entrants of one comparison. Lecture items A33 to A42, A68 on.

Each model is that of its own chapter; here stands only how it is built at a width, with which
learning rate it is trained, and how it is sampled: as in its chapter, where nothing else is said.
All of them read and write images of `LEVELS` grey levels. Two are floors that learn next to
nothing: independent pixels, and a normal distribution of principal components.

    ENTRANTS["VAE"].build(28, 16)     # an untrained model
"""

from functools import partial

import torch

from genai_utils import inputs
from genai_utils.training import Muon, muon_groups

from .autoencoder import Autoencoder
from .budgets import LEVELS, Entrant
from .diffusion import DDPM
from .flow_matching import RectifiedFlow, wander
from .gan import GAN, two_rates
from .glow import Glow
from .grey_pixels import GreyPixelCNN
from .image_model import ImageModel, drawn
from .maskgit import MaskGIT
from .vae import VAE
from .vq import TokenImages, VQAutoencoder

CODE = 16  # numbers of the code of autoencoder and VAE
TOKENS = 32  # kinds of tokens of MaskGIT
ROUNDS, TIMES, WALK = 8, 50, 25  # of MaskGIT, of DDPM, of flow matching

# --- A normal distribution fitted to numbers -----------------------------------------------------


def fitted_normal(z):
    """Mean m and root R of a normal distribution fitted to rows: m + R ε, ε ~ N(0, I), is a draw.

        m = mean z,   R Rᵀ = C = cov(z)

    R = V √Λ of the eigenvectors and eigenvalues of C, largest first: its first k columns give the
    draws in k principal components. Shapes: z (n, d), n >= 2 -> m (d,), R (d, d).
    """
    m = z.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(z.T.double()).reshape(z.shape[1], -1))
    root = vectors.flip(1) * values.flip(0).clamp(min=0).sqrt()
    return m, root.to(z.dtype)


class RandomPixels(ImageModel):
    """Each pixel by itself, from its own histogram in the data: the floor that knows no digit."""

    def __init__(self, size, levels=LEVELS):
        super().__init__(size)
        shape = (levels, size * size)
        self.share = torch.nn.Parameter(torch.full(shape, 1 / levels), requires_grad=False)

    def fit(self, x):
        """Count the levels at each pixel of images (n, 1, H, W). Returns the model."""
        level = (self.images(x).flatten(1) * (len(self.share) - 1)).round().long()
        counts = torch.nn.functional.one_hot(level, len(self.share)).sum(0).T  # (levels, d)
        self.share.copy_(counts / len(x))
        return self

    def sample(self, n, y=None, generator=None):
        u = drawn(torch.rand, inputs.whole(n, "n"), self.share.shape[1], like=self.share,
                  generator=generator)  # fmt: skip
        level = (u[:, None] >= self.share.cumsum(0)[:-1]).sum(1)  # (n, d)
        x = level / (len(self.share) - 1)
        return x.reshape(n, 1, self.size, self.size)


class NormalPixels(ImageModel):
    """A normal distribution of the first `width` principal components, cut off at 0 and 1 (B13)."""

    def __init__(self, size, width):
        super().__init__(size)
        d = size * size
        width = min(inputs.whole(width, "width"), d)
        self.mean, self.root = (torch.nn.Parameter(torch.zeros(shape), requires_grad=False)
                                for shape in (d, (d, width)))  # fmt: skip

    def fit(self, x):
        """Fit it to images (n, 1, H, W). Returns the model."""
        mean, root = fitted_normal(self.images(x).flatten(1))
        self.mean.copy_(mean), self.root.copy_(root[:, : self.root.shape[1]])
        return self

    def sample(self, n, y=None, generator=None):
        k = self.root.shape[1]
        eps = drawn(torch.randn, inputs.whole(n, "n"), k, like=self.root, generator=generator)
        x = (self.mean + eps @ self.root.T).clamp(0, 1)
        return x.reshape(n, 1, self.size, self.size)


class CodedAutoencoder(Autoencoder):
    """An autoencoder, and a normal distribution fitted to its codes afterwards.

    By itself it has nothing to draw from: that is the slide's "no creativity" (A41, A72).
    """

    def __init__(self, size, code, width):
        super().__init__(size, code, width, "conv")
        self.register_buffer("mean", torch.zeros(code))
        self.register_buffer("root", torch.eye(code))

    @torch.no_grad()
    def fit_codes(self, x):
        """Fit the distribution to the codes of images (n, 1, H, W). Returns the model."""
        mean, root = fitted_normal(torch.cat([self.features(part) for part in x.split(1_000)]))
        self.mean.copy_(mean), self.root.copy_(root)
        return self

    @torch.no_grad()
    def sample(self, n, y=None, generator=None):
        eps = drawn(torch.randn, inputs.whole(n, "n"), self.code, like=self.mean,
                    generator=generator)  # fmt: skip
        return self.image(self.mean + eps @ self.root.T)


# --- How each is built and trained ---------------------------------------------------------------


def _counted(model, trainer):
    return model.to(trainer.device).fit(trainer.images.to(trainer.device))


def _autoencoder(model, trainer):
    model = trainer.fit(model, lr=2e-3)
    return model.fit_codes(trainer.images.to(trainer.device))


def _token_images(size, width):
    coder = VQAutoencoder(size, entries=TOKENS, width=width)
    return TokenImages(coder, MaskGIT(TOKENS, size // 4, dim=width, layers=3, heads=2))


def _two_stages(model, trainer):
    """First the coder of images, then the writer of its tokens, each for half of the budget."""
    coder = trainer.fit(model.coder.requires_grad_(True), 0.5, lr=2e-3, average=False)
    model.coder = coder.requires_grad_(False)

    def muon(model, lr):
        return Muon(muon_groups(model.writer, model.writer.blocks), lr=lr)

    return trainer.fit(model, 0.5, lr=2e-2, optimizer=muon, clip=1.0)


def _glow(size, width):
    return Glow(size, depth=4, width=width, blocks=1, noise_depth=0, levels=LEVELS, lu=True)


def _flow(model, trainer):
    model = model.to(trainer.device).start(trainer.images[:500].to(trainer.device))
    return trainer.fit(model, lr=4e-3, clip=1.0)


def _denoiser(kind, **options):
    def build(size, width):
        return kind(size, width=width, mults=(1, 2), patch=2, **options)

    return build


def _walk(model, n, generator):
    return model.sample(n, generator=generator, steps=WALK,
                        solver=partial(wander, generator=generator))  # fmt: skip


FOURS = range(4, 129, 4)  # widths of a U-Net, whose norms have four groups
ENTRANTS = {
    entrant.name: entrant
    for entrant in (
        Entrant("random pixels", lambda size, width: RandomPixels(size), _counted, widths=(),
                calls=lambda model: 0),
        Entrant("PCA", NormalPixels, _counted, width=60, widths=range(1, 785),
                calls=lambda model: 0),
        Entrant("AE", lambda size, width: CodedAutoencoder(size, CODE, width), _autoencoder),
        Entrant("VAE", lambda size, width: VAE(size, CODE, width, "conv", "gaussian", 0.2),
                lambda model, trainer: trainer.fit(model, lr=2e-3)),
        Entrant("PixelCNN", lambda size, width: GreyPixelCNN(size, width, dilations=(1, 2)),
                lambda model, trainer: trainer.fit(model, lr=5e-3, clip=50.0),
                calls=lambda model: model.size**2),
        Entrant("MaskGIT", _token_images, _two_stages, width=32, widths=range(4, 129, 2),
                sample=lambda model, n, generator: model.sample(n, None, generator, steps=ROUNDS),
                calls=lambda model: ROUNDS + 1),
        Entrant("flow", _glow, _flow),
        Entrant("GAN", lambda size, width: GAN(size, 32, width),
                lambda model, trainer: trainer.fit(model, lr=1e-3, optimizer=two_rates)),
        Entrant("DDPM", _denoiser(DDPM, T=TIMES, output="velocity"),
                lambda model, trainer: trainer.fit(model, lr=3e-3, clip=1.0), widths=FOURS,
                calls=lambda model: model.chain.T),
        Entrant("flow matching", _denoiser(RectifiedFlow),
                lambda model, trainer: trainer.fit(model, lr=3e-3, clip=1.0), _walk, widths=FOURS,
                calls=lambda model: WALK),
    )
}  # fmt: skip
