"""A mode in which nothing may wait for a graphics card; it works on a processor too.

    with NoWait():
        model.loss(batch).backward()

A card works through a list of orders while Python writes on. An order whose answer Python needs
(a number, the length of a result) makes it wait until the list is done; and no CUDA graph can be
recorded of it. On a processor nothing is slow about that, so that it goes unnoticed: this mode
raises `Waits` at each such order. Together with the pretended card of `tests.card` it sees copies
between processor and card as well.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that hand a number, or a shape that depends on values, to Python; by their names in
# aten. `multinomial`, `index` and others wait with some arguments only: see `_waits`.
ALWAYS = {
    "_local_scalar_dense": "it reads a number (.item(), float(x), if x)",
    "is_nonzero": "it reads a number (if x)",
    "equal": "it reads a number (torch.equal)",
    "allclose": "it reads a number (torch.allclose)",
    "nonzero": "its length depends on the values",
    "argwhere": "its length depends on the values",
    "masked_select": "its length depends on the values",
    "_unique": "its length depends on the values",
    "_unique2": "its length depends on the values",
    "unique_dim": "its length depends on the values",
    "unique_consecutive": "its length depends on the values",
    "unique_dim_consecutive": "its length depends on the values",
    "bincount": "its length depends on the values",
    "histc": "its bins depend on the values",
    **dict.fromkeys(
        ("_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_lstsq"),
        "it reads whether the decomposition went well",
    ),
}
MASKED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class Waits(AssertionError):
    """Something waited for the card."""


READERS = ("tolist", "numpy", "cpu", "__array__")  # these pass by the operations of aten
_active = []


def notice(what):
    """Told by `tests.card`: something crosses between processor and card, which waits."""
    if _active:
        raise Waits(f"{what}, which waits for the card")


class _Readers(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in READERS:
            raise Waits(f"{name} waits for the card: it reads numbers")
        return func(*args, **(kwargs or {}))


class NoWait(TorchDispatchMode):
    """Raises `Waits` at every operation that would wait for a card."""

    def __enter__(self):
        self._readers = _Readers()
        self._readers.__enter__()
        _active.append(self)
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        _active.remove(self)
        self._readers.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if reason := _waits(name, func, args, kwargs):
            raise Waits(f"{name} waits for the card: {reason}")
        return func(*args, **kwargs)


def _waits(name, func, args, kwargs):
    """Why this operation waits; None if it does not."""
    if name in ALWAYS:
        return ALWAYS[name]
    if name in MASKED:
        indices = [i for i in args[1] if isinstance(i, torch.Tensor)]
        if any(i.dtype in (torch.bool, torch.uint8) for i in indices):
            return "with a mask as its index, its length depends on the values"
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        repeats = args[0] if func._overloadname == "Tensor" else args[1]
        if isinstance(repeats, torch.Tensor):
            return "its length depends on the values; give output_size"
    if name == "multinomial":
        bound = dict(zip(("self", "num_samples", "replacement"), args, strict=False)) | kwargs
        if not bound.get("replacement", False) or bound["num_samples"] == 1:
            return "without replacement it looks at the weights first"
    if name == "lift_fresh" and args[0].dim() > 0:
        return "torch.tensor(list) makes a tensor on the processor, which has to be copied"
    if name == "copy_" and args[0].device != args[1].device:
        return "it copies from one device to another"
    return None
