"""A group of processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tightc.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Item = TypeVar("Item")

_REQUIRED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_REMEDY = "start it with torchrun, or unset WORLD_SIZE"


@dataclass(frozen=True)
class ProcessGroup:
    """This process is number `rank` of `world_size`, and number `local_rank` on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> ProcessGroup:
        """The group that torchrun's environment variables describe, or a single process without them.

        OptionError where some of the variables are missing or wrong.
        """
        world_size = _integer("WORLD_SIZE", 1)
        if world_size == 1:
            return cls()
        missing = [name for name in _REQUIRED if name not in os.environ]
        if missing:
            raise OptionError(
                f"{missing[0]}: expected a value with WORLD_SIZE={world_size}, got none", _REMEDY
            )
        rank, local_rank = _integer("RANK", 0), _integer("LOCAL_RANK", 0)
        if rank >= world_size:
            raise OptionError(f"RANK: expected an integer below WORLD_SIZE={world_size}, got {rank}", _REMEDY)
        return cls(rank, world_size, local_rank)

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def check_batch_size(self, batch_size: int) -> None:
        """OptionError where a batch cannot be divided evenly among the processes."""
        if batch_size % self.world_size:
            raise OptionError(
                f"--batch-size: expected a multiple of the {self.world_size} processes, got {batch_size}",
                f"give a multiple of {self.world_size}",
            )

    def init(self, device: torch.device) -> None:
        """Waits until all processes are connected; they communicate through `device`."""
        import torch
        from torch import distributed

        if self.world_size > 1 and not distributed.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            try:
                distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            except (ValueError, RuntimeError) as fault:
                reason = str(fault).partition("\n")[0]
                raise OptionError(
                    f"the {self.world_size} processes cannot connect ({reason})", _REMEDY
                ) from None

    def shard(self, batch: Tensor) -> Tensor:
        """The entries of `batch`, along its first axis, that belong to this process."""
        return batch[self.rank :: self.world_size]

    def broadcast_result(self, read: Callable[[], Item]) -> Item:
        """Calls `read` in the main process and returns its result, or raises its OptionError, in all processes."""
        if self.world_size == 1:
            return read()
        from torch import distributed

        message: list[Any] = [None, None]
        if self.is_main_process:
            try:
                message[0] = read()
            except OptionError as fault:
                message[1] = (fault.sentence, fault.remedy)
        distributed.broadcast_object_list(message)
        if message[1] is not None:
            raise OptionError(*message[1])
        return cast(Item, message[0])

    def all_reduce_sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, in each of them."""
        if self.world_size > 1:
            from torch import distributed

            value = value.clone()
            distributed.all_reduce(value)
        return value

    def broadcast_module(self, module: nn.Module) -> None:
        """Copies the tensors of `module` from the main process to all; running statistics differ until then."""
        if self.world_size > 1:
            from torch import distributed

            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def destroy(self, *, barrier: bool) -> None:
        """Ends the group; with `barrier`, which all processes must call, only after all are done."""
        from torch import distributed

        if self.world_size > 1 and distributed.is_initialized():
            gc.collect()  # gradient reducers hold the group, and its threads must end before the process
            if barrier:
                distributed.barrier()
            distributed.destroy_process_group()


def _integer(name: str, default: int) -> int:
    """An environment variable as an integer, `default` where it is unset; OptionError where it is none."""
    text = os.environ.get(name, str(default))
    least = 1 if name == "WORLD_SIZE" else 0
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
        raise OptionError(f"{name}: expected an integer from {least}, got {text!r}", _REMEDY)
    return int(text)
