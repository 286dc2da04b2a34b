"""Latent diffusion: from a sentence to a picture by three networks, trained one after the other.

    1. image encoder and decoder   `image_coder.ImageCoder`, from pictures alone
    2. text encoder                `cross_attention.TextEncoder`, a tower of chapter 28, frozen
    3. denoiser                    `text_unet` or `DiT`, from pairs (latent, sentence)

The denoiser never sees a pixel: it learns on latents, and what it makes of noise is decoded at the
end. How it learns and walks is chapter 27's, unchanged: the noise of `Diffusion` with DDIM, or the
velocity of `RectifiedFlow`; a sentence stands where the class stood.

    model = LatentDiffusion(coder, net)                 # net: text_unet(text, …) or DiT(text, …)
    model.loss((z, ids))                                # z = coder.encode(x), ids (B, T)
    model.draw(["a red circle"], guidance=2.0)          # pictures (1, 3, 32, 32)

Sources: Rombach et al. 2022; Ho & Salimans 2022 (guidance); Liu et al. 2023; Song et al. 2021.
Lecture items A20, A112, A113, B71.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from . import scenes
from .diffusion import Diffusion, denoised
from .flow_matching import SCALE, RectifiedFlow, euler, straight
from .image_model import drawn
from .unet import only_counted

KINDS = ("flow", "ddpm")


def latent_betas(steps=1_000):
    """β_1, …, β_T whose roots rise in a straight line, as Stable Diffusion has them.

        √β_t from √0.00085 to √0.012, β scaled by 1,000 / T

    At the end 0.5 % of the variance is data (√ᾱ_T = 0.07). A cosine's ᾱ_T is next to 0, and
    x̂_0 = (x_T - √(1 - ᾱ_T) ε) / √ᾱ_T blows a small error up. Chapter 27 clips x̂_0 to the range of
    images; latents have none. Returns (T,) float64. Raises ValueError for fewer than 13 steps.
    Source: Rombach et al. 2022, their program; Ho et al. 2020 for the straight line of β.
    """
    scale = 1_000 / inputs.whole(steps, "steps", least=13)
    return scale * torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2


def without_some(ids, end, share, draws):
    """Sentences of which some are taken away, so that the denoiser learns to do without (A113).

    Where a number of `draws` is below `share`, the whole row becomes ends: the empty sentence.
    ids (B, T) int64; draws (B,), uniform in [0, 1); share from 0 to 1 → (B, T). share = 0 takes
    none, share = 1 all. Source: Ho & Salimans 2022, algorithm 1.
    """
    return torch.where((draws < share)[:, None], end, ids)


def composed(none, told, weights):
    """Several sentences at once: what each adds to the prediction without any, weighted.

        v = v_none + Σ_k w_k (v_k - v_none)

    One sentence with the weight 1 + w is guidance with w, see `diffusion.guided`. A weight below 0
    leads away from a sentence. none (B, …), the prediction without a sentence; told (K, B, …), that
    of each of K sentences; weights (K,) → (B, …). Without a sentence, K = 0, it is `none`.
    Source: Liu et al. 2022 (composable diffusion), eq. 11.
    """
    weights = weights.reshape(-1, *[1] * none.ndim)  # (K, 1, …, 1)
    return none + (weights * (told - none)).sum(0)


class LatentDiffusion(nn.Module):
    """A denoiser of latents that is told sentences, beside the decoder that makes them pictures.

    Args:
        coder: a trained `ImageCoder`, or `Pixels` for a diffusion without latents. It is frozen.
        net: the denoiser, with `condition.text`, a `TextEncoder`.
        kind: "flow", the velocity of straight lines, or "ddpm", the noise, walked by DDIM.
        T: steps of noise, for "ddpm".
        dropped: share of the sentences that are taken away in training, for guidance.
    """

    def __init__(self, coder, net, kind="flow", T=1_000, dropped=0.1):
        super().__init__()
        self.kind = inputs.one_of(kind, "kind", KINDS)
        self.dropped = inputs.number(dropped, "dropped", least=0, most=1)
        self.coder = coder.requires_grad_(False)
        if kind == "flow":
            self.walker = RectifiedFlow(coder.side, coder.latent, net=net)
            self.walker.classes = net.condition.classes  # "none" of guidance: the empty sentence
        else:
            self.walker = Diffusion(net, latent_betas(T))

    @property
    def net(self):
        """The denoiser."""
        return self.walker.net

    @property
    def text(self):
        """The text encoder."""
        return self.net.condition.text

    def check_batch(self, batch):
        """Raises TypeError or ValueError for latents or ids that do not fit, values included."""
        z, ids = batch
        self._latents(z)
        if not z.isfinite().all():
            raise inputs.refusal("z", "finite latents", "NaN or infinite ones")
        inputs.tokens(ids, "ids", self.text.stack.config.vocabulary)
        if len(z) != len(ids):
            raise inputs.refusal("batch", f"a sentence for each of {len(z)} latents", len(ids))

    def _latents(self, z):
        wanted = (self.coder.latent, self.coder.side, self.coder.side)
        if z.ndim != 4 or tuple(z.shape[1:]) != wanted:
            shape = ", ".join(map(str, ("B", *wanted)))
            cure = "encode the pictures first: coder.encode(x)"
            raise inputs.refusal("z", f"latents of shape ({shape})", f"{tuple(z.shape)}", cure)
        return z

    def loss(self, batch):
        """Of (z, ids): the squared error of the velocity or of the noise, mean over all numbers."""
        z, ids = batch
        self._latents(z)
        draws = torch.rand(len(ids), device=ids.device)
        ids = without_some(ids, self.text.end, self.dropped, draws)
        if self.kind == "ddpm":
            mse = self.walker.loss(z, ids)
        else:
            u = torch.rand(len(z), device=z.device)
            z_u, v = straight(z, u, torch.randn_like(z))
            mse = F.mse_loss(self.net(z_u, SCALE * u, ids).float(), v)
        return {"loss": mse, "mse": mse}

    # --- from a sentence to a picture ------------------------------------------------------------

    def read(self, sentences):
        """Sentences as ids on the model's device: a list of texts, or ids already.

        Raises ValueError for a sentence without a word, or with one that the world does not have.
        """
        ids = sentences if torch.is_tensor(sentences) else scenes.encode(sentences)
        inputs.tokens(ids, "sentences", self.text.stack.config.vocabulary)
        return ids.to(next(self.net.parameters()).device)

    def noise(self, n, generator=None):
        """Where a walk begins: n draws of N(0, I), (n, latent, side, side)."""
        shape = (inputs.whole(n, "n"), self.coder.latent, self.coder.side, self.coder.side)
        return drawn(torch.randn, *shape, like=next(self.net.parameters()), generator=generator)

    def walk(self, z, ids, steps=25, guidance=2.0, solver=euler):
        """From noise z to latents that fit the sentences; guidance as of `diffusion.guided`."""
        self._latents(z)
        guidance = inputs.number(guidance, "guidance", least=0)
        if self.kind == "flow":
            return self.walker.walk(z, steps, ids, guidance, solver)
        times = self.walker.times(steps)
        return self.walker.walk(z, times, ids, guidance, eta=0.0)[0]

    @torch.no_grad()
    def draw(self, sentences, steps=25, guidance=2.0, generator=None, noise=None, solver=euler,
             chunk=500):  # fmt: skip
        """A picture for each sentence: (n, C, H, W) in [0, 1].

        sentences: a list of texts, or ids (n, T). steps: how often the denoiser is asked; with
        guidance above 0 twice at each. noise: where to begin, to see the same noise under other
        words; None: drawn. Raises as `read`, and ValueError for guidance below 0 or noise of
        another shape.
        """
        ids = self.read(sentences)
        z = self.noise(len(ids), generator) if noise is None else self._latents(noise)
        if len(z) != len(ids):
            raise inputs.refusal("noise", f"one for each of {len(ids)} sentences", len(z))
        parts = zip(z.split(chunk), ids.split(chunk), strict=True)
        done = [self.walk(part, said, steps, guidance, solver) for part, said in parts]
        return torch.cat([self.coder.decode(part) for part in done])

    @torch.no_grad()
    def compose(self, sentences, weights, n=1, steps=25, generator=None, noise=None):
        """n pictures of several sentences at once, each with its weight; see `composed`.

        For the kind "flow". Raises ValueError for another, and where a sentence has no weight.
        """
        inputs.one_of(self.kind, "kind of a model that composes", ("flow",))
        z = self.noise(n, generator) if noise is None else self._latents(noise)
        ids, none = self.read(sentences), self.text.empty(len(z), z.device)
        weights = inputs.array(weights, "weights", z.dtype).to(z.device)
        if weights.shape != (len(ids),):
            expected = f"one for each of {len(ids)} sentences"
            raise inputs.refusal("weights", expected, f"the shape {tuple(weights.shape)}")
        self.net.eval()

        def velocity(z, u):
            told = [self.net(z, SCALE * u, said.expand(len(z), -1)) for said in ids]
            return composed(self.net(z, SCALE * u, none), torch.stack(told), weights)

        return self.coder.decode(euler(velocity, z, steps))

    def sample(self, n, generator=None, steps=25):
        """n pictures without a sentence."""
        ids = self.text.empty(n, next(self.net.parameters()).device)
        return self.draw(ids, steps, 0.0, generator)

    @torch.no_grad()
    def frames(self, sentence, steps=25, guidance=2.0, generator=None, noise=None):
        """Step by step: yields (time, z, the latent that the denoiser sees behind it).

        time falls from 1, noise, to 0; the last z is what `walk` ends with, and what is seen
        behind it is itself. All are (1, latent, side, side); `coder.decode` makes pictures of them.
        """
        ids, steps = self.read([sentence]), inputs.whole(steps, "steps")
        guidance = inputs.number(guidance, "guidance", least=0)
        z = self.noise(1, generator) if noise is None else self._latents(noise)
        self.net.eval()
        if self.kind == "flow":
            times = [i / steps for i in range(steps, -1, -1)]
        else:
            times = self.walker.times(steps)
        for now, then in zip(times, times[1:], strict=False):
            at = torch.full((1,), now, device=z.device)
            if self.kind == "flow":
                v = self.walker.velocity(z, at, ids, guidance)
                clean, after = z - now * v, z - v / steps
            else:
                eps, bar = self.walker.eps(z, at, ids, guidance), self.walker.bar
                clean = denoised(z, eps, bar[at])
                after = self.walker.leap(z, at, torch.full_like(at, then), None, ids, guidance)
            yield now / times[0], z, clean
            z = after
        yield 0.0, z, z


@torch.no_grad()
def scene_pairs(n, coder, seed=0, unseen=False, said=None, device="cpu", chunk=500):
    """Latents of n scenes and the ids of their captions: z (n, latent, side, side), ids (n, T).

    The pictures are drawn, encoded and forgotten: all that a denoiser is ever shown. unseen, said:
    as of `scenes.draw`. The same n and seed give the same pairs, and fewer are the first of more.
    """
    n = min(inputs.whole(n, "n"), chunk) if only_counted() else inputs.whole(n, "n")
    many = scenes.SceneBatches(chunk, seed, unseen, said, device=device)
    parts = [many(step) for step in range(-(-n // chunk))]
    z = torch.cat([coder.encode(x) for x, _ in parts])[:n]
    return z, torch.cat([ids for _, ids in parts])[:n]
