"""Photos of any size, form and orientation, resized and cut to the network's input, and read as they are needed."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.config.image_shape import ImageShape
from tightc.data import image_files
from tightc.data.file_pixels import FilePixels
from tightc.data.framing import Framing
from tightc.data.images import Images
from tightc.data.source import open_images
from tightc.data.validation_split import split_validation
from tightc.errors import DataError, OptionError

SHAPE = ImageShape(3, 16, 16)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture with some noise, in color."""
    rng = np.random.default_rng([seed, width, height])
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(rows / (3 + band) + columns / (5 - band)) for band in range(3)]
    noise = rng.integers(-20, 20, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def one(root: Path, content: bytes, framing: Framing, shape: ImageShape = SHAPE) -> NDArray[Any]:
    pixels = open_images(folder(root, {"a/photo.img.png": content}), "test", shape, framing=framing).pixels
    return np.asarray(pixels)[0]


# --- the size


def resampled(values: NDArray[Any], length: int) -> NDArray[np.float64]:
    """Axis 0 at a new `length`: each value the mean of the old ones under a triangle, plain loops."""
    scale = len(values) / length
    width = max(scale, 1.0)
    out = np.zeros((length, *values.shape[1:]))
    for index in range(length):
        center = (index + 0.5) * scale
        weights = [max(0.0, 1 - abs((old + 0.5 - center) / width)) for old in range(len(values))]
        for old, weight in enumerate(weights):
            out[index] += weight / sum(weights) * values[old]
    return out


def framed(image: Image.Image, resize: int, crop: int) -> NDArray[np.float64]:
    """What Resize(resize) and CenterCrop(crop) of torchvision give, (channels, crop, crop), by plain arithmetic."""
    values = np.asarray(image).astype(float)
    height, width = values.shape[:2]
    long = int(resize * max(height, width) / min(height, width))
    rows, columns = (long, resize) if width <= height else (resize, long)
    values = resampled(resampled(values.transpose(1, 0, 2), columns).transpose(1, 0, 2), rows)
    top, left = round((rows - crop) / 2.0), round((columns - crop) / 2.0)
    return values[top : top + crop, left : left + crop].transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (41, 77), (90, 20), (20, 20), (9, 11), (10, 9), (1, 2)])
@pytest.mark.parametrize(("resize", "crop"), [(20, 16), (16, 16), (23, 16)])
def test_the_shorter_side_is_resized_and_the_center_cut_out(
    size: tuple[int, int], resize: int, crop: int, tmp_path: Path
) -> None:
    image = photo(*size)
    found = one(tmp_path, encoded(image), Framing(resize, crop))
    assert found.shape == (3, crop, crop)
    # Pillow rounds to bytes after the columns and after the rows: half a level each
    assert np.abs(found - framed(image, resize, crop)).max() <= 1.01


def test_the_resampling_is_that_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    image = photo(67, 45)
    found = one(tmp_path, encoded(image), Framing(16, 16))
    values = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32))[None]
    resized = torch.nn.functional.interpolate(values, (16, 23), mode="bilinear", antialias=True)
    left = round((23 - 16) / 2.0)
    assert np.abs(found - resized[0, :, :, left : left + 16].numpy()).max() <= 1.01


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(16, 40))
def test_sizes_of_any_photo(width: int, height: int, resize: int) -> None:
    framing = Framing(resize, None)
    image = framing.applied(Image.new("RGB", (width, height)), framing.shape(SHAPE), "x")
    assert image.size == (16, 16)


def test_the_crop_is_that_of_the_network_unless_given(tmp_path: Path) -> None:
    content = encoded(photo(40, 30))
    tall = one(tmp_path, content, Framing(30), ImageShape(3, 20, 10))
    assert tall.shape == (3, 20, 10)
    np.testing.assert_array_equal(tall, np.asarray(photo(40, 30)).transpose(2, 0, 1)[:, 5:25, 15:25])
    assert one(tmp_path, content, Framing(30, 12), ImageShape(3)).shape == (3, 12, 12)
    np.testing.assert_array_equal(
        one(tmp_path, content, Framing(None, 12), ImageShape(3)),
        np.asarray(photo(40, 30)).transpose(2, 0, 1)[:, 9:21, 14:26],
    )


