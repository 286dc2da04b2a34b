"""A graphics card that is only pretended: tensors on the wrong device are found on any machine.

    with Card():
        model.to("cuda").loss(batch)  # RuntimeError: ... at least two devices, cuda:0 and cpu ...

What is asked for on "cuda" stays on the processor and is marked. An operation on marked and
unmarked tensors raises as PyTorch would; `.device` and the like answer as if the card were there.

How it works. Every operation, those of the backward pass too, comes by `__torch_dispatch__`: it
sees all tensors that go in and marks what comes out. The mark is an attribute of the tensor's
storage: views share it, it lives exactly as long as the memory, and autograd keeps it. The tensors
remain tensors of the processor, since one that itself reported "cuda" would abort the process
under autograd. So `.device`, `.to` and what else tells or changes the device are replaced on
`torch.Tensor` while the mode is on. (A TorchFunctionMode would do for a notebook's own lines. But
it is off inside the functions that it handles: `torch.svd_lowrank` would ask its argument for the
device, be told "cpu", and draw its random matrix there.)

What PyTorch lets pass passes here, too: numbers of the processor (tensors without a dimension) in
arithmetic, an index on the processor for a tensor on the card, `copy_` between the two. Random
numbers of the pretended card come from the processor's generator.

Some tensors are neither here nor there: those that PyTorch's own C++ makes on the way (the zeros
that `one_hot` fills, gradients of what was not used). They are made for the device of some input,
which for C++ is the processor; they take the side of what they meet.
"""

import contextlib
import functools
import os
import sys
import types
import weakref
from unittest import mock

import torch
from torch.utils._device import _device_constructors
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
from torch.utils._python_dispatch import TorchDispatchMode

from tests import no_wait

DEVICE = torch.device("cuda", 0)
NAME = "a pretended card"
CARD, EITHER = "card", "either"  # marks; without one: the processor

BASE = torch._C.TensorBase
_real_device = BASE.device.__get__
_RealGenerator = torch.Generator

# Where a tensor without a dimension may not come from the other device either.
STRICT = {
    "cat", "stack", "embedding", "index_select", "gather", "scatter", "scatter_", "scatter_add",
    "scatter_add_", "index_add", "index_add_", "index_copy_", "index_fill", "index_fill_", "take",
    "mm", "bmm", "addmm", "baddbmm", "mv", "dot", "nll_loss_forward", "nll_loss2d_forward",
}  # fmt: skip
FREE = {"copy_", "_foreach_copy_", "set_", "_to_copy"}
SET = torch.ops.aten.set_
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


# --- Marks

_wrapped, _STRIDED = torch._C._functorch.is_functorch_wrapped_tensor, torch.strided


def _storage(tensor):
    """What carries the mark of a tensor."""
    while _wrapped(tensor):  # inside jvp, vmap and so on
        tensor = torch._C._functorch.get_unwrapped(tensor)
    if tensor.layout is not _STRIDED:  # sparse: the values decide
        coo = tensor.layout is torch.sparse_coo
        tensor = torch.Tensor._values(tensor) if coo else torch.Tensor.values(tensor)
    return tensor.untyped_storage()


def mark_of(tensor):
    """CARD, EITHER or None (the processor)."""
    if tensor.is_meta:  # nowhere: PyTorch plans with such tensors
        return EITHER
    return getattr(_storage(tensor), "_pretended", None)


def set_mark(tensor, mark):
    """Put a tensor's memory on the card (CARD), or leave it open (EITHER)."""
    _storage(tensor)._pretended = mark
    return tensor


def on_card(tensor):
    return mark_of(tensor) == CARD


LISTS = (list, tuple)


def _tensors(x):
    """All tensors in nested lists and tuples, as a list."""
    if isinstance(x, torch.Tensor):
        return [x]
    found = []
    if isinstance(x, LISTS):
        for y in x:
            if isinstance(y, torch.Tensor):
                found.append(y)
            elif isinstance(y, LISTS):
                found += _tensors(y)
    return found


# --- What raises


def _two_devices(name):
    return RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
        f"and cpu! ({name})"
    )


