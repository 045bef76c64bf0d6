"""Bits per weight of three coders for the two kinds of numbers of a weight stream that have tables.

    python scripts/stream_coders.py PERMUTED...

Each coder gets its best parameters for each layer, and pays for them: canonical Huffman codes with their table;
Golomb-Rice with the smallest number and the width; static rANS with frequencies of 12 bits in Elias gamma codes and 32
bits of state. Entropy is that of order 0 in each layer, without anything to describe it.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import tightc
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.model.packings.weight_stream import WeightStream
from tightc.stream.tables import Table, best_table, table_bits

CODERS = ("Huffman", "Golomb-Rice", "rANS", "entropy")
_SCALE, _STATE_BITS = 12, 32
_WIDTHS = range(24)

Numbers = NDArray[np.int64]


def tokens(numbers: Numbers, table: Table) -> Numbers:
    """How often each token of `table` occurs among `numbers`."""
    return np.bincount((numbers - table.base) >> table.raw, minlength=len(table.lengths))


def huffman(numbers: Numbers) -> float:
    """Bits with the best table."""
    table = best_table(numbers)
    codes = int((tokens(numbers, table) * table.lengths).sum())
    return codes + table.raw * len(numbers) + table_bits(table)


def golomb_rice(numbers: Numbers) -> float:
    """Bits with the best width."""
    above = numbers - numbers.min()
    parameters = 2 * int(numbers.min() + 1).bit_length() - 1 + 6
    return parameters + min(int((above >> width).sum()) + len(above) * (width + 1) for width in _WIDTHS)


def rans(numbers: Numbers) -> float:
    """Bits with the best number of raw bits, by the information of each token under its frequency."""
    base = int(numbers.min())
    found = []
    for raw in range(max(0, int(np.ptp(numbers)).bit_length() - 8), int(np.ptp(numbers)).bit_length() + 1):
        counts = np.bincount((numbers - base) >> raw)
        used = counts > 0
        scaled = np.where(used, np.maximum(1, counts * 2**_SCALE // counts.sum()), 0)
        scaled[scaled.argmax()] += 2**_SCALE - scaled.sum()
        codes = float((counts[used] * (_SCALE - np.log2(scaled[used]))).sum())
        head = sum(2 * int(own + 1).bit_length() - 1 for own in scaled) + 2 * base.bit_length() + 15
        found.append(codes + raw * len(numbers) + head + _STATE_BITS)
    return min(found)


def entropy(numbers: Numbers) -> float:
    """Bits of order 0."""
    counts = np.unique(numbers, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum())


def bits_by_coder(model: tightc.Model) -> dict[str, list[float]]:
    """Bits per weight by each of CODERS, for `uses` and `magnitudes`."""
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    stream = WeightStream.of(network, matching_packings(plain, network, decoded))
    total = {"uses": np.zeros(len(CODERS)), "magnitudes": np.zeros(len(CODERS))}
    weights = 0
    for stored, contents in stream.layers.values():
        if not len(contents.magnitudes):
            continue
        weights += len(contents.magnitudes)
        uses = np.concatenate([tile.counts for tile in stored.tiles])
        for name, numbers in (("uses", uses), ("magnitudes", contents.magnitudes)):
            total[name] += [coder(numbers) for coder in (huffman, golomb_rice, rans, entropy)]
    return {name: (bits / weights).tolist() for name, bits in total.items()}


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="PERMUTED")
    for path in parser.parse_args().models:
        print(f"{path}\n{'bits per weight':16}" + "".join(f"{coder:>13}" for coder in CODERS))
        for name, bits in bits_by_coder(tightc.load(path)).items():
            print(f"{name:16}" + "".join(f"{own:13.2f}" for own in bits))


if __name__ == "__main__":
    main()
