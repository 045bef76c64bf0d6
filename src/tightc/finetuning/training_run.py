"""A prepared training: run it, and read the trained tensors of the original graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tightc.finetuning.network.batchnorm_unfolding import InsertedNorm, fold
from tightc.finetuning.network.fake_quantization import integer_constants
from tightc.finetuning.network.torch_network import TorchNetwork
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.checkpoint import Checkpoint
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.loop import Training
from tightc.finetuning.training.metrics import TrainingResult
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import Array
from tightc.progress import Progress, no_progress


@dataclass(frozen=True)
class TrainingRun:
    """A training that is ready to start.

    `norms`: the batch normalizations inserted for training; `quantized`: the integer weights; `key`: a digest of all
    that the result depends on.
    """

    student: TorchNetwork
    training: Training
    norms: list[InsertedNorm]
    quantized: tuple[QuantizedWeight, ...]
    group: ProcessGroup
    key: str

    @property
    def layers(self) -> dict[str, str]:
        """Layer names to weight names."""
        return self.student.layers

    @property
    def parameters(self) -> list[str]:
        """Names of the trained tensors of the original graph."""
        return list(self.student.module.roles)

    @property
    def initial_zeros(self) -> int:
        """Number of weights that were zero at the start."""
        return self.training.masks.initial_zeros

    @property
    def environment(self) -> dict[str, Any]:
        """What the result depends on besides options and seed: CPU threads of a process, all where they changed."""
        threads = sorted(self.training.threads)
        processes = {} if self.group.world_size == 1 else {"processes": self.group.world_size}
        return {"threads": threads[0] if len(threads) == 1 else threads, **processes}

    def train(self, progress: Progress, options: FinetuneOptions) -> TrainingResult:
        """Trains to the end or an interrupt; in a group only the main process reports progress and writes.

        `options` name the checkpoint file and its interval.
        """
        checkpoint = None
        if options.checkpoint is not None:
            checkpoint = Checkpoint(Path(options.checkpoint), 60 * options.checkpoint_minutes, self.key)
        try:
            result = self.training.run(progress if self.group.is_main_process else no_progress, checkpoint)
        except BaseException:
            self.group.destroy(barrier=False)
            raise
        self.group.destroy(barrier=not result.interrupted)
        return result

    def trained(self) -> dict[str, Array]:
        """The current tensors of the original graph: norms folded, quantized weights as integers and dequantized."""
        tensors, factors = fold(self.training.setup.student.trained(), self.norms)
        return {**tensors, **integer_constants(tensors, self.quantized, factors)}