def _check(name, func, args, kwargs):
    """Raise where PyTorch would, had the marked tensors been on a card."""
    if name in FREE:
        return
    if name.startswith(("_foreach_", "_fused_")):
        lists = [x for x in (*args, *kwargs.values()) if isinstance(x, list | tuple)]
        rows = (row for row in zip(*lists, strict=False))
        for row in rows:
            _check_same(name, list(_tensors(row)), [])
        return
    if name in INDEXED:
        x, indices, *values = args
        indices, values = list(_tensors(indices)), list(_tensors(values))
        if on_card(x):
            if any(mark_of(i) is None for i in indices):
                no_wait.notice("an index is copied to the card")
        elif any(map(on_card, indices)):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor "
                f"(cpu) ({name})"
            )
        return _check_same(name, [x, *values], [x] if name.endswith("_") else [])
    written = [
        value
        for argument, value in zip(func._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    written += [kwargs["out"]] if "out" in kwargs else []
    _check_same(name, [*_tensors(args), *_tensors(list(kwargs.values()))], list(_tensors(written)))


def _check_same(name, tensors, written):
    """All on one device, but for numbers that come from the processor."""
    marks = [mark_of(t) for t in tensors]
    if CARD not in marks or None not in marks:
        return
    for tensor, mark in zip(tensors, marks, strict=True):
        if mark is None:
            number = tensor.dim() == 0 and name not in STRICT
            if not number or any(tensor is w for w in written):
                raise _two_devices(name)


# --- Random generators

_ON_CARD = {}  # the C++ address of each living generator of the card


class CardGenerator(_RealGenerator):
    """A generator of the processor that says it is the card's."""

    def __new__(cls, device=None):
        made = super().__new__(cls, "cpu")
        _ON_CARD[made._cdata] = True
        weakref.finalize(made, _ON_CARD.pop, made._cdata, None)
        return made

    device = property(lambda self: DEVICE)


class _Generators(type):
    def __instancecheck__(cls, x):
        return isinstance(x, _RealGenerator)


class Generator(metaclass=_Generators):
    """Stands for torch.Generator."""

    def __new__(cls, device="cpu"):
        device = torch.device(device)
        return CardGenerator() if device.type == "cuda" else _RealGenerator(device)


def _check_generator(generator, card):
    if generator is None:
        return
    theirs, ours = ("cuda" if x else "cpu" for x in (generator._cdata in _ON_CARD, card))
    if theirs != ours:
        raise RuntimeError(f"Expected a '{ours}' device type for generator but found '{theirs}'")


# --- What tells or changes the device, instead of PyTorch's own


def _is_cuda(device):
    return isinstance(device, int) or torch.device(device).type == "cuda"


class _Move(torch.autograd.Function):
    """A copy on the other side; the gradient goes back where it came from."""

    @staticmethod
    def forward(ctx, x, card):
        ctx.card = card
        return _copied(x, card)

    @staticmethod
    def backward(ctx, gradient):
        return _copied(gradient, not ctx.card), None


def _copied(x, card):
    no_wait.notice("a copy between processor and card")
    return set_mark(torch.clone(x.detach()), CARD if card else None)


def _moved(x, device):
    """x on this device; itself where it is there already. None: anywhere."""
    if device is None or torch.device(device).type not in ("cpu", "cuda"):
        return x
    card = _is_cuda(device)
    if on_card(x) == card:
        return x
    if x.requires_grad and torch.is_grad_enabled():
        return _Move.apply(x, card)
    return _copied(x, card)


def _to(self, *args, **kwargs):
    first = args[0] if args else kwargs.pop("other", None)
    if isinstance(first, torch.Tensor):
        named = {"device": first.device, "dtype": first.dtype}
        names, rest = ("non_blocking", "copy"), args[1:]
    elif isinstance(first, torch.dtype):
        named, names, rest = {}, ("dtype", "non_blocking", "copy"), args
    else:
        named, names, rest = {}, ("device", "dtype", "non_blocking", "copy"), args
    how = {**named, **dict(zip(names, rest, strict=False)), **kwargs}
    device = how.pop("device", None)
    if device is not None and not _is_cuda(device) and torch.device(device).type != "cpu":
        return BASE.to(self, device=device, **how)
    moved = _moved(self, device)
    if moved is not self:
        how["copy"] = False
    return BASE.to(moved, **how)


def _cuda(self, device=None, non_blocking=False, memory_format=torch.preserve_format):
    return _moved(self, DEVICE)


def _cpu(self, memory_format=torch.preserve_format):
    return _moved(self, "cpu")


def _numpy(self, *, force=False):
    if on_card(self) and not force:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
            "to host memory first."
        )
    return BASE.numpy(self, force=force)


def _deepcopy(self, memo, original=torch.Tensor.__deepcopy__):
    made = original(self, memo)
    return set_mark(made, CARD) if on_card(self) else made


def _new_tensor(self, data, **how):
    device = how.pop("device", self.device)
    return torch.tensor(data, dtype=how.pop("dtype", self.dtype), device=device, **how)


TENSOR = {
    "device": property(lambda x: DEVICE if on_card(x) else _real_device(x)),
    "is_cuda": property(on_card),
    "is_cpu": property(lambda x: _real_device(x).type == "cpu" and not on_card(x)),
    "get_device": lambda x: 0 if on_card(x) else -1,
    "to": _to,
    "cuda": _cuda,
    "cpu": _cpu,
    "numpy": _numpy,
    "new_tensor": _new_tensor,
    "pin_memory": lambda x, device=None: x.clone(),
    "is_pinned": lambda x, device=None: False,
    "__deepcopy__": _deepcopy,
}

for _name, _function in TENSOR.items():  # by which modes of PyTorch tell one from the other
    if not isinstance(_function, property):
        _function.__name__ = _name


def _making(original, names):
    """torch.tensor and its kin: the data come from Python, and are copied to the card."""

    def make(data, *args, **kwargs):
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        device = kwargs.pop("device", None)
        if isinstance(data, torch.Tensor):
            device = data.device if device is None else device
            if original is not torch_tensor:
                return data.to(device=device, dtype=kwargs.get("dtype"))
        if device is None or not _is_cuda(device):
            return original(data, **kwargs, **({} if device is None else {"device": device}))
        no_wait.notice("numbers from Python are copied to the card")
        return set_mark(original(data, **kwargs), CARD)

    return make


torch_tensor = torch.tensor
TORCH = {
    "Generator": Generator,
    "tensor": _making(torch.tensor, ()),
    "as_tensor": _making(torch.as_tensor, ("dtype", "device")),
    "asarray": _making(torch.asarray, ()),
}


def _nothing(*args, **kwargs):
    return None


def _state(device=None):
    return torch.zeros(16, dtype=torch.uint8, device="cpu")


PROPERTIES = types.SimpleNamespace(
    name=NAME, major=8, minor=0, total_memory=16 * 2**30, multi_processor_count=40
)
CUDA = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "is_current_stream_capturing": lambda: False,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda device=None: NAME,
    "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
    "get_device_properties": lambda device=None: PROPERTIES,
    "memory_allocated": lambda device=None: 0,
    "max_memory_allocated": lambda device=None: 0,
    "memory_reserved": lambda device=None: 0,
    "mem_get_info": lambda device=None: (PROPERTIES.total_memory, PROPERTIES.total_memory),
    "get_rng_state": _state,
    "get_rng_state_all": lambda: [_state()],
    "device": lambda device: contextlib.nullcontext(),
    **dict.fromkeys(
        (
            "_lazy_init", "init", "synchronize", "empty_cache", "reset_peak_memory_stats",
            "set_device", "manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state",
            "set_rng_state_all",
        ),
        _nothing,
    ),
}  # fmt: skip

