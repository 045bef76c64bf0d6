"""Quantize: int8 weights and activations, written as QuantizeLinear and DequantizeLinear."""
