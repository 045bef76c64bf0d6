"""Folders and tar archives of class folders of images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tightc.config.image_shape import ImageShape
from tightc.data.images import Images
from tightc.data.source import open_images
from tightc.errors import DataError

GREY = ImageShape(1, 4, 6)
CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.gz"


def png(value: int, width: int = 6, height: int = 4, mode: str = "L") -> bytes:
    """A PNG file of one value."""
    stream = io.BytesIO()
    Image.new(mode, (width, height), value if mode in ("L", "I;16") else (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_folder(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(root)


def write_tar(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return str(path)


def write(form: str, tmp_path: Path, files: dict[str, bytes]) -> str:
    return write_folder(tmp_path / "set", files) if form == "folder" else write_tar(tmp_path / form, files)


def pairs(images: Images) -> list[tuple[int, str]]:
    """(value of the first pixel, class name) of each image, in order."""
    return [
        (int(p[0, 0, 0]), images.classes[label])
        for p, label in zip(images.pixels, images.labels, strict=True)
    ]


FORMS = ["folder", "set.tar", "set.tar.gz", "set.tgz"]
SPLITS = {
    "train/dog/b.png": png(2),
    "train/dog/a.png": png(1),
    "train/cat/a.png": png(3),
    "train/ant/a.png": png(4),
    "test/dog/a.png": png(5),
    "test/cat/a.png": png(6),
    "readme.txt": b"",
    "test/cat/._a.png": b"resource fork",
}
PLAIN = {"dog/a.png": png(1), "cat/2.png": png(2), "cat/10.png": png(3)}


@pytest.mark.parametrize("form", FORMS)
def test_each_split_has_its_own_images_in_sorted_order(form: str, tmp_path: Path) -> None:
    source = write(form, tmp_path, SPLITS)
    assert pairs(open_images(source, "train", GREY)) == [(4, "ant"), (3, "cat"), (1, "dog"), (2, "dog")]
    test = open_images(source, "test", GREY)
    assert pairs(test) == [(6, "cat"), (5, "dog")]
    assert test.labels.tolist() == [1, 2]  # ant has no test images and keeps its number
    assert test.pixels.dtype == np.uint8 and test.pixels.shape == (2, 1, 4, 6)


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("prefix", ["", "pets/", "./"])
def test_a_source_without_splits_serves_both(form: str, prefix: str, tmp_path: Path) -> None:
    source = write(form, tmp_path, {prefix + name: content for name, content in PLAIN.items()})
    for split in ("train", "test"):
        assert pairs(open_images(source, split, GREY)) == [(3, "cat"), (2, "cat"), (1, "dog")]


@pytest.mark.parametrize(
    ("train", "test"), [("train", "val"), ("training", "testing"), ("Train", "validation")]
)
def test_split_folders_by_other_names(train: str, test: str, tmp_path: Path) -> None:
    files = {f"set/{train}/cat/a.png": png(1), f"set/{test}/cat/a.png": png(2)}
    source = write_tar(tmp_path / "set.tar", files)
    assert [pairs(open_images(source, split, GREY))[0][0] for split in ("train", "test")] == [1, 2]


def test_test_is_preferred_to_val(tmp_path: Path) -> None:
    source = write_folder(
        tmp_path, {"val/cat/a.png": png(1), "test/cat/a.png": png(2), "train/cat/a.png": png(3)}
    )
    assert pairs(open_images(source, "test", GREY)) == [(2, "cat")]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    source = write_folder(tmp_path, {"train/a.png": png(1), "car/a.png": png(2)})
    assert pairs(open_images(source, "test", GREY)) == [(2, "car"), (1, "train")]


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 3), ("RGB", 1), ("L", 1)])
def test_colors_follow_the_network(mode: str, channels: int, tmp_path: Path) -> None:
    source = write_folder(tmp_path, {"cat/a.png": png(200, mode=mode)})
    pixels = open_images(source, "test", ImageShape(channels)).pixels
    assert pixels.shape == (1, channels, 4, 6)
    expected = {("RGB", 3): [200, 0, 0], ("L", 3): [200] * 3, ("RGB", 1): [60], ("L", 1): [200]}[
        mode, channels
    ]
    assert pixels[0, :, 0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("files", "shape", "said"),
    [
        ({}, GREY, "expected image files, got none"),
        ({"cat/readme.txt": b""}, GREY, "expected image files, got none"),
        ({"a.png": png(1)}, GREY, "expected images in class folders, got none"),
        (
            {"cat/a.png": png(1), "cat/b.png": png(1, 6, 5)},
            GREY,
            "cat/b.png: expected 6x4 .* the network takes, got 6x5",
        ),
        (
            {"cat/a.png": png(1), "cat/b.png": png(1, 7, 4)},
            ImageShape(1),
            "b.png: expected 6x4 .*a.png, the first, has, got 7x4",
        ),
        ({"cat/a.png": b"not a picture"}, GREY, "cat/a.png: expected a readable image"),
        ({"cat/a.png": png(1)[:50]}, GREY, "cat/a.png: expected a readable image"),
        ({"cat/a.png": png(1, mode="I;16")}, GREY, "cat/a.png: expected 8 bits per value, got mode I;16"),
        (
            {"cat/a.png": png(1)},
            ImageShape(2, 4, 6),
            "expected a network with 1 or 3 input channels for image files, got 2",
        ),
        ({"train/cat/a.png": png(1)}, GREY, "expected test images, got only the split folders train"),
    ],
)
@pytest.mark.parametrize("form", FORMS[:2])
def test_errors(form: str, files: dict[str, bytes], shape: ImageShape, said: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=said):
        open_images(write(form, tmp_path, files), "test", shape)


def test_an_empty_class_folder_would_shift_the_labels(tmp_path: Path) -> None:
    source = write_folder(tmp_path, PLAIN)
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError, match="bird: expected images in the class folder, got none"):
        open_images(source, "test", GREY)


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
@pytest.mark.parametrize("damage", ["truncated", "other", "empty"])
def test_a_corrupt_archive(name: str, damage: str, tmp_path: Path) -> None:
    path = Path(
        write_tar(tmp_path / name, {f"cat/{i}.png": np.random.default_rng(i).bytes(999) for i in range(9)})
    )
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2 + 100], "other": b"text " * 400, "empty": b""}[damage]
    )
    with pytest.raises(DataError, match=f"{name}: expected a tar archive, got another or a corrupt file"):
        open_images(str(path), "test", GREY)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("removed", "expected a file or folder, got none"),
        ("a.csv", "expected a known data format.* a folder or .tar of class folders"),
    ],
)
def test_unknown_sources(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=f"{name}: {said}"):
        open_images(str(tmp_path / name), "test", GREY)


@pytest.mark.skipif(not CIFAR10.exists(), reason="the shared CIFAR-10 archive is not here")
def test_the_shared_archive() -> None:
    images = open_images(str(CIFAR10), "test", ImageShape(3, 32, 32))
    assert images.pixels.shape == (10_000, 3, 32, 32)
    assert np.bincount(images.labels).tolist() == [1000] * 10
    assert images.classes[0] == "airplane" and images.classes[9] == "truck"


def test_a_picture_starts_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives PostScript to Ghostscript, whatever the file's suffix."""
    from PIL import EpsImagePlugin

    started: list[object] = []
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(1) or Image.new("L", (6, 4))
    )
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n"
    source = write_folder(tmp_path / "set", {"cat/a.png": eps})
    with pytest.raises(DataError, match=r"cat/a.png: expected a readable image"):
        open_images(source, "test", GREY)
    assert not started


@pytest.mark.parametrize("form", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_every_image_format_is_read(form: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (6, 4), 7).save(stream, form)
    images = open_images(write_folder(tmp_path / "set", {"cat/a.png": stream.getvalue()}), "test", GREY)
    assert images.pixels.shape == (1, 1, 4, 6)
