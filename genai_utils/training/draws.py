"""Several processes draw what one would: the noise of a loss, and what joins rows of a batch.

A process sees only its rows of the global batch. Drawn there, noise would depend on how many
processes there are. So all of them hold the same random state and draw for the whole batch, and
each keeps its own rows: `Draws` does this to the random functions that a loss calls. What a loss
computes across rows has to be the whole batch's too: `Draws` does it to batch norm, `gathered` to
rows that are compared with each other, `counted` to the number that a sum is divided by. With one
process none of them does anything.
"""

import contextlib
import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_active = None  # the Draws in whose `with` the program is

LIKE = {torch.rand_like, torch.randn_like, torch.randint_like}
SIZED = {torch.rand, torch.randn, torch.randint}
ROWS = {  # of tensors, one draw for each number or row
    torch.bernoulli, torch.normal, torch.Tensor.bernoulli, F.gumbel_softmax,
}  # fmt: skip
FILLED = {
    getattr(torch.Tensor, f"{name}_")
    for name in (
        "bernoulli",
        "cauchy",
        "exponential",
        "geometric",
        "log_normal",
        "normal",
        "random",
        "uniform",
    )
}
DROPPED = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout, torch.feature_dropout,
}  # fmt: skip
MULTINOMIAL = {torch.multinomial, torch.Tensor.multinomial}


class Draws(TorchFunctionMode):
    """Within it, draws for this process's rows are rows of one draw for the global batch.

    rows: B/P, those of this process; process: its number p; processes: P. A random function whose
    result has an axis of length B/P (the first such) is called for B, and numbers
    p·B/P … (p + 1)·B/P - 1 along it are kept. Other draws are made as they are, so all processes
    make the same ones, and so are those from a generator that is given. Where all processes hold
    the same random state, they end in the same, and both are those of one process with the batch.
    `alike` is for a draw of B/P numbers that belong to no row.

    The price is a draw of B/P numbers more for each further process. Not known here: dropout inside
    of attention and of recurrent layers, alpha dropout, draws of Poisson, binomial and gamma, and
    permutations of a batch.
    """

    def __init__(self, rows: int, process: int, processes: int):
        super().__init__()
        self.rows, self.process, self.processes = rows, process, processes

    def __enter__(self):
        global _active
        self.before, _active = _active, self
        return super().__enter__()

    def __exit__(self, *error):
        global _active
        _active = self.before
        return super().__exit__(*error)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        do = _DONE.get(function)
        if do is None or _active is not self or kwargs.get("generator") is not None:
            return function(*args, **kwargs)
        return do(self, function, args, kwargs)

    # --- pieces -----------------------------------------------------------------------------------

    def axis(self, shape) -> int | None:
        """The axis along which the rows of the batch stand; None: there is none."""
        return next((i for i, n in enumerate(shape) if n == self.rows), None)

    def wide(self, shape, axis: int) -> list[int]:
        """The shape for the global batch."""
        return [*shape[:axis], self.rows * self.processes, *shape[axis + 1 :]]

    def mine(self, x: Tensor, axis: int) -> Tensor:
        """The rows of this process; a copy, so that the others' are not kept."""
        return x.narrow(axis, self.process * self.rows, self.rows).clone()

    def repeated(self, x, axis: int, shape):
        """A tensor of this shape as one for the global batch; anything else as it is."""
        if not isinstance(x, Tensor) or x.shape != shape:
            return x
        return torch.cat([x] * self.processes, axis)  # keeps the order in memory

    # --- the kinds of functions -------------------------------------------------------------------

    def sized(self, function, args, kwargs):
        """rand(2, 3), rand((2, 3)), randint(9, (2, 3)), size=(2, 3)."""
        if "size" in kwargs:
            bounds, shape = args, kwargs["size"]
        elif isinstance(args[-1], list | tuple):
            *bounds, shape = args
        else:
            bounds, shape = (), args
        axis = self.axis(shape)
        if axis is None:
            return function(*bounds, **{**kwargs, "size": shape})
        return self.mine(function(*bounds, **{**kwargs, "size": self.wide(shape, axis)}), axis)

    def like(self, function, args, kwargs):
        """A function of tensors, each row of whose result has draws of its own."""
        first = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        if first is None:  # normal(0, 1, (2, 3))
            return self.sized(function, args, kwargs)
        axis = self.axis(first.shape)
        if axis is None:
            return function(*args, **kwargs)
        args = [self.repeated(x, axis, first.shape) for x in args]
        kwargs = {name: self.repeated(x, axis, first.shape) for name, x in kwargs.items()}
        return self.mine(function(*args, **kwargs), axis)

    def filled(self, function, args, kwargs):
        """x.normal_() and its like."""
        if self.axis(args[0].shape) is None:
            return function(*args, **kwargs)
        return args[0].copy_(self.like(function, args, kwargs))

    def dropped(self, function, args, kwargs):
        """Dropout: what is drawn for ones tells what it does to x."""
        x, *rest = args or (kwargs["input"],)
        kwargs = {name: value for name, value in kwargs.items() if name not in ("input", "inplace")}
        axis = self.axis(x.shape)
        if axis is None:
            return function(x, *rest, **kwargs)
        ones = torch.ones_like(torch.cat([x.detach()] * self.processes, axis))
        return x * self.mine(function(ones, *rest, **kwargs), axis)

    def multinomial(self, function, args, kwargs):
        """Of one distribution: a number of draws for each row; else a row of draws for each."""
        kwargs = dict(zip(("input", "num_samples", "replacement"), args, strict=False)) | kwargs
        p, count = kwargs.pop("input"), kwargs["num_samples"]
        if p.dim() == 2 and len(p) == self.rows:
            return self.like(function, (p,), kwargs)
        if p.dim() == 2 or count % self.rows:
            return function(p, **kwargs)
        found = function(p, **{**kwargs, "num_samples": count * self.processes})
        return found[self.process * count :][:count].clone()

    def norm(self, function, args, kwargs):
        """Batch norm by the statistics of the global batch."""
        return _batch_norm(self, *args, **kwargs)


