"""Rectified flow: the way from noise to data as a straight line, and a student that takes one step.

The same network as in `diffusion`, the same data; what is learned is not the noise but the velocity
of a point that goes from data (u = 0) to noise (u = 1) in a straight line. Following the learned
velocity backwards from fresh noise is an ordinary differential equation, and no noise is added on
the way.

Sources: Liu, Gong & Liu 2023 (rectified flow, its distillation); Lipman et al. 2023 (flow
matching); Albergo & Vanden-Eijnden 2023; Karras et al. 2022 (fresh noise on the way).
"""

import copy
import math

import torch
import torch.nn.functional as F

from genai_utils import inputs

from .diffusion import class_or_none, guided
from .image_model import ImageModel, drawn
from .unet import UNet, for_sampling, only_counted, recorded

SCALE = 1_000  # what the network is told: u = 1 is its time 1,000, as DDPM's T


def straight(x, u, eps):
    """A place on the straight line from data to noise, and the velocity there.

        x_u = (1 - u) x + u ε,   v = dx_u / du = ε - x

    Shapes: x (B, …), u (B,) in [0, 1], eps ~ N(0, I) of the shape of x -> x_u, v (B, …).
    The velocity is the same all along the line. Source: Liu et al. 2023, eq. 1.
    """
    u = u.reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, …, 1)
    return (1 - u) * x + u * eps, eps - x


def euler(velocity, x, steps):
    """Follow a velocity from u = 1 to u = 0 in so many equal steps.

        x_{u - 1/n} = x_u - v(x_u, u) / n,   n = steps

    velocity: a function of x (B, …) and u (B,). Returns x_0 (B, …). The velocity is asked once for
    each step, at u = 1, …, 1/n. Raises ValueError for fewer than one step.
    Source: Liu et al. 2023, section 2.1.
    """
    steps = inputs.whole(steps, "steps")
    for i in range(steps, 0, -1):
        u = torch.full((len(x),), i / steps, device=x.device)
        x = x - velocity(x, u) / steps
    return x


def wander(velocity, x, steps, churn=25.0, generator=None):
    """The same with fresh noise: before each step but the first and the last, a little way back.

        r = u / (1 - u), noise over data;   û so that its r is min(e^{churn / n}, 2) times as large
        x_û = c x_u + √(û² - c² u²) z,   c = (1 - û) / (1 - u),   z ~ N(0, I);   then from û to s

    churn = 0 is `euler`. Going back does not change how x is distributed at its new time, so with
    the exact velocity any churn ends at the data if the steps are many. Where a network errs, later
    steps mend what earlier ones spoiled. Raises ValueError for a number below 0.
    Source: Karras et al. 2022, algorithm 2.
    """
    steps, churn = inputs.whole(steps, "steps"), inputs.number(churn, "churn", least=0)
    back = min(math.exp(min(churn / steps, 1.0)), 2.0)
    for i in range(steps, 0, -1):
        u, s = i / steps, (i - 1) / steps
        if s > 0 and u < 1:
            later = back * u / (1 - u + back * u)
            c = (1 - later) / (1 - u)
            z = drawn(torch.randn, *x.shape, like=x, generator=generator)
            x, u = c * x + max(later**2 - (c * u) ** 2, 0.0) ** 0.5 * z, later
        x = x - (u - s) * velocity(x, torch.full((len(x),), u, device=x.device))
    return x


def heun(velocity, x, steps):
    """The same with the mean of the velocities at both ends of each step; the last is Euler's."""
    steps = inputs.whole(steps, "steps")
    for i in range(steps, 0, -1):
        u = torch.full((len(x),), i / steps, device=x.device)
        v = velocity(x, u)
        if i > 1:
            v = (v + velocity(x - v / steps, u - 1 / steps)) / 2
        x = x - v / steps
    return x


