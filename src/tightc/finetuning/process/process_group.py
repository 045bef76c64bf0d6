"""Several processes that train together, as torchrun starts them."""

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

_SAID = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_REMEDY = "start it with torchrun, or unset WORLD_SIZE"


@dataclass(frozen=True)
class ProcessGroup:
    """This process is number `rank` of `size`, and number `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> ProcessGroup:
        """As torchrun says; a team of one without it. OptionError where only a part of that is said."""
        size = _number("WORLD_SIZE", 1)
        if size == 1:
            return cls()
        missing = [name for name in _SAID if name not in os.environ]
        if missing:
            raise OptionError(f"WORLD_SIZE is {size}, but {missing[0]} is not set", _REMEDY)
        rank, local_rank = _number("RANK", 0), _number("LOCAL_RANK", 0)
        if rank >= size:
            raise OptionError(f"RANK is {rank}, of {size} processes numbered from 0", _REMEDY)
        return cls(rank, size, local_rank)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def check(self, batch_size: int) -> None:
        """OptionError where batches cannot be dealt out evenly."""
        if batch_size % self.size:
            raise OptionError(
                f"--batch-size {batch_size} cannot be dealt out to {self.size} processes",
                f"give a multiple of {self.size}",
            )

    def meet(self, device: torch.device) -> None:
        """Waits until all processes are there; what they tell each other goes by way of `device`."""
        import torch
        from torch import distributed

        if self.size > 1 and not distributed.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            try:
                distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            except (ValueError, RuntimeError) as fault:
                said = str(fault).partition("\n")[0]
                raise OptionError(f"the {self.size} processes do not meet ({said})", _REMEDY) from None

    def shared(self, read: Callable[[], Item]) -> Item:
        """What `read` gives the leader, in all processes: each may have a disk of its own. So with its OptionError."""
        if self.size == 1:
            return read()
        from torch import distributed

        said: list[Any] = [None, None]
        if self.leads:
            try:
                said[0] = read()
            except OptionError as fault:
                said[1] = (fault.sentence, fault.remedy)
        distributed.broadcast_object_list(said)
        if said[1] is not None:
            raise OptionError(*said[1])
        return cast(Item, said[0])

    def sum(self, part: Tensor) -> Tensor:
        """The sum of all processes' `part`, in each of them."""
        if self.size > 1:
            from torch import distributed

            part = part.clone()
            distributed.all_reduce(part)
        return part

    def follow(self, module: nn.Module) -> None:
        """Gives all processes the leader's tensors of `module`, such as running means, which no gradient evens out."""
        if self.size > 1:
            from torch import distributed

            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def part(self, *, together: bool) -> None:
        """Ends what `meet` began; `together` where the others come here too: then none leaves before all are done."""
        from torch import distributed

        if self.size > 1 and distributed.is_initialized():
            gc.collect()  # what averaged gradients holds on to the group, whose threads must end before the process
            if together:
                distributed.barrier()
            distributed.destroy_process_group()


def _number(name: str, alone: int) -> int:
    """A whole number of the environment, `alone` where it is not there; OptionError where it is none."""
    said = os.environ.get(name, str(alone))
    if not re.fullmatch(r"\d{1,9}", said) or (name == "WORLD_SIZE" and not int(said)):
        raise OptionError(f"{name}={said} is not permitted", _REMEDY)
    return int(said)