_autocast = torch.amp.autocast_mode.autocast.__init__


def _autocast_of_the_processor(self, device_type, dtype=None, *args, **kwargs):
    if device_type == "cuda":
        device_type, dtype = "cpu", torch.bfloat16 if dtype is None else dtype
    _autocast(self, device_type, dtype, *args, **kwargs)


@contextlib.contextmanager
def _accelerate_looks_anew():
    """Accelerate keeps the device that it found first in this process."""
    from accelerate.state import AcceleratorState, PartialState

    def forget():
        AcceleratorState._reset_state()
        PartialState._reset_state()

    before = os.environ.pop("ACCELERATE_USE_CPU", None)
    forget()
    yield
    forget()
    os.environ.pop("ACCELERATE_USE_CPU", None)
    if before is not None:
        os.environ["ACCELERATE_USE_CPU"] = before


def _grouped(lists, with_indices=False, original=_group_tensors_by_device_and_dtype):
    """How optimisers and clipping sort tensors by device and dtype: by the device that we tell."""
    told = {}
    for (_, dtype), group in original(lists, with_indices).items():
        first = next(t for column in group[0] for t in column if t is not None)
        told[first.device, dtype] = group
    return told


def _listening(step, device, say, first=2):
    """Instead of a step that is recorded as a CUDA graph: its first losses must not wait."""
    net, done = step.net, []

    def loss(batch):
        if len(done) == first:
            return net(batch)
        done.append(True)
        with no_wait.NoWait():
            return net(batch)

    step.net = loss
    return step