_DONE = {
    **dict.fromkeys(SIZED, Draws.sized),
    **dict.fromkeys(LIKE | ROWS, Draws.like),
    **dict.fromkeys(FILLED, Draws.filled),
    **dict.fromkeys(DROPPED, Draws.dropped),
    **dict.fromkeys(MULTINOMIAL, Draws.multinomial),
    F.batch_norm: Draws.norm,
}


# --- between the rows of a batch ------------------------------------------------------------------


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is its gradient, which the data-parallel step averages."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        return _Sum.apply(grad)


@contextlib.contextmanager
def alike():
    """Within it all processes draw the same, also B/P numbers: they are for no row of the batch."""
    global _active
    before, _active = _active, None
    try:
        yield
    finally:
        _active = before


def gathered(x: Tensor) -> Tensor:
    """The rows of all processes, (B/P, …) -> (B, …), with their gradient; with one process x.

    For losses that compare the rows of a batch with each other: every process then computes the
    loss of the global batch, and the gradient is what one process would have.
    """
    if _active is None:
        return x
    parts = x.new_zeros(_active.processes, *x.shape)
    parts[_active.process] = x
    return _Sum.apply(parts).flatten(0, 1)


def counted(n: Tensor) -> Tensor:
    """What a sum is divided by for a mean over so many, at least 1: n, or its mean over processes.

    For a loss that is a sum over what was counted in the batch, such as pairs or tokens: the mean
    over the processes of sum / counted(n) is then that of the global batch.
    """
    if _active is None:
        return n.clamp(min=1)
    total = _Sum.apply(n.detach().to(torch.get_default_dtype()))
    return total.clamp(min=1) / _active.processes


def _batch_norm(draws, x, running_mean, running_var, weight=None, bias=None, training=False,
                momentum=0.1, eps=1e-5):  # fmt: skip
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    dims = [i for i in range(x.dim()) if i != 1]
    shape = [-1 if i == 1 else 1 for i in range(x.dim())]
    mean = _Sum.apply(x.float().mean(dims)) / draws.processes
    centred = x.float() - mean.view(shape)
    var = _Sum.apply(centred.square().mean(dims)) / draws.processes
    y = centred * (var + eps).rsqrt().view(shape)
    if running_mean is not None:
        n = math.prod(x.shape[i] for i in dims) * draws.processes
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((var * n / max(n - 1, 1)).to(running_var), momentum)
    if weight is not None:
        y = y * weight.view(shape) + bias.view(shape)
    return y.to(x.dtype)
