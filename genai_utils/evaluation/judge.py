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
from contextlib import suppress
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F

from genai_utils.data import cache_dir, shipped
from genai_utils.evaluation import judge_net
from genai_utils.evaluation.inputs import as_images, as_labels
from genai_utils.evaluation.judge_net import JudgeNet, add_rubbish, blank, fill, learn, pack, sizes
from genai_utils.inputs import number, refusal, whole

CHUNK = 1000  # images judged at once
WEIGHTS = Path(__file__).with_name("weights")
SIZES = (8, 16, *range(28, 33))  # that `load_judge` knows


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
            raise refusal(
                "images", f"the shape (C, H, W) = {self.shape} of this judge", tuple(x.shape[1:]),
                "load_judge(size) has one for digits of 8, and one for digits of 28 to 32 pixels",
            )  # fmt: skip
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
        confidence = number(confidence, "confidence", above=0, below=1)
        best = self.logits(x).softmax(dim=1).max(dim=1).values  # (N,)
        return (best >= confidence).double().mean().item()

    def accuracy(self, x, y):
        """Share of images whose most probable class is their label y (N,), in [0, 1]."""
        y = as_labels(y, "y", len(x))
        return (self.logits(x).argmax(dim=1) == y).double().mean().item()


def load_judge(size=28, digits="mnist", device="cpu"):
    """The judge that all chapters share, from weights that the package brings: no network.

    size: 8, 16, or 28 to 32, the side of the images. One judge learned MNIST's training digits at
        28×28; of larger images it sees the middle (`data.mnist` pads them to 32×32). One learned
        them at 16×16, as `data.mnist` halves them, and one scikit-learn's digits at 8×8.
    digits: what the images are like, "mnist" or "digits" (for `data.digits`), or a list of names
        such as `data.used()`, in which MNIST goes first. MNIST's judge cannot read the
        bundled digits well if they were enlarged to 28 or 32: it reads five of six. For them the
        8×8 judge is returned; it sees the 8×8 image whose enlargement is nearest, and nothing else.

    Returns a `Judge`; its `record` says how it was trained and how well it reads. Raises
    ValueError for another size, name or device, TypeError for a size that is no whole number, and
    DataError where the weights are damaged.
    """
    device = _device(device)
    if whole(size, "size") not in SIZES:
        known = "8, 16 or 28 to 32 pixels"
        raise refusal("size", known, size, "train_judge trains one of your own")
    names = [digits] if isinstance(digits, str) else list(digits)
    known = {str(name).split()[0] for name in names if name} & {"mnist", "digits"}
    if not known:
        raise refusal("digits", '"mnist", "digits" or data.used()', repr(digits))
    if size == 8:
        return _shipped(8, device)
    if "mnist" not in known:
        return _shipped(8, device, _shrink)
    return _shipped(16, device) if size == 16 else _shipped(28, device, _crop)


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
    device, steps = _device(device), whole(steps, "steps")
    x = as_images(images, smallest=8, dtype=torch.float32)  # (N, C, H, W)
    y = as_labels(labels, "labels", len(x))
    if len(y.unique()) < 2:
        raise refusal("labels", "at least 2 classes", "one", "a judge has to choose")
    kept = cache_dir() / "judges" / f"{_digest(x, y, steps, seed)}.safetensors"
    try:
        net = fill(blank(*sizes(x, y)), kept.read_bytes())
    except (OSError, ValueError, safetensors.SafetensorError):
        net = learn(x, y, steps, seed, device, progress)
        if os.environ.get("GENAI_ESTIMATE") != "1":  # then `fit` took two steps only
            _keep(kept, pack(net, torch.float32))
    record = {"images": len(x), "steps": steps, "seed": seed}
    return Judge(net, x.shape[1:], device, record)


def _shipped(size, device, view=None):
    net, record = shipped.read(
        WEIGHTS / f"judge_{size}.safetensors",
        "judge",
        f"python -m genai_utils.evaluation.make_judge --size {size}",
        lambda payload: fill(blank(size, size), payload),
    )
    return Judge(net, (1, size, size), device, record, view)


def _crop(x, side=28):
    """The middle of images (N, C, H, W) of 28 to 32 pixels, (N, C, side, side)."""
    height, width = x.shape[2:]
    if height != width or not 28 <= height <= 32:
        raise refusal(
            "images", "squares of 28 to 32 pixels for this judge", f"{height}×{width}",
            "load_judge(8) has one for 8×8",
        )  # fmt: skip
    edge = (height - side) // 2
    return x[..., edge : edge + side, edge : edge + side]


def _shrink(x):
    """Enlarged digits (N, 1, 16 or 28…32, the same) back at (N, 1, 8, 8).

    `data.digits` enlarges to 20×20 by E x Eᵀ, bilinear, E (20, 8), inside a black border, of which
    `data.mnist` at 16 takes the mean over 2×2 pixels, E (10, 8). This is the x that comes nearest,
    E⁺ x′ E⁺ᵀ, clipped to [0, 1]: exact for enlarged digits.
    """
    eye = torch.eye(8)[:, None]  # (8, 1, 8)
    enlarge = F.interpolate(eye, size=20, mode="linear", align_corners=False)[:, 0].T  # (20, 8)
    half = x.shape[2:] == (16, 16)
    enlarge = enlarge.reshape(10, 2, 8).mean(1) if half else enlarge
    inverse = torch.linalg.pinv(enlarge.double()).float()  # (8, 20), or (8, 10)
    middle = x[..., 3:13, 3:13] if half else _crop(x, 20)
    return (inverse @ middle @ inverse.T).clamp(0, 1)


def _digest(x, y, steps, seed):
    """Name of a trained judge: of its data, its settings and the file that is its recipe."""
    digest = hashlib.sha256(Path(judge_net.__file__).read_bytes())
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
        raise refusal("device", '"cpu", "cuda" or the like', repr(device)) from error


__all__ = [
    "SIZES", "WEIGHTS", "Judge", "JudgeNet", "add_rubbish", "blank", "fill", "learn", "load_judge",
    "pack", "train_judge",
]  # fmt: skip
