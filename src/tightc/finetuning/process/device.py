"""Where and in which numbers to train."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from tightc.errors import OptionError

# as torch's allocators say
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory")


@dataclass(frozen=True)
class ComputeDevice:
    """The device, and whether it computes in bfloat16 (weights and their updates stay float32)."""

    device: torch.device
    bf16: bool

    def precision(self) -> AbstractContextManager[object]:
        """The context in which a forward pass runs."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)


@contextmanager
def memory_named(batch_size: int) -> Iterator[None]:
    """OptionError in place of what torch raises where its memory, or the device's, is too small."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as fault:
        if isinstance(fault, RuntimeError) and not _OUT_OF_MEMORY.search(str(fault)):
            raise
        raise OptionError(
            f"--batch-size {batch_size}: what is trained on does not fit into memory", "give a smaller one"
        ) from None


def choose_device(device: str, precision: str, local_rank: int = 0) -> ComputeDevice:
    """The best that `device` (auto, cpu, cuda, cuda:N) and `precision` (auto, fp32, bf16) permit here.

    Of several processes on a machine each takes the CUDA device of its own number where none was named.

    OptionError where torch does not see the device, or where it is one for several processes.
    """
    if ":" in device and local_rank:
        raise OptionError(
            f"--device: {device} is one device, and several processes train on this machine",
            "give cuda, so that each takes its own",
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and local_rank:
        device = f"cuda:{local_rank}"
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise OptionError(
            f"--device: {device} is not here: torch sees {count} CUDA devices", "give auto or cpu"
        )
    return ComputeDevice(chosen, precision == "bf16" or (precision == "auto" and _fast_at_bf16(chosen)))


def _fast_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch tells these only under private names, which come and go between its versions.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in names)
