# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Labelled images from the formats that users have; NumPy only."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError

Split = Literal["train", "val", "test"]
Shape = tuple[int, int, int]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
DIGITS_TEST = 360
VALIDATION_SHARE = {
    "digits": 0.1, "cifar10": 0.05, "cifar100": 0.05, "tinyimagenet": 0.05, "images": 0.1,
}  # fmt: skip
"""What is held out of each kind's training set for validation."""
SPLIT_SEED = 2026


@dataclass(frozen=True)
class Images:
    """A set of images.

    Attributes:
        x: uint8 [N,C,H,W], pixels 0..255.
        y: int64 [N], indices into ``classes``; None where the images have no labels.
        classes: the class names.
        name: what was loaded, as given to :func:`load`.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64] | None
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: Any) -> Images:
        """The images at ``indices`` (any NumPy index along the first axis)."""
        return replace(self, x=self.x[indices], y=None if self.y is None else self.y[indices])


def load(spec: str, split: Split = "test", shape: Shape | None = None) -> Images:
    """Loads one split of a data set.

    ``digits`` is scikit-learn's (1x8x8, 360 held out for test); ``cifar10:DIR`` and
    ``cifar100:DIR`` read the distribution's binary or python layout; ``tinyimagenet:DIR`` reads
    Tiny ImageNet's, whose validation set is the test split, for its own has no labels;
    ``images:DIR`` reads pictures from one folder a class, or unlabelled ones from a flat folder,
    out of DIR/train, DIR/val and DIR/test where they exist, and otherwise all of DIR as the test
    split.
    The validation split is held out of the training set with a fixed seed.

    Args:
        spec: the data set, as above.
        split: "train", "val" or "test".
        shape: the (C, H, W) that the images must have. ``images:DIR`` resizes and converts to it
            (its first picture's size in RGB, if None); the others must match it.

    Raises:
        InputError: the set does not exist, a file is broken, or its images have another shape.
    """
    kind, _, argument = spec.partition(":")
    if kind not in ("digits", "cifar10", "cifar100", "tinyimagenet", "images"):
        raise InputError(
            f"there is no data set '{spec}': choose digits, cifar10:DIR, cifar100:DIR, "
            "tinyimagenet:DIR or images:DIR"
        )
    if split not in ("train", "val", "test"):
        raise InputError(f"there is no split '{split}': choose train, val or test")
    if kind == "digits":
        images = _digits(split)
    elif not argument:
        raise InputError(f"'{spec}' names no folder: write {kind}:DIR")
    elif not (folder := Path(argument).expanduser()).is_dir():
        raise InputError(f"{folder} is not a folder: give {kind}: the folder of its files")
    elif kind == "images":
        images = _pictures(folder, split, shape)
    elif kind == "tinyimagenet":
        images = _tiny_imagenet(folder, split, shape)
    else:
        images = _cifar(folder, split, 10 if kind == "cifar10" else 100)
    images = replace(images, name=spec)
    if shape is not None and images.x.shape[1:] != tuple(shape):
        raise InputError(
            f"the images of '{spec}' are {_times(images.x.shape[1:])} but {_times(shape)} is needed"
        )
    return images


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _hold_out(images: Images, split: Split, share: float) -> Images:
    """The part of a training set that stays for training, or that is held out for validation."""
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    count = max(1, round(share * len(images)))
    return images.take(np.sort(order[:count] if split == "val" else order[count:]))


def _digits(split: Split) -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    images = Images(x, bunch.target.astype(np.int64), tuple("0123456789"), "digits")
    order = np.random.RandomState(SPLIT_SEED).permutation(len(x))
    if split == "test":
        return images.take(np.sort(order[:DIGITS_TEST]))
    rest = images.take(np.sort(order[DIGITS_TEST:]))
    return _hold_out(rest, split, VALIDATION_SHARE["digits"])


class _ArrayUnpickler(pickle.Unpickler):
    """Reads CIFAR's pickles of dicts, lists, bytes and arrays, and nothing that runs code.

    A pickle may name any callable and have it called, so a downloaded batch could run a program.
    The three names below rebuild a NumPy array; no file of CIFAR needs another.
    """

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})
    MODULES = frozenset({"numpy", "numpy.core.multiarray", "numpy._core.multiarray"})

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name in self.MODULES and global_name in self.ALLOWED:
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def _read_pickle(path: Path) -> dict[bytes, Any]:
    def read(file: BinaryIO) -> Any:
        return _ArrayUnpickler(file, encoding="bytes").load()

    try:
        with path.open("rb") as file:
            content = read(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # A damaged pickle can make the unpickler raise anything.
        raise InputError(f"{path} is no batch of CIFAR: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no batch of CIFAR: it holds no dict")
    return content


def _read_python_batch(path: Path, label: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = _read_pickle(path)
    x, y = batch.get(b"data"), batch.get(label)
    if not (isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.shape[1:] == (3072,)):
        raise InputError(f"{path} is no batch of CIFAR: its data is not uint8 N x 3072")
    if not (
        isinstance(y, list) and len(y) == len(x) and all(isinstance(label, int) for label in y)
    ):
        raise InputError(f"{path} is no batch of CIFAR: its labels do not fit its {len(x)} images")
    return x, np.array(y, np.int64)


def _read_binary_batch(path: Path, labels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if raw.size == 0 or raw.size % (labels + 3072):
        raise InputError(
            f"{path} is cut off or no batch of CIFAR: "
            f"its {raw.size} bytes are no multiple of {labels + 3072}"
        )
    rows = raw.reshape(-1, labels + 3072)
    # CIFAR-100 has the coarse label first; the last label byte is the one used in both sets.
    return rows[:, labels:], rows[:, labels - 1].astype(np.int64)


def _cifar(folder: Path, split: Split, classes: int) -> Images:
    python = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    binary = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
    if classes == 10:
        stems = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    else:
        stems = ["test"] if split == "test" else ["train"]
    for root in (folder / python, folder / binary, folder):
        if (root / f"{stems[0]}.bin").is_file():
            labels = 1 if classes == 10 else 2
            parts = [_read_binary_batch(root / f"{stem}.bin", labels) for stem in stems]
            break
        if (root / stems[0]).is_file():
            label = b"labels" if classes == 10 else b"fine_labels"
            parts = [_read_python_batch(root / stem, label) for stem in stems]
            break
    else:
        raise InputError(
            f"{folder} holds neither {python}/{stems[0]} nor {binary}/{stems[0]}.bin: "
            f"unpack CIFAR-{classes} there"
        )
    x = np.concatenate([part[0] for part in parts]).reshape(-1, 3, 32, 32)
    y = np.concatenate([part[1] for part in parts])
    if y.min() < 0 or y.max() >= classes:
        raise InputError(f"{root} holds labels outside 0..{classes - 1}: it is not CIFAR-{classes}")
    names = CIFAR10_CLASSES if classes == 10 else _cifar100_classes(root)
    images = Images(x, y, names, "")
    share = VALIDATION_SHARE[f"cifar{classes}"]
    return images if split == "test" else _hold_out(images, split, share)


def _cifar100_classes(root: Path) -> tuple[str, ...]:
    names: list[str] = []
    if (text := root / "fine_label_names.txt").is_file():
        names = text.read_text(encoding="utf-8").split()
    elif (meta := root / "meta").is_file():
        found = _read_pickle(meta).get(b"fine_label_names")
        if isinstance(found, list):
            names = [n.decode() if isinstance(n, bytes) else str(n) for n in found]
    return tuple(names) if len(names) == 100 else tuple(map(str, range(100)))


def _tiny_imagenet(folder: Path, split: Split, shape: Shape | None) -> Images:
    if (folder / "tiny-imagenet-200").is_dir():
        folder = folder / "tiny-imagenet-200"
    try:
        names = (folder / "wnids.txt").read_text(encoding="utf-8").split()
        notes = (folder / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder} does not hold Tiny ImageNet: {error}") from error
    label = {name: index for index, name in enumerate(names)}
    if split == "test":
        fields = [line.split("\t") for line in notes if line]
        if not all(len(entry) > 1 and entry[1] in label for entry in fields):
            raise InputError(f"{folder / 'val' / 'val_annotations.txt'} names unknown classes")
        paths = [(folder / "val" / "images" / file, label[name]) for file, name, *_ in fields]
    else:
        folders = [(folder / "train" / name / "images", label[name]) for name in names]
        paths = [(p, index) for part, index in folders if part.is_dir() for p in _files(part)]
    if not paths:
        raise InputError(f"{folder} holds no pictures of Tiny ImageNet to {split} on")
    size = shape or (3, 64, 64)
    x = np.empty((len(paths), *size), np.uint8)
    for i, (path, _) in enumerate(paths):
        x[i] = _read_picture(path, size)
    images = Images(x, np.array([index for _, index in paths], np.int64), tuple(names), "")
    share = VALIDATION_SHARE["tinyimagenet"]
    return images if split == "test" else _hold_out(images, split, share)


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES)


def _pictures(folder: Path, split: Split, shape: Shape | None) -> Images:
    held_out = split == "val" and not (folder / "val").is_dir()
    part = folder / ("train" if held_out else split)
    if part.is_dir():
        folder = part
    elif split != "test":
        raise InputError(f"{folder} holds no folder {part.name}/ with pictures to {split} on")
    classes = [p for p in sorted(folder.iterdir()) if p.is_dir() and any(_files(p))]
    if classes:
        paths = [(path, label) for label, c in enumerate(classes) for path in _files(c)]
    else:
        paths = [(path, -1) for path in _files(folder)]
    if not paths:
        raise InputError(
            f"{folder} holds no pictures ({', '.join(sorted(s[1:] for s in IMAGE_SUFFIXES))})"
        )
    first = _read_picture(paths[0][0], shape)
    x = np.empty((len(paths), *first.shape), np.uint8)
    x[0] = first
    for i, (path, _) in enumerate(paths[1:], 1):
        x[i] = _read_picture(path, first.shape)
    y = np.array([label for _, label in paths], np.int64) if classes else None
    images = Images(x, y, tuple(c.name for c in classes), "")
    if held_out or (split == "train" and not (folder.parent / "val").is_dir()):
        images = _hold_out(images, split, VALIDATION_SHARE["images"])
    return images


def _read_picture(path: Path, shape: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """One picture as uint8 [C,H,W], resized and converted to ``shape``."""
    from PIL import Image

    if shape is not None and shape[0] not in (1, 3):
        raise InputError(f"pictures have 1 or 3 channels, but {shape[0]} are needed")
    try:
        with Image.open(path) as file:
            image: Image.Image = file
            if file.mode.startswith("I;16"):
                # Pillow clips 16-bit grey to 255 instead of scaling it.
                image = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
            image = image.convert("L" if shape is not None and shape[0] == 1 else "RGB")
            if shape is not None and image.size != (shape[2], shape[1]):
                image = image.resize((shape[2], shape[1]), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
    # Pillow's decoders raise many kinds of error on damaged files.
    except Exception as error:
        raise InputError(f"{path} is no readable picture: {error}") from error
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))