# --- forms of files


def palette(image: Image.Image, **options: Any) -> bytes:
    return encoded(image.quantize(16), "PNG", **options)


PHOTO = photo(40, 30)
ALPHA = PHOTO.copy()
ALPHA.putalpha(Image.fromarray(np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))))
FORMS: dict[str, tuple[bytes, Image.Image]] = {
    "png": (encoded(PHOTO), PHOTO),
    "bmp": (encoded(PHOTO, "BMP"), PHOTO),
    "tiff": (encoded(PHOTO, "TIFF"), PHOTO),
    "webp": (encoded(PHOTO, "WEBP", lossless=True), PHOTO),
    "gray": (encoded(PHOTO.convert("L")), PHOTO.convert("L").convert("RGB")),
    "gray with alpha": (encoded(ALPHA.convert("LA")), PHOTO.convert("L").convert("RGB")),
    "alpha": (encoded(ALPHA), PHOTO),
    "palette": (palette(PHOTO), PHOTO.quantize(16).convert("RGB")),
    "palette with a transparent color": (palette(PHOTO, transparency=3), PHOTO.quantize(16).convert("RGB")),
    "black and white": (encoded(PHOTO.convert("1")), PHOTO.convert("1").convert("RGB")),
    "cmyk": (encoded(PHOTO.convert("CMYK"), "TIFF"), PHOTO.convert("CMYK").convert("RGB")),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_colors_that_it_shows(form: str, tmp_path: Path) -> None:
    content, shown = FORMS[form]
    found = one(tmp_path, content, Framing(20, 16))
    assert np.abs(found - framed(shown, 20, 16)).max() <= 1.01


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_of_each_kind(mode: str, tmp_path: Path) -> None:
    content = encoded(PHOTO.convert(mode), "JPEG", quality=95)
    found = one(tmp_path, content, Framing(20, 16))
    expected = framed(PHOTO.convert("L").convert("RGB") if mode == "L" else PHOTO, 20, 16)
    assert np.abs(found - expected).mean() < 6  # lossy


def test_a_network_of_one_channel_sees_luminance(tmp_path: Path) -> None:
    found = one(tmp_path, encoded(PHOTO), Framing(20, 16), ImageShape(1, 16, 16))
    luminance = np.asarray(PHOTO).astype(float) @ [0.299, 0.587, 0.114]
    expected = framed(
        Image.fromarray(np.repeat(np.rint(luminance)[..., None], 3, -1).astype(np.uint8)), 20, 16
    )
    assert found.shape == (1, 16, 16) and np.abs(found - expected[:1]).max() <= 2


# what a camera stored, so that the tag brings it back: by numpy, as the EXIF standard defines the tag
ORIENTED = {
    1: lambda v: v,
    2: lambda v: v[:, ::-1],
    3: lambda v: v[::-1, ::-1],
    4: lambda v: v[::-1],
    5: lambda v: v.transpose(1, 0, 2),
    6: lambda v: np.rot90(v, 1),
    7: lambda v: np.rot90(v, 2).transpose(1, 0, 2),
    8: lambda v: np.rot90(v, -1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_photos_are_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(ORIENTED[orientation](np.asarray(PHOTO))))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(stored, kind, exif=exif, **options)
    assert np.abs(one(tmp_path / "a", content, Framing(20, 16)) - framed(PHOTO, 20, 16)).max() <= 1.01
    # photos of the network's size too, where nothing is resized
    files = {"a/x.png": content, "a/y.png": encoded(PHOTO)}
    found = open_images(folder(tmp_path / "b", files), "test", ImageShape(3, 30, 40)).pixels
    np.testing.assert_array_equal(found[0], found[1])


def test_the_first_photo_sets_the_size_as_it_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    files = {"a/1.png": encoded(photo(24, 16), exif=exif), "a/2.png": encoded(photo(16, 24))}
    found = tightc.load_images(folder(tmp_path, files), (3, None, None), split="train")
    assert found.images.pixels.shape == (2, 3, 24, 16)


def test_exif_that_cannot_be_read_leaves_the_photo_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: Image.Image) -> Image.Image:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", broken)
    assert one(tmp_path, encoded(PHOTO), Framing(20, 16)).shape == (3, 16, 16)


# --- read as needed


FILES = {f"{'cat' if i % 3 else 'dog'}/{i:02}.png": encoded(photo(20 + i, 45 - i, i)) for i in range(24)}


def network(side: int = 16) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    return models.build(
        f"""net (float[B, 3, {side}, {side}] x) => (float[B, 2] y) {{
            [c] a = Conv<strides = [2, 2]>(x, c_w, c_b)
            b = Relu(a)
            d = GlobalAveragePool(b)
            e = Flatten(d)
            [f] y = Gemm<transB = 1>(e, f_w, f_b)
        }}""",
        c_w=rng.normal(size=(8, 3, 3, 3)).astype(np.float32) * 0.3,
        c_b=np.zeros(8, np.float32),
        f_w=rng.normal(size=(2, 8)).astype(np.float32),
        f_b=np.zeros(2, np.float32),
    )


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return folder(tmp_path / "photos", FILES)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of any size are read as needed."""
    monkeypatch.setattr(image_files, "_MOST_HELD", 0)


def both(photos: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Images, Images]:
    """The photos, decoded at once and as needed."""
    held = open_images(photos, "train", SHAPE, framing=Framing(20))
    monkeypatch.setattr(image_files, "_MOST_HELD", 0)
    return held, open_images(photos, "train", SHAPE, framing=Framing(20))


def test_what_is_read_as_needed_is_the_same(photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held, needed = both(photos, monkeypatch)
    assert isinstance(held.pixels, np.ndarray) and isinstance(needed.pixels, FilePixels)
    assert needed.pixels.shape == held.pixels.shape and needed.pixels.nbytes == held.pixels.nbytes
    np.testing.assert_array_equal(needed.labels, held.labels)
    for which in (slice(3, 9), slice(None, None, 2), np.array([5, 0, 5]), np.arange(24) % 5 == 0, 7, -1):
        np.testing.assert_array_equal(needed.pixels[which], held.pixels[which])
        if not isinstance(which, int):
            chosen = needed.chosen(which)
            assert isinstance(chosen.pixels, FilePixels)
            np.testing.assert_array_equal(np.asarray(chosen.pixels), held.pixels[which])
            np.testing.assert_array_equal(chosen.labels, held.labels[which])
    np.testing.assert_array_equal(np.stack(list(needed.pixels)), held.pixels)
    for part, of_held in zip(split_validation(needed, 6), split_validation(held, 6), strict=True):
        assert isinstance(part.pixels, FilePixels)
        np.testing.assert_array_equal(np.asarray(part.pixels), of_held.pixels)


def test_no_photo_is_decoded_before_it_is_needed(photos: str, streamed: None) -> None:
    (Path(photos) / "dog" / "21.png").write_bytes(encoded(PHOTO)[:200])
    images = open_images(photos, "train", SHAPE, framing=Framing(20))
    place = sorted(FILES).index("dog/21.png")
    assert images.pixels[:place].shape == (place, 3, 16, 16)
    with pytest.raises(
        DataError, match=r"dog/21\.png: expected a readable image, got another or a corrupt file"
    ):
        images.pixels[place:]


def test_memory_holds_a_batch_and_not_the_set(tmp_path: Path, streamed: None) -> None:
    content = encoded(photo(300, 400), "JPEG")
    path = folder(tmp_path, {f"a/{i:03}.jpg": content for i in range(200)})
    images = open_images(path, "test", ImageShape(3, 224, 224), framing=Framing(256))
    one_image = 3 * 224 * 224
    assert images.pixels.nbytes == 200 * one_image
    tracemalloc.start()
    for first in range(0, 200, 8):
        images.pixels[first : first + 8]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 8 * one_image < peak < 40 * one_image


def test_training_on_photos_that_are_read_as_needed_is_the_same(
    photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    model = loaded(network())
    results = []
    for held in (2**28, 0):
        monkeypatch.setattr(image_files, "_MOST_HELD", held)
        seen = tightc.load_images(photos, model, resize=20, crop=16)
        result = tightc.finetune(
            model, seen, epochs=2, batch_size=4, augment=True, validation=4, sparsity=0.5
        )
        results.append(result.model.to_bytes())
        assert result.report.totals["validation_accuracy"] >= 0
    assert results[0] == results[1]


def test_a_checkpoint_belongs_to_the_photos_as_they_were(photos: str, streamed: None) -> None:
    def digest(resize: int = 20) -> bytes:
        pixels = open_images(photos, "train", SHAPE, framing=Framing(resize)).pixels
        assert isinstance(pixels, FilePixels)
        return pixels.digest()

    before = digest()
    assert digest() == before != digest(21)
    (Path(photos) / "dog" / "21.png").write_bytes(encoded(PHOTO))
    assert digest() != before


# --- every command


@pytest.mark.parametrize("held", [2**28, 0])
def test_every_command_takes_photos(
    held: int,
    photos: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(image_files, "_MOST_HELD", held)
    models.save(network(), tmp_path / "net.onnx")
    net, out = str(tmp_path / "net.onnx"), str(tmp_path / "out.onnx")
    data = ["--data", photos, "--resize", "20", "--crop", "16"]
    commands = [
        ["evaluate", net, *data],
        ["quantize", net, *data, "-o", out],
        ["prune", net, *data, "--criterion", "obs", "--sparsity", "0.5", "-o", out],
        ["prune", net, *data, "--criterion", "fisher", "--sparsity", "0.5", "-o", out],
        ["finetune", net, *data, "--epochs", "1", "--batch-size", "8", "-o", out],
        ["inspect", net, "--sensitivity", photos, "--resize", "20", "--crop", "16"],
    ]
    for command in commands:
        assert run([*command, "--json"]) == 0, capsys.readouterr().err
        report = json.loads(capsys.readouterr().out)
        assert report["totals"]
        if command[0] == "evaluate":
            assert report["totals"]["images"] == 24
    (tmp_path / "r.yaml").write_text(
        "model: net.onnx\ndata: {data: photos, resize: 20, crop: 16, validation: 6}\n"
        "stages: [{prune: {sparsity: 0.5}}, {finetune: {epochs: 1, batch_size: 8}}]\n"
    )
    command = ["run", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "out"), "--json"]
    assert run(command) == 0, capsys.readouterr().err
    assert all(row["accuracy"] is not None for row in json.loads(capsys.readouterr().out)["layers"])
    text = (tmp_path / "r.yaml").read_text()
    (tmp_path / "r.yaml").write_text(text.replace("resize: 20", "resize: 22"))
    assert run(command) == 0
    rows = json.loads(capsys.readouterr().out)["layers"]
    assert [row["state"] for row in rows] == ["unchanged", "unchanged", "done"]


def test_the_command_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "models-and-data.md").read_text()
    (line,) = re.findall(r"```sh\ntightc (evaluate model\.onnx --data photos/[^`]*)```", page)
    models.save(network(side=224), tmp_path / "model.onnx")
    folder(
        tmp_path / "photos", {f"{name}/x.jpg": encoded(photo(300, 400), "JPEG") for name in ("cat", "dog")}
    )
    assert run([*shlex.split(line.replace("\\\n", " ")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["images"] == 2


def test_photos_in_an_archive(tmp_path: Path, photos: str) -> None:
    path = tmp_path / "photos.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(photos, "photos")
    expected = open_images(photos, "test", SHAPE, framing=Framing(20))
    found = open_images(str(path), "test", SHAPE, framing=Framing(20))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.classes == expected.classes == ("cat", "dog")


def test_photos_without_labels(tmp_path: Path) -> None:
    path = folder(tmp_path, {"b.png": encoded(photo(20, 30)), "a.png": encoded(PHOTO)})
    seen = tightc.load_images(path, loaded(network()), resize=16)
    assert isinstance(seen, tightc.NormalizedImages) and seen.images.labels is None
    assert seen.images.pixels.shape == (2, 3, 16, 16)


# --- refusals


def said(call: Any) -> tuple[str, str]:
    with pytest.raises((DataError, OptionError)) as caught:
        call()
    return caught.value.sentence, caught.value.remedy


@pytest.mark.parametrize(
    ("framing", "shape", "sentence", "remedy"),
    [
        (
            Framing(20),
            ImageShape(3),
            "--resize: expected --crop too for a network that takes images of any size (3 x any x any), got none",
            "add --crop 224",
        ),
        (
            Framing(20, 18),
            SHAPE,
            "--crop: expected 3 x 16 x 16 (channels x height x width), which the network takes, got 18",
            "leave --crop out, and the input of the network is cut out",
        ),
        (
            Framing(15),
            SHAPE,
            "--resize: expected at least 16, the longer side of the crop, got 15",
            "give --resize 16 or more",
        ),
    ],
)
def test_sizes_that_do_not_fit_the_network(
    framing: Framing, shape: ImageShape, sentence: str, remedy: str, photos: str
) -> None:
    assert said(lambda: open_images(photos, "test", shape, framing=framing)) == (sentence, remedy)


def test_a_photo_smaller_than_the_crop_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, {"a/big.png": encoded(PHOTO), "a/small.png": encoded(photo(15, 40))})
    assert said(lambda: open_images(path, "test", SHAPE, framing=Framing(None, 16))) == (
        f"{path}/a/small.png: expected at least 16x16 pixels (width x height) to cut out, got 15x40",
        "add --resize 16 or more",
    )


def test_a_photo_that_would_be_resized_beyond_bounds_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, {"a/line.png": encoded(Image.new("RGB", (1, 60_000)))})
    assert said(lambda: open_images(path, "test", ImageShape(3, 64, 64), framing=Framing(64))) == (
        f"{path}/a/line.png: expected at most 134,217,728 pixels when resized, got 64 x 3,840,000 from 1 x 60,000",
        "remove it, or cut it",
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_corrupt_photo_is_named(kind: str, tmp_path: Path) -> None:
    content = encoded(photo(200, 200), kind)
    path = folder(tmp_path, {"a/good.png": encoded(PHOTO), "a/bad.png": content[: len(content) // 2]})
    sentence, remedy = said(lambda: open_images(path, "test", SHAPE, framing=Framing(20)))
    assert sentence.startswith(
        f"{path}/a/bad.png: expected a readable image, got another or a corrupt file ("
    )
    assert remedy == "replace or remove it"


def test_photos_of_16_bits_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, {"a/deep.png": encoded(Image.new("I;16", (40, 40), 999))})
    sentence, _ = said(lambda: open_images(path, "test", SHAPE, framing=Framing(20)))
    assert sentence == f"{path}/a/deep.png: expected 8 bits per value, got mode I;16"


def test_photos_of_other_sizes_are_answered_with_the_flag(photos: str) -> None:
    sentence, remedy = said(lambda: open_images(photos, "test", SHAPE))
    assert "expected 16x16 pixels (width x height), which the network takes, got" in sentence
    assert remedy == "add --resize 16, or resize the images to 16x16"
    assert said(lambda: open_images(photos, "test", ImageShape(3)))[1].startswith("add --resize ")


def test_only_image_files_are_resized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = loaded(network())
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 16, 16), np.uint8), y=np.array([0, 1]))
    assert said(lambda: tightc.load_images(tmp_path / "x.npz", model, resize=20)) == (
        f"resize: expected image files, in a folder or a .tar, got arrays ({tmp_path}/x.npz)",
        "leave resize out, and store images of the network's size",
    )
    assert said(lambda: tightc.load_images("photos_of:mine", model, crop=16))[0] == (
        "crop: expected image files, in a folder or a .tar, got a function (photos_of:mine)"
    )
    arrays = (np.zeros((2, 3, 16, 16), np.uint8), np.array([0, 1]))
    assert (
        said(lambda: tightc.load_images(arrays, model, crop=16))[0]
        == "resize: expected image files, got arrays"
    )
    for name, kind in (("data_batch_1", "CIFAR-10 batches"), ("train-images-idx3-ubyte", "IDX files")):
        path = folder(tmp_path / name, {name: b"x"})
        read = partial(tightc.load_images, path, model, resize=20)
        assert said(read)[0].startswith(f"resize: expected image files, in a folder or a .tar, got {kind}")
    assert run(["evaluate", "no.onnx", "--data", "x", "--resize", "0"]) == 2
    assert "--resize: expected shorter side of image files" in capsys.readouterr().err
