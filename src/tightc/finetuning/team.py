"""Several processes that train together, as torchrun starts them."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

from tightc.errors import OptionError


@dataclass(frozen=True)
class Team:
    """This process is number `rank` of `size`, and number `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> Team:
        """As torchrun says; a team of one without it."""
        return cls(*(int(os.environ.get(name, alone)) for name, alone in _NAMES.items()))

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

    def meet(self, device_type: str) -> None:
        """Waits until all processes are there."""
        from torch import distributed

        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device_type == "cuda" else "gloo")

    def part(self, *, together: bool) -> None:
        """Ends what `meet` began; `together` where the others come here too: then none leaves before all are done."""
        from torch import distributed

        if self.size > 1 and distributed.is_initialized():
            gc.collect()  # what averaged gradients holds on to the group, whose threads must end before the process
            if together:
                distributed.barrier()
            distributed.destroy_process_group()


_NAMES = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
