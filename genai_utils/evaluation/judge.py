"""The judge: a small classifier, trained on real images, that looks at generated ones.

Its penultimate layer gives the features for the Fréchet distance and precision and recall (an
Inception network, which the papers use, knows photographs and not digits), and its confidence says
how many samples can be recognised at all. Numbers of two judges cannot be compared. So there is one
for each kind of digit: `load_judge` reads its weights from the package. They were made once, by
`python -m genai_utils.evaluation.make_judge`. `train_judge` trains another, on images of yours.
"""

import hashlib
import json
import os
import random
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.data import DataError, cache_dir
from genai_utils.evaluation.inputs import as_images, as_labels, positive_int
from genai_utils.training import TensorBatches, fit

FEATURES = 64  # width of the penultimate layer
BATCH, LR, WARMUP = 128, 3e-3, 30
RUBBISH = 0.3  # weight of the second term of the loss
CHUNK = 1000  # images judged at once
WEIGHTS = Path(__file__).with_name("weights")
SIZES = (8, *range(28, 33))  # that `load_judge` knows


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
        return {"loss": known + RUBBISH * unknown, "known": known}


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
    """A trained classifier of images; from `load_judge` or `train_judge`.

    Every method takes images (N, H, W) or (N, C, H, W) in [0, 1] of the size the judge is for,
    from any device, and answers on the CPU. Each raises ValueError for another size, for values
    outside [0, 1], and for an empty batch.

    record: a dict that says how it was trained, and for a judge of the package how well it reads
    and the SHA-256 of its weights. `print(judge)` says it in a line.
    """

    def __init__(self, net, shape, device, record, view=None):
        # A card computes convolutions in float32 with 10 bits (TF32) unless told otherwise. In
        # float64 it gives the numbers that a processor gives in float32, at no cost to speak of.
        self.dtype = torch.float64 if device.type == "cuda" else torch.float32
        self.net = net.to(device, self.dtype).eval()
        self.shape, self.device, self.record, self.view = tuple(shape), device, record, view

    def __repr__(self):
        r, (_, height, width) = self.record, self.shape
        if "sha256" not in r:
            return (
                f"judge trained on {r['images']:,} images of {height} x {width} pixels, "
                f"{r['steps']:,} steps, seed {r['seed']}"
            )
        name = {"mnist": "MNIST", "digits": "the bundled digits"}[r["data"]]
        seen = ", images brought back to 8 x 8" if self.view is _shrink else ""
        return (
            f"judge of {name}, {height} x {width} pixels, weights {r['sha256'][:8]}{seen}: reads "
            f"{100 * r['accuracy']['test']:.1f} % of the test digits"
        )

    @torch.no_grad()
    def _apply(self, function, images):
        x = as_images(images, dtype=torch.float32)  # (N, C, H, W)
        if self.view is not None:
            x = self.view(x)
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this judge was trained on images of shape (C, H, W) = {self.shape}, got "
                f"{tuple(x.shape[1:])}; load_judge(size) has one for digits of 8, and one for "
                "digits of 28 to 32 pixels"
            )
        parts = (part.to(self.device, self.dtype) for part in x.split(CHUNK))
        return torch.cat([function(part).float().cpu() for part in parts])

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


def load_judge(size=28, digits="mnist", device="cpu"):
    """The judge that all chapters share, from weights that the package brings: no network.

    size: 8, or 28 to 32, the side of the images. One judge learned MNIST's training digits at
        28×28; of larger images it sees the middle (`data.mnist` pads them to 32×32). The other
        learned scikit-learn's digits at 8×8.
    digits: what the images are like, "mnist" or "digits" (for `data.digits`), or a list of names
        such as `data.used()`, in which MNIST goes first. MNIST's judge cannot read the
        bundled digits well if they were enlarged to 28 or 32: it reads five of six. For them the
        8×8 judge is returned; it sees the 8×8 image whose enlargement is nearest, and nothing else.

    Returns a `Judge`; its `record` says how it was trained and how well it reads. Raises
    ValueError for another size, name or device, TypeError for a size that is no whole number, and
    DataError where the weights are damaged.
    """
    device = _device(device)
    if positive_int(size, "size") not in SIZES:
        raise ValueError(f"size: expected 8 or 28 to 32 pixels, got {size}; see train_judge")
    names = [digits] if isinstance(digits, str) else list(digits)
    known = {str(name).split()[0] for name in names if name} & {"mnist", "digits"}
    if not known:
        raise ValueError(f'digits: expected "mnist", "digits" or data.used(), got {digits!r}')
    if size == 8:
        return _shipped(8, device)
    return _shipped(28, device, _crop) if "mnist" in known else _shipped(8, device, _shrink)


