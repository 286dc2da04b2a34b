"""The judge's network, what it learns from, and how its weights are kept.

It learns real images and rubbish: with images alone it is sure of most random pictures. See
`judge` for what is done with it.
"""

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.training import TensorBatches, fit
from genai_utils.training.checkpoint import kept_random_state

FEATURES = 64  # width of the penultimate layer
BATCH, LR, WARMUP = 128, 3e-3, 30
RUBBISH = 0.3  # weight of the second term of the loss


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


def learn(x, y, steps, seed, device="cpu", progress=False):
    """Train a `JudgeNet` on checked images (N, C, H, W) and labels (N,); returns it."""
    batches = TensorBatches(
        x, y, batch_size=min(BATCH, len(x)), seed=seed, transform=add_rubbish, device=device
    )
    with kept_random_state():
        torch.manual_seed(seed)
        net = JudgeNet(*sizes(x, y))
        fit(
            net, batches, steps, lr=LR, warmup=min(WARMUP, steps // 10), seed=seed, graph=True,
            progress=progress, title="judge",
        )  # fmt: skip
    return net


def sizes(x, y):
    """Height, width, channels and classes, as `JudgeNet` takes them."""
    channels, height, width = x.shape[1:]
    return height, width, channels, int(y.max()) + 1


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
