"""Batches as a function of the step: what makes a run repeatable and resumable."""

import hashlib
from collections.abc import Callable

import torch

from genai_utils.inputs import all_finite, kind_of, refusal, tensor, whole

from .describe import fingerprint


def derive_seed(*parts) -> int:
    """A 63-bit seed from some numbers and words, for example (seed, "epoch", 3).

    Neighbouring parts give unrelated seeds, which `seed + step` would not.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class TensorBatches:
    """Shuffled batches of tensors that live in memory: `batches(step)` for step = 0, 1, 2, …

    The examples form one endless stream, permutation after permutation, each derived from
    (seed, epoch); batch number `step` is positions step·B … (step + 1)·B - 1 of it. So every
    batch is full, every epoch holds each example exactly once, and a batch depends on nothing
    but its step: a resumed run sees what the interrupted one would have seen.

    tensors: one or more tensors or NumPy arrays of the same length n >= 1 (first dimension).
    batch_size: B, from 1 to n; with several processes it is the global batch.
    transform: optional `transform(batch, generator) -> batch`; the generator is derived from
        (seed, step), for example `dynamic_binarize`.
    device: where the tensors are put once; None leaves them where they are.
    A call returns a tensor (B, …) where one tensor was given, else a tuple of them.
    """

    def __init__(
        self,
        *tensors: torch.Tensor,
        batch_size: int,
        seed: int = 0,
        transform: Callable | None = None,
        device: torch.device | str | None = None,
    ):
        tensors = _checked(tensors)
        n = len(tensors[0])
        batch_size = whole(batch_size, "batch_size")
        if batch_size > n:
            raise refusal("batch_size", f"at most the number of examples, {n:,}", f"{batch_size:,}")
        if transform is not None and not callable(transform):
            what = "a function (batch, generator) -> batch"
            raise refusal("transform", what, kind_of(transform), kind=TypeError)
        if transform is dynamic_binarize:  # checked once here: on a GPU a check per step waits
            _check_unit_interval(tensors[0])
        self.tensors = tuple(t if device is None else t.to(device) for t in tensors)
        self.n, self.batch_size, self.seed = n, batch_size, whole(seed, "seed", least=None)
        self.transform = transform
        self.device = self.tensors[0].device
        self._permutations: dict[int, torch.Tensor] = {}
        self._generator = torch.Generator(self.device)

    def __repr__(self) -> str:
        name = getattr(self.transform, "__name__", self.transform and type(self.transform).__name__)
        return (
            f"TensorBatches(n={self.n}, batch_size={self.batch_size}, seed={self.seed}, "
            f"transform={name})"
        )

    def describe(self) -> dict:
        """What shapes the batches, the data by a digest; see `fit`'s checkpoint."""
        data = [fingerprint(tensor) for tensor in self.tensors]
        return {"batches": repr(self), "data": data, "transform": self.transform}

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which each example is seen once: n / B."""
        return self.n / self.batch_size

    def permutation(self, epoch: int) -> torch.Tensor:
        """The order of the n examples in this epoch, (n,) int64; kept until the next epoch."""
        if epoch not in self._permutations:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "epoch", epoch))
            order = torch.randperm(self.n, generator=generator).to(self.device)
            self._permutations = {e: p for e, p in self._permutations.items() if e == epoch - 1} | {
                epoch: order
            }
        return self._permutations[epoch]

    def indices(self, step: int) -> torch.Tensor:
        """Which examples batch number `step` holds, (B,) int64."""
        step = whole(step, "step", least=0)
        epoch, start = divmod(step * self.batch_size, self.n)
        index = self.permutation(epoch)[start : start + self.batch_size]
        if len(index) < self.batch_size:  # the batch crosses into the next epoch
            rest = self.permutation(epoch + 1)[: self.batch_size - len(index)]
            index = torch.cat([index, rest])
        return index

    def __call__(self, step: int) -> torch.Tensor | tuple[torch.Tensor, ...]:
        index = self.indices(step)
        batch = tuple(t.index_select(0, index) for t in self.tensors)
        batch = batch[0] if len(batch) == 1 else batch
        if self.transform is None:
            return batch
        self._generator.manual_seed(derive_seed(self.seed, "transform", int(step)))
        return self.transform(batch, self._generator)


class WindowBatches:
    """Windows of a long sequence: `batches(step)` is B random runs of it, (B, length).

    The batch of a step depends on (seed, step) alone, as with `TensorBatches`. A language model
    takes length = T + 1: the first T are the input, the last T what it should predict.

    ids: (n,) tensor or NumPy array, n ≥ length. device: where the sequence is put once.
    Raises ValueError for other shapes or a sequence that is too short.
    """

    def __init__(self, ids, length: int, batch_size: int, *, seed: int = 0, device=None):
        ids = tensor(ids, "ids")
        if ids.ndim != 1:
            raise refusal("ids", "one sequence (n,)", f"the shape {tuple(ids.shape)}")
        self.length, self.batch_size = whole(length, "length"), whole(batch_size, "batch_size")
        if len(ids) < self.length:
            expected = f"a sequence of at least {self.length}, the length of a window"
            raise refusal("ids", expected, len(ids), "take a longer text or shorter windows")
        self.ids = ids if device is None else ids.to(device)
        self.seed = whole(seed, "seed", least=None)
        self._offsets = torch.arange(self.length, device=self.ids.device)

    def __repr__(self) -> str:
        return (
            f"WindowBatches(n={len(self.ids)}, length={self.length}, "
            f"batch_size={self.batch_size}, seed={self.seed})"
        )

    def describe(self) -> dict:
        """What shapes the batches, the data by a digest; see `fit`'s checkpoint."""
        return {"batches": repr(self), "data": fingerprint(self.ids)}

    def __call__(self, step: int) -> torch.Tensor:
        step = whole(step, "step", least=0)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "windows", step))
        most = len(self.ids) - self.length + 1
        start = torch.randint(most, (self.batch_size, 1), generator=generator)
        return self.ids[start.to(self.ids.device) + self._offsets]  # (B, length)