def train_judge(images, labels, device="cpu", steps=1000, seed=0, progress=False):
    """Train a judge on labelled real images by Adam, batches of 128, one cosine.

    images: (N, H, W), (N, C, H, W) in [0, 1], C = 1 or 3, sides ≥ 8 (8, 28 and 32 are what it was
    made for); labels: (N,) whole numbers from 0. Give it the training split, and look at
    `accuracy` on the test split before you believe what it says. 1,000 steps suit MNIST, 300 the
    8×8 digits. The caller's random state is left as it was.

    The weights are kept in the user's cache (where it can be written to) under the digest of
    images, labels, steps, seed and recipe: the same call does not train a second time.

    Returns a `Judge`. Raises ValueError for another shape or range, for labels that do not match
    or show one class only, for an unknown device; TypeError for labels or steps that are no whole
    numbers.
    """
    device, steps = _device(device), positive_int(steps, "steps")
    x = as_images(images, smallest=8, dtype=torch.float32)  # (N, C, H, W)
    y = as_labels(labels, "labels", len(x))
    if len(y.unique()) < 2:
        raise ValueError("labels: expected at least 2 classes, got one; a judge has to choose")
    kept = cache_dir() / "judges" / f"{_digest(x, y, steps, seed)}.safetensors"
    try:
        net = fill(blank(*_sizes(x, y)), kept.read_bytes())
    except (OSError, ValueError, safetensors.SafetensorError):
        net = learn(x, y, steps, seed, device, progress)
        if os.environ.get("GENAI_ESTIMATE") != "1":  # then `fit` took two steps only
            _keep(kept, pack(net, torch.float32))
    record = {"images": len(x), "steps": steps, "seed": seed}
    return Judge(net, x.shape[1:], device, record)


def learn(x, y, steps, seed, device="cpu", progress=False):
    """Train a `JudgeNet` on checked images (N, C, H, W) and labels (N,); returns it."""
    batches = TensorBatches(
        x, y, batch_size=min(BATCH, len(x)), seed=seed, transform=add_rubbish, device=device
    )
    with _random_state_kept():
        torch.manual_seed(seed)
        net = JudgeNet(*_sizes(x, y))
        fit(
            net, batches, steps, lr=LR, warmup=min(WARMUP, steps // 10), seed=seed, graph=True,
            progress=progress, title="judge",
        )  # fmt: skip
    return net


def _sizes(x, y):
    channels, height, width = x.shape[1:]
    return height, width, channels, int(y.max()) + 1  # as JudgeNet takes them


def pack(net, dtype):
    """The floating-point entries of a network's state, as the bytes of a safetensors file."""
    state = net.state_dict().items()
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in state if v.is_floating_point()}
    return safetensors.torch.save(state)


def blank(height, width, channels=1, classes=10):
    """A `JudgeNet` to be filled; the random numbers of its start are nobody's."""
    with torch.random.fork_rng(devices=[]):
        return JudgeNet(height, width, channels, classes)


def fill(net, payload):
    """Put packed weights into a network and return it.

    Raises ValueError if they are another network's, SafetensorError if they are none.
    """
    own, given = net.state_dict(), safetensors.torch.load(payload)
    shapes = {k: v.shape for k, v in own.items() if v.is_floating_point()}
    if {k: v.shape for k, v in given.items()} != shapes:
        raise ValueError("the weights belong to another network")
    net.load_state_dict(own | {k: v.float() for k, v in given.items()})
    return net


def _shipped(size, device, view=None):
    path = WEIGHTS / f"judge_{size}.safetensors"
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        payload = path.read_bytes()
        found = hashlib.sha256(payload).hexdigest()
        if found != record["sha256"]:
            raise ValueError(f"SHA-256 {found[:12]}… instead of {record['sha256'][:12]}…")
        net = fill(blank(size, size), payload)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(
            f"the weights of the judge, {path}, or the record beside them are damaged or missing "
            f"({error}). Install genai_utils again, or make them anew: "
            f"python -m genai_utils.evaluation.make_judge --size {size}"
        ) from error
    return Judge(net, (1, size, size), device, record, view)


def _crop(x, side=28):
    """The middle of images (N, C, H, W) of 28 to 32 pixels, (N, C, side, side)."""
    height, width = x.shape[2:]
    if height != width or height not in SIZES[1:]:
        raise ValueError(
            f"this judge takes square images of 28 to 32 pixels, got {height}×{width}; "
            "load_judge(8) has one for 8×8"
        )
    edge = (height - side) // 2
    return x[..., edge : edge + side, edge : edge + side]


def _shrink(x):
    """Enlarged digits (N, 1, 28…32, 28…32) back at (N, 1, 8, 8).

    `data.digits` enlarges to 20×20 by E x Eᵀ, bilinear, E (20, 8), inside a black border. This
    is the x that comes nearest, E⁺ x′ E⁺ᵀ, clipped to [0, 1]: exact for enlarged digits.
    """
    eye = torch.eye(8)[:, None]  # (8, 1, 8)
    enlarge = F.interpolate(eye, size=20, mode="linear", align_corners=False)[:, 0].T  # (20, 8)
    inverse = torch.linalg.pinv(enlarge.double()).float()  # (8, 20)
    return (inverse @ _crop(x, 20) @ inverse.T).clamp(0, 1)


def _digest(x, y, steps, seed):
    """Name of a trained judge: of its data, its settings and this file, which is its recipe."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(json.dumps([list(x.shape), steps, seed]).encode())
    for part in (x, y):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _keep(path, payload):
    # Written beside, then renamed: nobody ever reads half a file. A cache that cannot be written
    # to only means that the next call trains again.
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(payload)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


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
