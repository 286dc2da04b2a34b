"""Linear regression in context: a GPT that reads pairs (x, y) and predicts the next y.

Each prompt has a weight vector of its own, w ~ N(0, I), and points x_i ~ N(0, I) in R^d with
y_i = w·x_i, plus noise where that is asked for. The prompt is the row x_1, y_1, x_2, y_2, …; at
each x_k the model predicts y_k from the pairs before it. No weight of the model changes from prompt
to prompt. Shapes: B prompts of K pairs in d dimensions.

Source: Garg et al. 2022, sections 2 and 3; with noise Akyürek et al. 2023, section 4.
"""

import torch
from torch import Tensor, nn

from genai_utils.inputs import number, refusal, whole
from genai_utils.training.batches import derive_seed

from .gpt import GPT, GPTConfig


class RegressionBatches:
    """Prompts of fresh weight vectors: `batches(step)` is (x (B, K, d), y (B, K)).

    noise: the standard deviation of what is added to each y. A function of seed and step.
    """

    def __init__(self, batch_size, pairs, dimensions, noise=0.0, seed=0, device="cpu"):
        self.size = tuple(
            whole(value, name)
            for value, name in (
                (batch_size, "batch_size"), (pairs, "pairs"), (dimensions, "dimensions"),
            )
        )  # fmt: skip
        self.noise = number(noise, "noise", least=0)
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)

    def __repr__(self):
        return f"RegressionBatches{(*self.size, self.noise, self.seed)}"

    def describe(self):
        return {"batches": repr(self)}

    def __call__(self, step):
        g = self.generator.manual_seed(derive_seed(self.seed, "regression", int(step)))
        B, K, d = self.size
        on = {"generator": g, "device": self.device}
        x, w = torch.randn(B, K, d, **on), torch.randn(B, d, 1, **on)
        y = (x @ w)[..., 0]  # (B, K)
        return x, y + self.noise * torch.randn(B, K, **on) if self.noise else y


def least_squares(x: Tensor, y: Tensor) -> Tensor:
    """The prediction of each y_k by least squares on the pairs before it.

        w_k = the shortest w that minimises Σ_{i<k} (w·x_i - y_i)²,   prediction_k = w_k·x_k

    The first prediction, from no pair, is 0. Where the pairs before are fewer than d, or their
    points lie in a plane through 0, many w fit as well as any; the shortest is taken.

    x (B, K, d), y (B, K), in floats of any precision -> (B, K).
    Source: Garg et al. 2022, section 3.1.
    """
    predictions = [torch.zeros_like(y[:, 0])]
    for k in range(1, y.shape[1]):
        w = torch.linalg.pinv(x[:, :k]) @ y[:, :k, None]  # (B, d, 1)
        predictions.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(predictions, dim=1)


def ridge(x: Tensor, y: Tensor, noise: float) -> Tensor:
    """The best prediction of each y_k from the noisy pairs before it: least squares held back.

        w_k = the w that minimises Σ_{i<k} (w·x_i - y_i)² + noise² |w|²,   prediction_k = w_k·x_k

    For w ~ N(0, I) and noise of that standard deviation, w_k is the mean of all w that the pairs
    allow, and no reader has a smaller mean squared error. As noise goes to 0 it becomes the
    shortest w of `least_squares`. The first prediction, from no pair, is 0.

    x (B, K, d), y (B, K), in floats of any precision -> (B, K).
    Raises ValueError for a noise of 0 or less.
    Source: Akyürek et al. 2023, section 4.
    """
    number(noise, "noise", above=0)
    predictions = [torch.zeros_like(y[:, 0])]
    held = noise**2 * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    for k in range(1, y.shape[1]):
        X, values = x[:, :k], y[:, :k, None]
        w = torch.linalg.solve(X.mT @ X + held, X.mT @ values)  # (B, d, 1)
        predictions.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(predictions, dim=1)


class RegressionGPT(nn.Module):
    """The blocks of a GPT between two linear layers: numbers in, a number out.

    Each x is read as d numbers, each y as one more beside its x once again, and every second output
    is a prediction. (In the paper y stands alone, and a layer has to find its x.)
    forward(x, y): x (B, K, d), y (B, K) -> (B, K); the prediction of y_k has seen x_1 … x_k and
    y_1 … y_{k-1}. loss((x, y)): mean squared error over all k, divided by d.

    Raises ValueError for more pairs than the model has places for.
    Source: Garg et al. 2022, section 2.
    """

    def __init__(self, dimensions, pairs, layers=3, heads=4, dim=64):
        super().__init__()
        self.dimensions = whole(dimensions, "dimensions")
        self.pairs = whole(pairs, "pairs")
        self.gpt = GPT(GPTConfig(1, 2 * self.pairs, layers, heads, dim))  # its token is not used
        self.gpt.tokens.requires_grad_(False)
        self.read = nn.Linear(self.dimensions + 1, dim)
        self.write = nn.Linear(dim, 1)

    def forward(self, x, y):
        B, K, d = x.shape
        if d != self.dimensions or self.pairs < K:
            raise refusal(
                "x", f"(B, K, {self.dimensions}) with K up to {self.pairs}",
                f"the shape {tuple(x.shape)}",
            )  # fmt: skip
        points = torch.cat([x, torch.zeros_like(x[..., :1])], -1)  # (B, K, d + 1)
        values = torch.cat([x, y[..., None]], -1)
        row = torch.stack([points, values], 2).flatten(1, 2)  # (B, 2 K, d + 1)
        h = self.gpt.hidden(self.read(row) + self.gpt.positions.weight[: 2 * K])
        return self.write(h)[:, ::2, 0]

    def loss(self, batch):
        x, y = batch
        return (self(x, y) - y).square().mean() / self.dimensions


@torch.no_grad()
def errors(predict, x, y):
    """The mean squared error of the k-th prediction, divided by d: (K,); guessing 0 gives about 1.

    predict(x, y) -> (B, K).
    """
    return (predict(x, y) - y).square().mean(0) / x.shape[-1]
