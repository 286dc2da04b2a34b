"""The image encoder and decoder of latent diffusion: colour pictures as small maps of numbers.

A VAE of chapter 24 without its flat code: the latent keeps places, (4, 8, 8) for (3, 32, 32), so
that a denoiser can work on it as on an image. The KL term is light: it keeps the latent smooth and
of moderate size, and the decoder sharp. What is left of a normal prior, diffusion learns. Beside
its convolutions each network has one linear map of squares of pixels, which finds within some
hundred steps what a PCA finds (chapter 2); the convolutions add what that misses.

    coder = ImageCoder()
    z = coder.encode(x)                # (B, 4, 8, 8), each channel of mean 0 and deviation 1
    x = coder.decode(z)                # (B, 3, 32, 32) in [0, 1]

Sources: Rombach et al. 2022, sections 3.1 and G (KL-regularised, latents rescaled); Kingma &
Welling 2014; Shi et al. 2016 (pixel shuffle). Lecture item A112.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from .image_model import ImageModel
from .vae import gaussian_kl, reparameterize


def latent_statistics(z):
    """Mean and standard deviation of each channel of latents, over examples and places.

        m_c = mean of z_c,   s_c = √(mean of (z_c - m_c)²)

    z (B, C, H, W) → m, s (C,). With (z - m) / s noise of variance 1 fits the data, whatever scale
    the encoder has chosen. A channel that never changes has s = 1: it can be divided by.
    Source: Rombach et al. 2022, section G.
    """
    mean = z.mean((0, 2, 3))
    std = (z - mean[:, None, None]).square().mean((0, 2, 3)).sqrt()
    return mean, torch.where(std > 0, std, torch.ones_like(std))


class Beside(nn.Module):
    """A linear map and a network side by side: linear(x) + net(x).

    The network begins small, so that at first the linear map is nearly alone.
    """

    def __init__(self, linear, net):
        super().__init__()
        self.linear, self.net = linear, net
        *_, last = (layer for layer in net if isinstance(layer, nn.Conv2d))
        for layer in net:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            last.weight.mul_(0.1)

    def forward(self, x):
        return self.linear(x) + self.net(x)


class ImageCoder(ImageModel):
    """Encoder and decoder with a spatial latent of a quarter of the side.

    Args:
        size, channels: of the images; size a multiple of 4.
        latent: channels of the latent.
        width: channels of the convolutions at half the side; twice as many at a quarter.
        weight: of the KL term (nats for each number of the latent) beside the squared error of a
            pixel. 1e-4 costs little sharpness; without it the latent grows as it likes.
    Latents are rescaled by `measure`; until it is called the scale is 1.
    """

    def __init__(self, size=32, channels=3, latent=4, width=32, weight=1e-4):
        super().__init__(size, channels)
        if size % 4:
            raise inputs.refusal("size", "a multiple of 4", size)
        w = inputs.whole(width, "width")
        self.latent, self.side = inputs.whole(latent, "latent"), size // 4
        self.weight = inputs.number(weight, "weight", least=0)
        encoder = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 4C, size/2, size/2)
            nn.Conv2d(4 * channels, w, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(w, 2 * w, 3, stride=2, padding=1),  # (B, 2w, size/4, size/4)
            nn.SiLU(),
            nn.Conv2d(2 * w, 2 * w, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * w, 2 * latent, 1),
        )
        decoder = nn.Sequential(
            nn.Conv2d(latent, 2 * w, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * w, 2 * w, 3, padding=1),
            nn.SiLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * w, w, 3, padding=1),  # (B, w, size/2, size/2)
            nn.SiLU(),
            nn.Conv2d(w, w, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(w, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        squares = nn.Conv2d(channels, 2 * latent, 4, stride=4)
        pixels = nn.Conv2d(latent, 16 * channels, 1)
        self.encoder = Beside(squares, encoder)
        self.decoder = Beside(nn.Sequential(pixels, nn.PixelShuffle(4)), decoder)
        with torch.no_grad():  # a random projection and its way back; a variance of exp(-4)
            mean, logvar = squares.weight.flatten(1).chunk(2)
            pixels.weight.copy_(nn.init.orthogonal_(mean).mT[..., None, None])
            logvar.zero_()
            squares.bias.copy_(torch.tensor([0.0, -4.0]).repeat_interleave(latent))
        self.register_buffer("shift", torch.zeros(latent, 1, 1))
        self.register_buffer("scale", torch.ones(latent, 1, 1))

    def posterior(self, x):
        """Mean and log-variance of Q(z | x) before any rescaling: (B, latent, side, side) each."""
        return self.encoder(self.images(x, values=False)).chunk(2, 1)

    def loss(self, batch):
        """Squared error for each number of a picture plus a little KL for each of its latent."""
        x, _ = self.batch(batch)
        mu, logvar = self.posterior(x)
        a = self.decoder(reparameterize(mu, logvar, torch.randn_like(mu)))
        mse = F.mse_loss(a.float(), x)
        kl = gaussian_kl(mu.flatten(1), logvar.flatten(1)).mean()  # nats per image
        loss = mse + self.weight * kl / mu[0].numel()
        return {"loss": loss, "mse": mse, "kl": kl}

    @torch.no_grad()
    def measure(self, x):
        """Fix the scale of the latents, so that those of images x have mean 0, deviation 1."""
        mean, std = latent_statistics(self.posterior(self.images(x))[0])
        self.shift.copy_(mean[:, None, None])
        self.scale.copy_(std[:, None, None])
        return self

    @torch.no_grad()
    def encode(self, x, chunk=1_000):
        """Latents of images (B, C, size, size) in [0, 1]: (B, latent, side, side), rescaled."""
        parts = [self.posterior(part)[0] for part in self.images(x).split(chunk)]
        return (torch.cat(parts) - self.shift) / self.scale

    def decode(self, z):
        """Images in [0, 1] of latents. Raises ValueError for latents of another shape."""
        wanted = (self.latent, self.side, self.side)
        if z.ndim != 4 or tuple(z.shape[1:]) != wanted:
            shape = ", ".join(map(str, ("B", *wanted)))
            raise inputs.refusal("z", f"latents of shape ({shape})", f"{tuple(z.shape)}")
        return self.decoder(z * self.scale + self.shift).clamp(0, 1)


class Pixels(nn.Module):
    """No code at all, for a diffusion in pixels: the image itself, from [0, 1] to [-1, 1]."""

    def __init__(self, size=32, channels=3):
        super().__init__()
        self.latent, self.side = inputs.whole(channels, "channels"), inputs.whole(size, "size")

    def encode(self, x):
        return 2 * inputs.images(x, "x", self.side, self.latent) - 1

    def decode(self, z):
        return ((z + 1) / 2).clamp(0, 1)
