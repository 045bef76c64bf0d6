"""The bytes of a TensorFlow Lite file, by the flatbuffer tables that Arm's compiler brings along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ethosu.vela.tflite import (
    AddOptions,
    Buffer,
    BuiltinOperator,
    BuiltinOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    Model,
    Operator,
    OperatorCode,
    Pool2DOptions,
    QuantizationParameters,
    ReshapeOptions,
    SubGraph,
    TensorType,
)
from ethosu.vela.tflite import Tensor as TensorTable

from tensorflow_lite.operators import LiteNetwork, Tensor
from tensorflow_lite.operators import Operator as LiteOperator

_VERSION, _IDENTIFIER = 3, b"TFL3"
_OPTIONS = {
    "ADD": AddOptions,
    "AVERAGE_POOL_2D": Pool2DOptions,
    "CONV_2D": Conv2DOptions,
    "DEPTHWISE_CONV_2D": DepthwiseConv2DOptions,
    "FULLY_CONNECTED": FullyConnectedOptions,
    "RESHAPE": ReshapeOptions,
}


def file_bytes(network: LiteNetwork) -> bytes:
    """`network` as a file with one subgraph."""
    return _File(network).bytes()


class _File:
    def __init__(self, network: LiteNetwork) -> None:
        self._network = network
        self._builder: Any = flatbuffers.Builder(1 << 16)
        self._numbers = {name: number for number, name in enumerate(network.tensors)}
        self._codes = sorted({operator.code for operator in network.operators})

    def bytes(self) -> bytes:
        builder, network = self._builder, self._network
        tensors = self._offsets([self._tensor(tensor) for tensor in network.tensors.values()])
        operators = self._offsets([self._operator(operator) for operator in network.operators])
        inputs = self._ints([self._numbers[name] for name in network.inputs])
        outputs = self._ints([self._numbers[name] for name in network.outputs])
        SubGraph.Start(builder)
        SubGraph.AddTensors(builder, tensors)
        SubGraph.AddInputs(builder, inputs)
        SubGraph.AddOutputs(builder, outputs)
        SubGraph.AddOperators(builder, operators)
        subgraphs = self._offsets([SubGraph.End(builder)])
        codes = self._offsets([self._code(code) for code in self._codes])
        # the first buffer is empty by convention; each tensor has its own
        data = [None, *(tensor.data for tensor in network.tensors.values())]
        buffers = self._offsets([self._buffer(one) for one in data])
        Model.Start(builder)
        Model.AddVersion(builder, _VERSION)
        Model.AddOperatorCodes(builder, codes)
        Model.AddSubgraphs(builder, subgraphs)
        Model.AddBuffers(builder, buffers)
        builder.Finish(Model.End(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, tensor: Tensor) -> int:
        builder = self._builder
        name, shape = builder.CreateString(tensor.name), self._ints(tensor.shape)
        scales = builder.CreateNumpyVector(tensor.scales)
        zeros = builder.CreateNumpyVector(np.zeros(len(tensor.scales), np.int64))
        QuantizationParameters.Start(builder)
        QuantizationParameters.AddScale(builder, scales)
        QuantizationParameters.AddZeroPoint(builder, zeros)
        quantization = QuantizationParameters.End(builder)
        is_sum = tensor.data is not None and tensor.data.dtype == np.int32
        TensorTable.Start(builder)
        TensorTable.AddShape(builder, shape)
        TensorTable.AddType(builder, TensorType.TensorType.INT32 if is_sum else TensorType.TensorType.INT8)
        TensorTable.AddBuffer(builder, 1 + self._numbers[tensor.name])
        TensorTable.AddName(builder, name)
        TensorTable.AddQuantization(builder, quantization)
        return int(TensorTable.End(builder))

    def _operator(self, operator: LiteOperator) -> int:
        builder, table = self._builder, _OPTIONS[operator.code]
        inputs = self._ints([self._numbers[name] for name in operator.inputs])
        outputs = self._ints([self._numbers[operator.output]])
        shape = (
            self._ints(self._network.tensors[operator.output].shape) if operator.code == "RESHAPE" else None
        )
        table.Start(builder)
        for name, value in operator.options.items():
            getattr(table, f"Add{name}")(builder, value)
        if shape is not None:
            table.AddNewShape(builder, shape)
        options = table.End(builder)
        kind = table.__name__.rpartition(".")[2]
        Operator.Start(builder)
        Operator.AddOpcodeIndex(builder, self._codes.index(operator.code))
        Operator.AddInputs(builder, inputs)
        Operator.AddOutputs(builder, outputs)
        Operator.AddBuiltinOptionsType(builder, getattr(BuiltinOptions.BuiltinOptions, kind))
        Operator.AddBuiltinOptions(builder, options)
        return int(Operator.End(builder))

    def _code(self, code: str) -> int:
        number = getattr(BuiltinOperator.BuiltinOperator, code)
        OperatorCode.Start(self._builder)
        OperatorCode.AddDeprecatedBuiltinCode(self._builder, number)
        OperatorCode.AddBuiltinCode(self._builder, number)
        OperatorCode.AddVersion(self._builder, 1)
        return int(OperatorCode.End(self._builder))

    def _buffer(self, data: np.ndarray[Any, Any] | None) -> int:
        stored = None if data is None else self._builder.CreateNumpyVector(data.reshape(-1).view(np.uint8))
        Buffer.Start(self._builder)
        if stored is not None:
            Buffer.AddData(self._builder, stored)
        return int(Buffer.End(self._builder))

    def _ints(self, numbers: Sequence[int]) -> int:
        return int(self._builder.CreateNumpyVector(np.array(numbers, np.int32)))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())
