"""What a report page holds, read by Python's own HTML and JSON parsers; and small models to write pages on."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import tightc
from helpers import models

ARRAY = "8x4"
QUICK = {"array": ARRAY, "fan_in": 4, "method": "first-fit"}
HOSTILE = "</script><script>document.title='changed'</script>"
_VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes and the text inside it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()["tag"] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and all(
                element.get(name.strip("_").replace("_", "-")) == value for name, value in attributes.items()
            )
        ]

    def table(self, **attributes: str) -> list[list[str]]:
        """The cells of a table's rows, by where its rows stand in the page."""
        first = self.elements.index(self.all("table", **attributes)[0])
        rows: list[list[str]] = []
        for element in self.elements[first + 1 :]:
            if element["tag"] == "table":
                break
            if element["tag"] == "tr":
                rows.append([])
            elif element["tag"] in ("td", "th"):
                rows[-1].append(element["text"].strip())
        return rows

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The layers whose matrices and tiles the page holds."""
        found = json.loads(self.all("script", id="page-data")[0]["text"])
        return list(found["layers"])


def integers(record: dict[str, Any]) -> list[int]:
    """An array of the page."""
    content = zlib.decompress(base64.b64decode(record["zlib"]))
    size = record["bytes"]
    return [int.from_bytes(content[i : i + size], "little") for i in range(0, len(content), size)]


def slots(tiles: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """(filter, input) of every slot with a weight, tile by tile."""
    names = ("lanesOf", "columnsOf", "filters", "carried", "inputs", "select")
    lanes_of, columns_of, filters, carried, inputs, select = (integers(tiles[name]) for name in names)
    found = []
    column = lane = entry = slot = 0
    for lanes, columns in zip(lanes_of, columns_of, strict=True):
        tile = []
        for _ in range(lanes):
            listed = inputs[entry : entry + carried[lane]]
            for j in range(columns):
                if select[slot]:
                    tile.append((filters[column + j], listed[select[slot] - 1]))
                slot += 1
            entry += carried[lane]
            lane += 1
        column += columns
        found.append(tile)
    return found


def save(proto: onnx.ModelProto, path: Path, **options: Any) -> tightc.Model:
    """The model at `path`, permuted quickly."""
    made = tightc.permute(tightc.load(models.save(proto, path)), **{**QUICK, **options}).model
    tightc.save(made, path)
    return tightc.load(path)


def hostile() -> onnx.ModelProto:
    """A network whose names would end a script, an attribute or an element where they were not escaped."""
    proto = models.cnn()
    proto.graph.node[0].name = HOSTILE
    proto.graph.node[2].name = '"><img src=x onerror="document.title=1">'
    for node in proto.graph.node:
        for number, name in enumerate(node.input):
            if name == "second_w":
                node.input[number] = HOSTILE
    for tensor in proto.graph.initializer:
        if tensor.name == "second_w":
            tensor.name = HOSTILE
    return proto


def long_layer(filters: int, inputs: int, density: float) -> onnx.ModelProto:
    """One MatMul with a weight of (filters, inputs)."""
    weight = models.sparse(inputs, filters, density=density)
    return models.build(
        f"net (float[1, {inputs}] x) => (float[1, {filters}] y) {{ [wide] y = MatMul(x, w) }}",
        w=np.ascontiguousarray(weight),
    )