class RectifiedFlow(ImageModel):
    """A model of images that learns the velocity of straight lines between data and noise.

    Args: as of `DDPM`. The network is told the time 1,000 u, where DDPM's is told t.
    """

    def __init__(
        self, size=28, channels=1, classes=None, dropped=0.1, net=None, width=32, mults=(1, 2, 2),
        patch=1,
    ):  # fmt: skip
        super().__init__(size, channels, classes)
        self.dropped = inputs.number(dropped, "dropped", least=0, most=1)
        self.net = UNet(size, channels, width, mults, classes, patch) if net is None else net

    def loss(self, batch):
        """‖v - v(x_u, u)‖², the mean over all numbers, u uniform in [0, 1]."""
        x, y = self.batch(batch)
        if y is not None:
            y = class_or_none(y, self.classes, self.dropped)
        u = torch.rand(len(x), device=x.device)
        x_u, v = straight(2 * x - 1, u, torch.randn_like(x))
        loss = F.mse_loss(self.net(x_u, SCALE * u, y).float(), v)
        return {"loss": loss, "mse": loss}

    def velocity(self, x, u, y=None, guidance=0.0, net=None):
        """v(x_u, u), guided towards the class y where it is asked for: x (B, C, H, W), u (B,)."""
        net = self.net if net is None else net
        if y is None or guidance == 0:
            return net(x, SCALE * u, y).to(x.dtype)
        none = torch.full_like(y, self.classes)
        both = net(torch.cat([x, x]), SCALE * torch.cat([u, u]), torch.cat([none, y]))
        return guided(*both.to(x.dtype).chunk(2), guidance)

    def noise(self, n, generator=None):
        """Where a walk begins: n draws of N(0, I), (n, C, H, W)."""
        shape = (n, self.channels, self.size, self.size)
        return drawn(torch.randn, *shape, like=self._weight(), generator=generator)

    @torch.no_grad()
    def walk(self, x, steps=50, y=None, guidance=0.0, solver=euler):
        """From noise x (B, C, H, W) to images in about [-1, 1], by `euler`, `heun` or `wander`."""
        guidance = inputs.number(guidance, "guidance", least=0)
        if only_counted():
            return x
        net, given = for_sampling(self.net), () if y is None else (y,)

        def v(x, u, *y):
            return self.velocity(x, u, *y, guidance=guidance, net=net)

        v = recorded(v, x, torch.ones(len(x), device=x.device), *given)
        return solver(lambda x, u: v(x, u, *given), x, steps)

    def sample(self, n, y=None, generator=None, steps=50, guidance=0.0, solver=euler, chunk=2_500):
        """n images (n, C, H, W) in [0, 1], in so many steps, `chunk` at a time."""
        y, images = self.kinds(n, y, generator), []
        if guidance and y is None:
            raise inputs.refusal("guidance", "0 for a model without classes", guidance)
        for start in range(0, n, chunk):
            x = self.noise(min(chunk, n - start), generator)
            of = None if y is None else y[start : start + chunk]
            x = self.walk(x, steps, of, guidance, solver)
            images.append((x + 1).clamp(0, 2) / 2)
        return torch.cat(images)


class OneStep(RectifiedFlow):
    """A student that learned where its teacher's walk ends: noise to image in one step.

    teacher: a trained `RectifiedFlow`; the student begins with its weights. Its batches are pairs
    (noise, image), both (B, C, H, W), and a third, the classes (B,), if the teacher knows any; see
    `pairs`. Source: Liu et al. 2023, section 2.3.
    """

    def __init__(self, teacher):
        net = copy.deepcopy(teacher.net).requires_grad_(True)
        super().__init__(teacher.size, teacher.channels, teacher.classes, net=net)

    def batch(self, batch, values=False):
        """Images, classes (None without) and the noise that they come from."""
        told = "a pair (noise, image)" if self.classes is None else "(noise, image, class)"
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 + (self.classes is not None):
            raise inputs.refusal("batch", told, inputs.kind_of(batch))
        noise, *given = batch
        x, y = super().batch(given if len(given) == 2 else given[0], values)
        dtype = self._weight().dtype
        return x, y, inputs.images(noise, "noise", self.size, self.channels, False, dtype)

    def loss(self, batch):
        """‖x - (ε - v(ε, 1))‖², the mean over all pixels."""
        x, y, noise = self.batch(batch)
        one = torch.ones(len(x), device=x.device)
        loss = F.mse_loss(noise - self.net(noise, SCALE * one, y).float(), 2 * x - 1)
        return {"loss": loss, "mse": loss}

    def sample(self, n, y=None, generator=None, steps=1, **options):
        """n images (n, C, H, W) in [0, 1], in one step."""
        return super().sample(n, y, generator, steps, **options)


def pairs(teacher, n, steps=25, generator=None, chunk=2_500):
    """Noise and where the teacher's walk ends: noise and images (n, C, H, W), these in [0, 1].

    Of a teacher that knows classes there is a third, the classes (n,), each equally likely.
    """
    y = teacher.kinds(inputs.whole(n, "n"), None, generator)
    noise = teacher.noise(n, generator)
    told = [None] * len(noise.split(chunk)) if y is None else y.split(chunk)
    parts = zip(noise.split(chunk), told, strict=True)
    walked = torch.cat([teacher.walk(part, steps, of, solver=heun) for part, of in parts])
    images = (walked + 1).clamp(0, 2) / 2
    return (noise, images) if y is None else (noise, images, y)
