"""Training device and compute dtype."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from tightc.errors import OptionError

# the words of torch's allocators
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory")


@dataclass(frozen=True)
class ComputeDevice:
    """The device, and whether it computes in bfloat16; weights and their updates stay float32."""

    device: torch.device
    bfloat16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


@contextmanager
def out_of_memory_as_option_error(batch_size: int) -> Iterator[None]:
    """Raises OptionError in place of the errors by which torch reports that memory is too small."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as fault:
        if isinstance(fault, RuntimeError) and not _OUT_OF_MEMORY.search(str(fault)):
            raise
        raise OptionError(
            f"--batch-size {batch_size}: the training does not fit into memory", "lower --batch-size"
        ) from None


def choose_device(device: str, dtype: str, local_rank: int = 0) -> ComputeDevice:
    """The best device that `device` (auto, cpu, cuda, cuda:N) and `dtype` (auto, float32, bfloat16) permit here.

    With plain cuda, process `local_rank` of the machine takes the CUDA device of that number.

    OptionError where torch does not see the device, or where several processes would share one.
    """
    if ":" in device and local_rank:
        raise OptionError(
            f"--device: expected one device per process, got {device} for several", "give --device cuda"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and local_rank:
        device = f"cuda:{local_rank}"
    chosen = torch.device(device)
    count = torch.cuda.device_count()
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise OptionError(
            f"--device: expected a device that torch sees ({count} CUDA devices), got {device}",
            "give --device auto or cpu",
        )
    return ComputeDevice(chosen, dtype == "bfloat16" or (dtype == "auto" and _accelerates_bfloat16(chosen)))


def _accelerates_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch has only private names for these, which change between versions
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in names)
