"""Weights that several processes share: each holds its rows of every tensor (FSDP).

With a copy of the model in each process, weights, gradients and the optimiser's averages have to
fit into one card. Here every process holds 1/P of each tensor: its rows, along the first axis. A
block's weights are brought together just before it computes, forward and backward, and dropped
after it; of the gradients each process gets the mean over the processes for its own rows.
PyTorch's `fully_shard` does this. `accelerate launch` asks for it by `distributed_type: FSDP`, and
names the blocks; a model without such blocks comes together as a whole.
"""

import copy
import os
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin, broadcast
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from genai_utils.inputs import kind_of, refusal

INSTEAD = "launch with a copy of the model on each card (MULTI_GPU)"


def share_weights(accelerator: Accelerator) -> bool:
    """Whether this launch asks for it: on a processor Accelerate itself takes no notice."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return asked and accelerator.num_processes > 1


def whole(x: Tensor) -> Tensor:
    """A tensor with the rows of all processes, which all of them have to ask for together."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def spread(x: Tensor, like: Tensor) -> Tensor:
    """Of a tensor that all processes hold, this one's rows, where `like` is shared; else all."""
    if not isinstance(like, DTensor):
        return x
    x = x.to(like.device)
    return distribute_tensor(x, like.device_mesh, like.placements, src_data_rank=None)


def own_rows(named: dict[str, Tensor], first: bool) -> dict[str, Tensor]:
    """What this process writes of named tensors: its rows, the first one also what is not shared.

    Rows come in the order of the processes, so that the parts of all are the tensor.
    """
    named = {name: t for name, t in named.items() if first or isinstance(t, DTensor)}
    return {name: t.to_local() if isinstance(t, DTensor) else t for name, t in named.items()}


@contextmanager
def read_only(model: nn.Module):
    """Raises ValueError where a loss writes into a weight: that copy of it will be dropped."""
    before = [(name, p, p._version) for name, p in model.named_parameters()]
    yield
    for name, p, version in before:
        if p._version != version:
            got = f"one that writes {name}"
            raise refusal("FSDP", "a loss that leaves the weights alone", got, INSTEAD)


class Shards:
    """The weights of a model as long as it trains with shared weights.

    model: what is trained, a copy of the one that was given. That one keeps its place in the
    caller's program, but not its memory: until `give_back` its weights are NaN, so that whoever
    asks it meanwhile, or after a run that broke off, is not told something old.

    given: the same in all processes, or made so: the first one's weights are sent to the others.
    A step's loss uses a weight in all processes or in none.
    Raises ValueError for a weight without an axis, which has no rows to share; for batches that
    a policy makes, which would need its weights; for FSDP's first version, and weights that wait
    on the processor.
    """

    def __init__(self, given: nn.Module, accelerator: Accelerator, batches: Callable):
        self.given, device = given, accelerator.device
        plugin = self.plugin = FullyShardedDataParallelPlugin()
        if plugin.fsdp_version != 2 or isinstance(plugin.cpu_offload, CPUOffloadPolicy):
            wanted = "fsdp_version: 2 and fsdp_offload_params: false"
            raise refusal("FSDP", wanted, f"{plugin.fsdp_version} and {plugin.cpu_offload}")
        if hasattr(batches, "load_state_dict"):
            raise refusal(
                "batches", "a function of the step", kind_of(batches),
                "with shared weights a policy cannot make batches of its own",
            )  # fmt: skip
        self.mesh = init_device_mesh(device.type, (accelerator.num_processes,))
        for name, p in given.named_parameters():
            if not p.ndim:
                got = f"{name}, which is one number"
                raise refusal("FSDP", "weights that have rows", got, INSTEAD)
        for t in (*given.parameters(), *given.buffers()):
            t.data.copy_(broadcast(t.data.to(device)))
        taken = {p: nn.Parameter(p.data.contiguous(), p.requires_grad) for p in given.parameters()}
        self.model = copy.deepcopy(given, {id(p): other for p, other in taken.items()})
        for p in given.parameters():
            p.data = p.new_full((), torch.nan).expand(p.shape)

    def prepare(self, net: nn.Module, average: nn.Module | None, optimizer) -> nn.Module:
        """Share the weights of the loss: those of each block apart, then the rest; the average's in
        the same way. An optimiser that was made for the given model gets the shared ones."""
        drop, blocks = self.plugin.reshard_after_forward, self.plugin.transformer_cls_names_to_wrap
        for module in [m for m in net.modules() if type(m).__name__ in (blocks or ())]:
            fully_shard(module, mesh=self.mesh, reshard_after_forward=drop)
        fully_shard(net, mesh=self.mesh)
        register_fsdp_forward_method(net, "call")
        net.guard = partial(read_only, self.model)
        shared = list(self.model.parameters())
        if average is not None:
            pairs = zip(average.parameters(), shared, strict=True)
            _replace(average, {id(p): spread(p.data, like) for p, like in pairs})
        if isinstance(optimizer, torch.optim.Optimizer):
            new = dict(zip(map(id, self.given.parameters()), shared, strict=True))
            for group in optimizer.param_groups:
                group["params"] = [new.get(id(p), p) for p in group["params"]]
        return net

    def give_back(self, average: nn.Module | None) -> nn.Module:
        """The given model with all that was learned, where it was; so is the average made whole."""
        pairs = zip(self.given.parameters(), self.model.parameters(), strict=True)
        for p, shared in pairs:
            p.data = whole(shared).to(p.device)
        for b, theirs in zip(self.given.buffers(), self.model.buffers(), strict=True):
            b.data = theirs.to(b.device)
        if average is not None:
            device = next(self.given.parameters()).device
            _replace(average, {id(p): whole(p).to(device) for p in average.parameters()})
            average.to(device)
        return self.given


def _replace(model: nn.Module, new: dict[int, Tensor]) -> None:
    """Put other tensors in the place of a model's weights, which are known by their id."""
    new = {id(p): nn.Parameter(new[id(p)], p.requires_grad) for p in model.parameters()}
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None:
                module._parameters[name] = new[id(p)]
