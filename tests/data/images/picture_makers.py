"""Pictures for tests: scikit-learn's digits as files, and files that are damaged or hostile."""

import struct
import zlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def digits(count, classes=3):
    """The first digits of some classes, uint8 [count, 8, 8], and their classes."""
    x, y = load_digits(n_class=classes, return_X_y=True)
    return (x[:count].reshape(-1, 8, 8) * 15.9).astype(np.uint8), y[:count]


def write_digits(folder, count=90, classes=3, suffix=".png"):
    """Writes digits as `folder/CLASS/NUMBER.png`; returns their paths in order."""
    pictures, labels = digits(count, classes)
    paths = []
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        path = folder / f"digit_{label}" / f"{number:04d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        paths.append(path)
    return paths


def huge_png(path, side=100_000):
    """A PNG file of a few bytes whose header claims side x side pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def hostile_files(folder):
    """Files that are no usable picture, by a word of the reason that is given for them."""
    folder.mkdir(parents=True, exist_ok=True)
    good = Image.fromarray(digits(1)[0][0]).resize((64, 64))
    huge_png(folder / "huge.png")
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.png").write_bytes(b"")
    good.save(folder / "whole.png")
    (folder / "truncated.png").write_bytes((folder / "whole.png").read_bytes()[:200])
    (folder / "whole.png").unlink()
    good.save(folder / "animated.gif", save_all=True, append_images=[good.rotate(90)])
    outside = folder.parents[1] / "outside.png"
    good.save(outside)
    (folder / "link.png").symlink_to(outside)
    return {
        "huge.png": "claims to have",
        "text.png": "no picture",
        "empty.png": "no picture",
        "truncated.png": "cannot be decoded",
        "animated.gif": "animated",
        "link.png": "link out of",
    }