def dynamic_binarize(batch, generator: torch.Generator):
    """Draw each pixel anew as a coin that shows 1 with the pixel's grey value: x ~ Bernoulli(p).

    batch: grey values in [0, 1], any shape, or a tuple whose first entry holds them.
    Returns the same shape with entries 0 and 1. Source: Salakhutdinov & Murray 2008.
    """
    if isinstance(batch, tuple):
        return (dynamic_binarize(batch[0], generator), *batch[1:])
    if batch.device.type == "cpu":
        _check_unit_interval(batch)
    noise = torch.rand(batch.shape, generator=generator, device=batch.device, dtype=batch.dtype)
    return (noise < batch).to(batch.dtype)


def _checked(tensors) -> tuple[torch.Tensor, ...]:
    """The data as tensors of one length, none of it NaN."""
    if not tensors:
        raise refusal("tensors", "at least one tensor", "none")
    tensors = tuple(tensor(each, "tensors") for each in tensors)
    lengths = [len(each) if each.ndim else None for each in tensors]
    if None in lengths:
        raise refusal("tensors", "the shape (n, …)", "a scalar")
    if len(set(lengths)) > 1:
        lengths = ", ".join(map(str, lengths))
        raise refusal("tensors", "as many examples in each", lengths)
    if not lengths[0]:
        raise refusal("tensors", "at least one example", "none", "the data are too few or empty")
    for each in tensors:
        if each.is_floating_point() and not all_finite(each):
            bad = int((~torch.isfinite(each)).sum())
            raise refusal("tensors", "finite numbers", f"{bad} NaN or infinite of {each.numel()}")
    return tensors


def _check_unit_interval(x: torch.Tensor) -> None:
    if not x.is_floating_point():
        raise refusal("dynamic_binarize", "floats in [0, 1]", kind_of(x), kind=TypeError)
    low, high = (float(v) for v in torch.aminmax(x))
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise refusal(
            "dynamic_binarize", "grey values between 0 and 1",
            f"values from {low:.4g} to {high:.4g}", "divide by 255, or undo the normalisation",
        )  # fmt: skip
