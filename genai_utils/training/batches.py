"""Batches as a function of the step: what makes a run repeatable and resumable."""

import hashlib
from collections.abc import Callable
from numbers import Integral

import torch

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

    tensors: one or more tensors of the same length n (first dimension).
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
        _check_tensors(tensors)
        n = len(tensors[0])
        whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
        if not whole or not 1 <= batch_size <= n:
            raise ValueError(
                f"batch_size must be a whole number from 1 to the {n} examples, got {batch_size!r}."
            )
        if transform is not None and not callable(transform):
            raise TypeError(
                f"transform must be a function (batch, generator) -> batch, got {transform!r}."
            )
        if transform is dynamic_binarize:  # checked once here: on a GPU a check per step waits
            _check_unit_interval(tensors[0])
        self.tensors = tuple(t if device is None else t.to(device) for t in tensors)
        self.n, self.batch_size, self.seed = n, int(batch_size), int(seed)
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
        if step < 0:
            raise ValueError(f"step counts from 0, got {step}.")
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
        self._generator.manual_seed(derive_seed(self.seed, "transform", step))
        return self.transform(batch, self._generator)


class WindowBatches:
    """Windows of a long sequence: `batches(step)` is B random runs of it, (B, length).

    The batch of a step depends on (seed, step) alone, as with `TensorBatches`. A language model
    takes length = T + 1: the first T are the input, the last T what it should predict.

    ids: (n,) tensor, n ≥ length. device: where the sequence is put once.
    Raises ValueError for other shapes or a sequence that is too short.
    """

    def __init__(self, ids, length: int, batch_size: int, *, seed: int = 0, device=None):
        if ids.ndim != 1:
            raise ValueError(f"ids must be one sequence (n,), got the shape {tuple(ids.shape)}.")
        for name, value in (("length", length), ("batch_size", batch_size)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
        if len(ids) < length:
            raise ValueError(f"windows of {length} do not fit into a sequence of {len(ids)}.")
        self.ids = ids if device is None else ids.to(device)
        self.length, self.batch_size, self.seed = int(length), int(batch_size), seed
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
        if step < 0:
            raise ValueError(f"step counts from 0, got {step}.")
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


def _check_tensors(tensors) -> None:
    if not tensors:
        raise ValueError("TensorBatches needs at least one tensor, got none.")
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"TensorBatches takes torch tensors, got {type(tensor).__name__}; "
                "torch.as_tensor(...) makes one of an array."
            )
        if tensor.ndim == 0:
            raise ValueError("TensorBatches needs tensors of shape (n, …), got a scalar.")
    if len({len(t) for t in tensors}) > 1:
        raise ValueError(
            "All tensors must hold the same number of examples, got "
            f"{', '.join(str(len(t)) for t in tensors)}."
        )
    for tensor in tensors:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(f"The training data hold {bad} values that are NaN or infinite.")


def _check_unit_interval(x: torch.Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(f"dynamic_binarize takes grey values as floats in [0, 1], got {x.dtype}.")
    low, high = (float(v) for v in torch.aminmax(x))
    if low < 0 or high > 1:
        raise ValueError(
            f"dynamic_binarize takes grey values in [0, 1], got {low:.4g} to {high:.4g}."
        )
