"""Archives, images and folders made to take memory or time, or to lead elsewhere: each ends in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tightc import input_file, memory
from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import InputSpec
from tightc.data import function_origin
from tightc.data.source import open_data, open_images
from tightc.errors import DataError, MemoryLimitError

GREY = ImageShape(1, 4, 6)
OPEN = ImageShape(3)
MIB = 2**20


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """An RGB image whose header claims those sizes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def grey(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (6, 4), value).save(stream, "PNG")
    return stream.getvalue()


def refused(
    source: Path | str, said: str, shape: ImageShape = GREY, kind: type[Exception] = DataError
) -> None:
    with pytest.raises(kind, match=said):
        open_images(str(source), "test", shape)


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **values: Any) -> bytes:
    """A member of a tar with the size that it has, or another that its header claims."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in values.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


END = bytes(1024)
TWO = entry("a/0.png", grey(1)) + entry("b/1.png", grey(2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (entry("a/0.png", size=2**40) + TWO, r"expected content of at most 200 times its compressed size"),
        (TWO + entry("c/readme", size=2**40), r"expected content of at most 200 times its compressed size"),
        (
            TWO + entry("x", kind=tarfile.XHDTYPE, size=2**33),
            r"corrupt file \(a header of more than 1.0 MiB\)",
        ),
        (TWO + entry("x", kind=tarfile.GNUTYPE_LONGNAME, size=2**33), r"a header of more than 1.0 MiB"),
        (TWO + entry("x", kind=tarfile.GNUTYPE_LONGNAME, size=-512), r"corrupt file"),
        (TWO + entry("c/2.png", size=-1024) + END, r"corrupt file \(a member of negative size\)"),
        (entry("x", b"a" * 8, tarfile.XHDTYPE) * 600 + TWO + END, r"corrupt file"),
        (TWO + entry("c/2.png", size=600), r"corrupt file \(unexpected end of data\)"),
        (TWO + entry("c/2.png", grey(1)).replace(b"c/2", b"c/3") + END, r"corrupt file \(a corrupt header\)"),
        (TWO + b"\1" * 300, r"corrupt file \(a corrupt header\)"),
        (b"", "corrupt file"),
        (b"text", "corrupt file"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_tar_headers_that_claim_too_much(
    content: bytes, said: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "set.tar"
    path.write_bytes(pack(content))
    refused(path, rf"set\.tar: .*{said}")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_all_compressions_of_a_tar_are_read(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    path.write_bytes(pack(entry("a", kind=tarfile.DIRTYPE) + TWO + entry("b/note", b"text" * 2000) + END))
    assert open_images(str(path), "test", GREY).pixels[:, 0, 0, 0].tolist() == [1, 2]


def test_a_compressed_tar_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "set.tgz"
    path.write_bytes(gzip.compress(TWO)[:-30])
    refused(path, r"set\.tgz: expected a tar archive, got another or a corrupt file \(Compressed file ended")


def test_paths_in_a_tar_are_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "secret.png").write_bytes(grey(9))
    links = [
        entry("../secret.png", grey(3)),
        entry("a/link.png", kind=tarfile.SYMTYPE, linkname=str(tmp_path / "secret.png")),
        entry("a/hard.png", kind=tarfile.LNKTYPE, linkname="../secret.png"),
        entry("a/device.png", kind=tarfile.CHRTYPE),
    ]
    Path("set.tar").write_bytes(b"".join(links) + TWO + entry("/b/2.png", grey(7)) + END)
    assert open_images("set.tar", "test", GREY).pixels[:, 0, 0, 0].tolist() == [1, 2, 7]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "secret.png", "set.tar"]
    Path("set.tar").write_bytes(entry("/tmp/escaped/1.png", b"text") + END)
    refused(
        "set.tar", r"set\.tar: tmp/escaped/1\.png: expected a readable image, got another or a corrupt file; "
    )


def test_a_sparse_member_counts_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    info = tarfile.TarInfo("a/0.png")
    info.size = 512
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a/0.png",
        "GNU.sparse.realsize": str(2**45),
    }  # fmt: skip
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + b"0\n" + bytes(510) + END)
    refused(
        path, r"set\.tar: a/0\.png: expected at most 512\.0 MiB, got 32\.0 TiB; remove it from the archive"
    )


def small_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: limit)


def test_what_a_tar_holds_has_to_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set.tar").write_bytes(TWO + END)
    small_memory(monkeypatch, 100)
    refused(
        tmp_path / "set.tar",
        r"set\.tar: expected to need at most 100 B .*, got 1\d\d B",
        kind=MemoryLimitError,
    )


def folder_of(root: Path, *images: bytes) -> Path:
    for number, content in enumerate(images):
        (root / f"c{number % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"c{number % 2}" / f"{number}.png").write_bytes(content)
    return root


def test_images_that_expand_too_far(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", *[png(12_000, 12_000)] * 4)
    refused(
        folder, r"set: images of 12000x12000: expected content of at most 200 times its .* got 1\.6 GiB", OPEN
    )


def test_images_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "set", *[png(600, 600)] * 4)
    small_memory(monkeypatch, 4 * MIB)
    said = r"set: images of 600x600: expected to need at most 4\.0 MiB of memory.*, got 4\.1 MiB; raise the limit"
    refused(folder, said, OPEN, MemoryLimitError)


def test_images_of_another_size_are_not_decoded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", png(13_000, 13_000), png(13_000, 13_000))
    refused(folder, r"0\.png: expected 6x4 pixels .*, got 13000x13000", ImageShape(3, 4, 6))


def test_an_image_of_too_many_pixels_and_an_image_file_of_too_many_bytes(tmp_path: Path) -> None:
    refused(
        folder_of(tmp_path / "a", png(60_000, 60_000)), r"expected at most 178,956,970 pixels, got more", OPEN
    )
    folder = folder_of(tmp_path / "b", grey(1), grey(1))
    with (folder / "c1" / "1.png").open("ab") as stream:
        stream.truncate(2**40)
    refused(folder, r"1\.png: expected at most 512\.0 MiB, got 1\.0 TiB; resize it to the network's input")


@pytest.mark.parametrize("name", ["set.npz", "set.tar", "set.tgz", "train-images-idx3-ubyte", "set/a/0.png"])
@pytest.mark.parametrize(("kind", "got"), [("pipe", "a pipe"), ("/dev/zero", "a device")])
def test_pipes_and_devices_are_no_data(name: str, kind: str, got: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(kind)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0\0\0\0")
    source = tmp_path / "set" if "/" in name else path
    refused(source, rf"{path.name}: expected a regular file, got {got}; give the path of a file")


def test_folders_that_link_to_each_other(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", grey(1), grey(2))
    for name in ("x", "y", "z"):  # without a bound, 3**40 paths
        (folder / "c0" / name).symlink_to("..")
    images = open_images(str(folder), "test", GREY)
    assert images.pixels[:, 0, 0, 0].tolist() == [1, 2] and images.classes == ("c0", "c1")


def test_links_that_multiply(tmp_path: Path) -> None:
    for level in range(12):
        (tmp_path / f"{level}").mkdir()
        for name in ("x", "y"):
            (tmp_path / f"{level}" / name).symlink_to(f"../{level + 1}")
    (tmp_path / "12").mkdir()
    refused(tmp_path / "0", r"expected at most 100 links to a folder, got more; remove some links")


def test_a_folder_that_is_linked_twice_is_read_twice(tmp_path: Path) -> None:
    folder_of(tmp_path / "images", grey(1), grey(2))
    for split in ("train", "test"):
        (tmp_path / "set" / split).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / split).symlink_to("../images")
    assert len(open_images(str(tmp_path / "set"), "test", GREY)) == 2


def npy(shape: tuple[int, ...], content: bytes = b"", descr: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (npy((2**40, 1, 4, 6)), rf"x has 0 bytes for {2**40} x 1 x 4 x 6 uint8"),
        (npy((2, 1, 4, 6), bytes(49)), r"x has 49 bytes for 2 x 1 x 4 x 6 uint8"),
        (npy((2**64, 2**64)), r"x has 0 bytes"),
        (npy((-1, -48), bytes(48)), r"an array of -1 x -48"),
        (npy((2,), bytes(16), "|O"), r"an array of Python objects"),
        (npy((1,), b"", f"|V{2**31 - 1}"), r"x has 0 bytes"),
        (b"\x93NUMPY\x03\0" + npy((1,), b"1")[8:], r"arrays in version 3\.0 of the format"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff" + bytes(2**17), r"expected 4294967295 bytes got 65524"),
        (b"\x93NUMPY\x01\0\xf0\xff" + b"(" * 65535, r"Header info length"),
        (b"text", r"expected 8 bytes got 4"),
        (b"", r"expected 8 bytes got 0"),
    ],
)
def test_npz_headers_that_claim_too_much(x: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", npy((2,), bytes(2)))
    refused(
        path, rf"set\.npz: expected a \.npz file of plain arrays, got another or a corrupt file \(.*{said}"
    )


def test_a_npz_that_expands_too_far_or_is_larger_than_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x=np.zeros((10_000, 1, 4, 6), np.uint8), y=np.zeros(10_000, np.uint8))
    monkeypatch.setattr(input_file, "_SMALL", 100_000)
    refused(
        path, r"set\.npz: x: expected content of at most 200 times its compressed size, .* got 234\.4 KiB"
    )
    monkeypatch.undo()
    small_memory(monkeypatch, 200_000)
    refused(path, r"set\.npz: x: expected to need at most 195\.3 KiB", kind=MemoryLimitError)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_other_compressions_of_a_npz(method: int, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if method == 99 else method) as archive:
        archive.writestr("x.npy", npy((1, 4, 6), bytes(24)))
        archive.writestr("y.npy", npy((1,), bytes(1)))
    if method != 99:
        assert len(open_images(str(path), "test", GREY)) == 1
        return
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = content[8] = 99
    path.write_bytes(content)
    refused(path, r"corrupt file \(That compression method is not supported\)")


def test_samples_without_values(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x=np.empty((2**40, 0), np.float32))
    spec = InputSpec("x", "float32", (None, None))
    with pytest.raises(DataError, match=r"set\.npz: expected samples, got none"):
        open_data(str(path), "test", (spec,), labeled=False)
    np.savez(path, x=np.empty((2**40, 1, 0, 6), np.uint8), y=np.empty(0, int))
    refused(path, r"expected one label per image", ImageShape(1))


def idx(*sizes: int) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(2**31, 2**31, 4), r"expected 2147483648 x 2147483648 x 4 values, got 0"),
        (
            gzip.compress(mtime=0, data=idx(2**31, 2**31, 4)),
            r"at most 200 times its compressed size, \d+ B, got 16,384\.0 PiB",
        ),
        (
            gzip.compress(mtime=0, data=idx(2**20, 2**9, 2)),
            r"at most 200 times its compressed size, \d+ B, got 1\.0 GiB",
        ),
        (
            gzip.compress(mtime=0, data=idx(1, 4, 6) + bytes(2**20)),
            r"expected 1 x 4 x 6 values, got 25 or more",
        ),
        (gzip.compress(mtime=0, data=idx(1, 4, 6) + bytes(20)), r"expected 1 x 4 x 6 values, got 20"),
        (gzip.compress(mtime=0, data=bytes(2**24)), r"expected an IDX file of unsigned bytes"),
    ],
    ids=["petabytes", "petabytes, gzip", "a gibibyte, gzip", "longer", "shorter", "zeros"],
)
def test_idx_sizes_that_claim_too_much(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if content[:2] == b'%c%c' % (31, 139) else ''}"
    path.write_bytes(content)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(1) + b"\0")
    refused(path, said)


def test_an_idx_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(1, 4, 6) + bytes(24))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(1) + b"\0")
    small_memory(monkeypatch, 23)
    refused(path, r"ubyte: expected to need at most 23 B .* got 24 B", kind=MemoryLimitError)


def test_memory_that_ends_while_data_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    folder = folder_of(tmp_path / "set", grey(1))
    monkeypatch.setattr(np, "empty", fail)
    refused(
        folder, r"set: expected to fit into memory, got more than the .* that are left", kind=MemoryLimitError
    )


@pytest.mark.parametrize(
    "name", ["shutil:rmtree", "os:rmdir", "posix:rmdir", "time:time", "own:rmtree", "own:partly"]
)
def test_functions_of_the_standard_library_are_not_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"own_{tmp_path.name[-6:-1]}"
    own = "import functools\nfrom shutil import rmtree\npartly = functools.partial(rmtree, ignore_errors=True)\n"
    Path(f"{module}.py").write_text(own)
    Path("test").mkdir()
    Path("test", "precious").write_text("x")
    said = f"{name.replace('own', module)}: expected a function that returns data, got one of Python's standard library"
    refused(name.replace("own", module), re.escape(said))
    assert Path("test", "precious").exists()


def test_functions_of_installed_packages_need_a_parameter_named_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    code = "made = []\ndef remove(path): made.append(path)\n"
    code += "def images(split): return [([[1, 2, 3, 4, 5, 6]] * 4, 0)]\ndef all_images(): return images('')\n"
    (folder / "installed_here.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    refused(
        "installed_here:remove",
        r"remove: expected a function with a parameter named split, got one of an inst",
    )
    import installed_here  # type: ignore[import-not-found]

    assert installed_here.made == []
    assert len(open_images("installed_here:images", "test", GREY)) == 1
    assert len(open_images("installed_here:all_images", "test", GREY)) == 1


def test_a_module_of_the_users_may_have_a_standard_name(tmp_path: Path) -> None:
    assert not function_origin._is_standard("calendar", tmp_path / "calendar.py")
    assert function_origin._is_standard("calendar", None)
