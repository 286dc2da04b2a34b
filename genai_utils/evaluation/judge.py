"""The judge: a small classifier, trained on real images, that looks at generated ones.

Its penultimate layer gives the features for the Fréchet distance and precision and recall (an
Inception network, which the papers use, knows photographs and not digits), and its confidence says
how many samples can be recognised at all. Numbers of two judges cannot be compared: train one for a
data set and use it for all models.
"""

import random
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.evaluation.inputs import as_images, as_labels, positive_int
from genai_utils.training import TensorBatches, fit

FEATURES = 64  # width of the penultimate layer
BATCH = 128
CHUNK = 1000  # images judged at once


def _conv(channels_in, channels_out, stride):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class JudgeNet(nn.Module):
    """Three strided 3×3 convolutions and two linear layers.

    28×28 → 14×14 → 7×7 → 4×4 of 64 channels → 64 features → classes.
    Images below 16 pixels keep their size in the first convolution: 8×8 → 8×8 → 4×4 → 2×2.
    """

    def __init__(self, height, width, channels=1, classes=10):
        super().__init__()
        first = 2 if min(height, width) >= 16 else 1
        body = nn.Sequential(_conv(channels, 16, first), _conv(16, 32, 2), _conv(32, 64, 2))
        with torch.no_grad():
            self.flat = body.eval()(torch.zeros(1, channels, height, width)).numel()
        self.body = body.train()
        self.penultimate = nn.Linear(self.flat, FEATURES)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, x):
        x = self.body(x).flatten(1)  # (B, 64 h w)
        return F.relu(self.penultimate(x))  # (B, 64)

    def forward(self, x):
        return self.head(self.features(x))  # (B, classes)

    def loss(self, batch):
        """Cross-entropy of the labels, plus that of "any class alike" on rubbish, in nats.

            L = −mean log p(y | x) − 0.3 · mean over rubbish r and classes c of log p(c | r)

        Without the second term a classifier is sure of most random pictures, since it never saw
        one: on MNIST 81 % of uniform noise had a class above 0.9, with it none has.
        Source: Hendrycks et al. 2019, eq. 1.
        """
        x, labels, rubbish = batch
        logits = self(torch.cat([x, rubbish]))  # (B + R, classes)
        known = F.cross_entropy(logits[: len(x)], labels)
        unknown = -logits[len(x) :].log_softmax(dim=1).mean()
        return {"loss": known + 0.3 * unknown, "known": known}


def add_rubbish(batch, generator):
    """Add a third entry to (images (B, C, H, W), labels (B,)): B/4 pictures that show nothing.

    Half of them are uniform noise, half are images of the batch with their pixels shuffled, which
    keeps the histogram and destroys the form. A transform for `TensorBatches`.
    """
    x, labels = batch
    count = -(-len(x) // 8)  # of each kind, rounded up
    some = x[:count]
    noise = torch.rand(some.shape, generator=generator, device=x.device, dtype=x.dtype)
    order = torch.randperm(x[0, 0].numel(), generator=generator, device=x.device)
    shuffled = some.flatten(2)[..., order].reshape(some.shape)
    return x, labels, torch.cat([noise, shuffled])  # (B, C, H, W), (B,), (~B/4, C, H, W)


class Judge:
    """A trained classifier of images; made by `train_judge`.

    Every method takes images (N, H, W) or (N, C, H, W) in [0, 1] of the size it was trained on,
    from any device, and answers on the CPU. Each raises ValueError for another size, for values
    outside [0, 1], and for an empty batch.
    """

    def __init__(self, net, shape, device):
        self.net, self.shape, self.device = net.to(device).eval(), tuple(shape), device

    @torch.no_grad()
    def _apply(self, function, images):
        x = as_images(images, dtype=torch.float32)  # (N, C, H, W)
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this judge was trained on images of shape (C, H, W) = {self.shape}, got "
                f"{tuple(x.shape[1:])}"
            )
        return torch.cat([function(part.to(self.device)).cpu() for part in x.split(CHUNK)])

    def logits(self, x):
        """Unnormalised log-probabilities of the classes, (N, classes) float32."""
        return self._apply(self.net, x)

    def features(self, x):
        """The penultimate layer, (N, 64) float32, ≥ 0: input of the metrics between sets."""
        return self._apply(self.net.features, x)

    def recognised_share(self, x, confidence=0.9):
        """Share of images for which some class has at least this probability, in [0, 1].

        Raises ValueError unless 0 < confidence < 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence: expected between 0 and 1, got {confidence!r}")
        best = self.logits(x).softmax(dim=1).max(dim=1).values  # (N,)
        return (best >= confidence).double().mean().item()

    def accuracy(self, x, y):
        """Share of images whose most probable class is their label y (N,), in [0, 1]."""
        y = as_labels(y, "y", len(x))
        return (self.logits(x).argmax(dim=1) == y).double().mean().item()


def train_judge(images, labels, device="cpu", steps=1000, seed=0, progress=False):
    """Train a judge on labelled real images by Adam, batches of 128, one cosine.

    images: (N, H, W), (N, C, H, W) in [0, 1], C = 1 or 3, sides ≥ 8 (8, 28 and 32 are what it was
    made for); labels: (N,) whole numbers from 0. Give it the training split, and look at
    `accuracy` on the test split before you believe what it says. 1,000 steps suit MNIST, 300 the
    8×8 digits. The caller's random state is left as it was.

    Returns a `Judge`. Raises ValueError for another shape or range, for labels that do not match
    or show one class only, for an unknown device; TypeError for labels or steps that are no whole
    numbers.
    """
    device, steps = _device(device), positive_int(steps, "steps")
    x = as_images(images, smallest=8, dtype=torch.float32)  # (N, C, H, W)
    y = as_labels(labels, "labels", len(x))
    if len(y.unique()) < 2:
        raise ValueError("labels: expected at least 2 classes, got one; a judge has to choose")
    batches = TensorBatches(
        x, y, batch_size=min(BATCH, len(x)), seed=seed, transform=add_rubbish, device=device
    )
    with _random_state_kept():
        torch.manual_seed(seed)
        channels, height, width = x.shape[1:]
        net = JudgeNet(height, width, channels, classes=int(y.max()) + 1)
        fit(
            net, batches, steps, lr=3e-3, warmup=min(30, steps // 10), seed=seed,
            progress=progress, title="judge",
        )  # fmt: skip
    return Judge(net, x.shape[1:], device)


def _device(device):
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f'device: expected "cpu", "cuda" or the like, got {device!r}') from error


@contextmanager
def _random_state_kept():
    # `fit` seeds all three; a metric must not change what the notebook draws next.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