def _wherever_imported(name, original, new):
    """Patches of all modules that imported a function by its name."""
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType) and vars(module).get(name) is original:
            yield mock.patch.object(module, name, new)


def _patches():
    import torch._dynamo  # keeps lists of torch's functions: here, the real ones

    from genai_utils.training import graphs
    from genai_utils.vision import unet

    _device_constructors()  # the same
    for place, new in ((torch.Tensor, TENSOR), (torch, TORCH), (torch.cuda, CUDA)):
        for name, value in new.items():
            yield mock.patch.object(place, name, value)
    autocast = torch.amp.autocast_mode.autocast
    yield mock.patch.object(autocast, "__init__", _autocast_of_the_processor)
    yield mock.patch.object(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
    name = "_group_tensors_by_device_and_dtype"
    yield from _wherever_imported(name, _group_tensors_by_device_and_dtype, _grouped)
    on_cuda = lambda device: device.type == "cuda"  # noqa: E731
    yield from _wherever_imported("can_capture", graphs.can_capture, on_cuda)
    yield from _wherever_imported("GraphStep", graphs.GraphStep, _listening)
    plain = lambda function, *tensors: function  # noqa: E731
    yield from _wherever_imported("recorded", unet.recorded, plain)
    yield _accelerate_looks_anew()


# --- The mode


class Card(TorchDispatchMode):
    """While it is on, torch.cuda.is_available() and "cuda" can be asked for."""

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # nothing is compiled here; a guard against it would cost time at each call

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # It runs at every operation, so it is short where nothing is asked for by name.
        inputs, device, cuda = _tensors(args), None, False
        if kwargs:
            kwargs = dict(kwargs)
            inputs += _tensors(list(kwargs.values()))
            device = kwargs.get("device")
            if device is not None and torch.device(device).type == "cuda":
                kwargs["device"], cuda = torch.device("cpu"), True
        else:
            kwargs = {}
        marks = [mark_of(t) for t in inputs]
        if CARD in marks and None in marks:
            _check(func.overloadpacket.__name__, func, args, kwargs)
        if cuda:
            mark = CARD
        elif device is not None and "pin_memory" in kwargs:  # as in all that Python asks for
            mark = None
        elif inputs:
            mark = CARD if CARD in marks else None if None in marks else EITHER
        else:
            mark = EITHER
        if "generator" in kwargs:
            _check_generator(kwargs["generator"], mark == CARD)
        out = func(*args, **kwargs)
        if mark is not None and func.overloadpacket is not SET:  # it takes a memory with its mark
            self._mark(out, mark, inputs, marks)
        return out

    @staticmethod
    def _mark(out, mark, inputs, marks):
        """Mark what is new, and what was open and was now written into."""
        taken = ()
        if None in marks:
            taken = [_storage(t) for t, m in zip(inputs, marks, strict=True) if m is None]
        for tensor in _tensors(out):
            if not tensor.is_meta and (storage := _storage(tensor)) not in taken:
                storage._pretended = mark

    def __enter__(self):
        self._exit = contextlib.ExitStack()
        for patch in _patches():
            self._exit.enter_context(patch)
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._exit.close()


# --- In a notebook

STEPS = 12


def train_shortly():
    """From now on, in this process, `fit` ends after a few steps, enough for players by turns."""
    from genai_utils.training import fit
    from genai_utils.training import options as opt

    @functools.wraps(fit)
    def short(model, batches, steps, look=None, looks=20, **options):
        planned, steps = steps, min(steps, STEPS)
        warmup = min(options.pop("warmup", 0), steps - 1)
        found = fit(model, batches, steps, warmup=warmup, look=look, looks=looks, **options)
        if look is not None and set(found.looks) == {"step", "seconds"}:
            # It returned no numbers, so it keeps something, which is asked for by the planned step.
            for step in opt.look_steps(planned, looks):
                look(found.model, step)
        return found

    for patch in _wherever_imported("fit", fit, short):
        patch.start()


# Cell to run in a notebook's kernel before its own ones; {root} is the folder that holds `tests`.
CELL = """\
import sys
sys.path.append({root!r})
from tests import card
card.kept = card.Card()  # on until the kernel ends
card.kept.__enter__()
sys.path.remove({root!r})
"""
SHORTLY = "card.train_shortly()\n"  # a further line of that cell
