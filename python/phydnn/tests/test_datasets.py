# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Every format that the loaders read, written small, and what is wrong with bad ones."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phydnn import datasets
from phydnn.errors import InputError

RANDOM = np.random.RandomState(5)


def pixels(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return RANDOM.randint(0, 256, (count, 3072)).astype(np.uint8)


def write_cifar(folder: Path, classes: int, layout: str, count: int = 20) -> dict[str, Any]:
    """A set of ``count`` images a file; returns the test split's pixels and labels."""
    stems = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    name = {"py": "cifar-10-batches-py", "bin": "cifar-10-batches-bin"}[layout]
    if classes == 100:
        stems = ["train", "test"]
        name = {"py": "cifar-100-python", "bin": "cifar-100-binary"}[layout]
    root = folder / name
    root.mkdir(parents=True)
    for stem in stems:
        x, y = pixels(count), RANDOM.randint(0, classes, count)
        if layout == "bin":
            columns = [y[:, None] // 5, y[:, None]] if classes == 100 else [y[:, None]]
            rows = np.concatenate([*columns, x], axis=1).astype(np.uint8)
            (root / f"{stem}.bin").write_bytes(rows.tobytes())
        else:
            label = b"fine_labels" if classes == 100 else b"labels"
            content = {b"data": x, label: y.tolist(), b"batch_label": b"a batch"}
            (root / stem).write_bytes(pickle.dumps(content, protocol=4))
    return {"x": x.reshape(-1, 3, 32, 32), "y": y, "root": root}


@pytest.mark.parametrize("layout", ["bin", "py"])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_layouts(tmp_path: Path, classes: int, layout: str) -> None:
    written = write_cifar(tmp_path, classes, layout)
    spec = f"cifar{classes}:{tmp_path}"
    test = datasets.load(spec, "test", (3, 32, 32))
    np.testing.assert_array_equal(test.x, written["x"])
    assert test.x.dtype == np.uint8 and test.y is not None and test.y.dtype == np.int64
    np.testing.assert_array_equal(test.y, written["y"])
    assert len(test.classes) == classes
    train, val = datasets.load(spec, "train"), datasets.load(spec, "val")
    total = 100 if classes == 10 else 20
    assert len(train) + len(val) == total and len(val) == round(0.05 * total)
    assert not {x.tobytes() for x in train.x} & {x.tobytes() for x in val.x}
    # The folder of the batches itself does as well.
    np.testing.assert_array_equal(datasets.load(f"cifar{classes}:{written['root']}").x, test.x)


def test_cifar100_names(tmp_path: Path) -> None:
    root = write_cifar(tmp_path, 100, "py")["root"]
    names = [f"class{i}".encode() for i in range(100)]
    (root / "meta").write_bytes(pickle.dumps({b"fine_label_names": names}, protocol=4))
    assert datasets.load(f"cifar100:{tmp_path}").classes[42] == "class42"


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch malicious",)


def test_cifar_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_cifar(tmp_path, 10, "py")["root"]
    (root / "test_batch").write_bytes(pickle.dumps({b"data": Malicious()}))
    with pytest.raises(InputError, match=r"test_batch is no batch of CIFAR: it asks for .*system"):
        datasets.load(f"cifar10:{tmp_path}")
    assert not (tmp_path / "malicious").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04 no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": 1}),
        pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.float32), b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": ["a", "b"]}),
    ],
)
def test_bad_python_batch(tmp_path: Path, content: bytes) -> None:
    root = write_cifar(tmp_path, 10, "py")["root"]
    (root / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match="test_batch is no batch of CIFAR"):
        datasets.load(f"cifar10:{tmp_path}")


def test_bad_binary_batch(tmp_path: Path) -> None:
    path = write_cifar(tmp_path, 10, "bin")["root"] / "test_batch.bin"
    whole = path.read_bytes()
    for content in (whole[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"test_batch\.bin is cut off"):
            datasets.load(f"cifar10:{tmp_path}")
    path.write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(InputError, match=r"labels outside 0\.\.9"):
        datasets.load(f"cifar10:{tmp_path}")


def test_digits() -> None:
    test, train, val = (datasets.load("digits", s) for s in ("test", "train", "val"))
    assert test.x.shape == (360, 1, 8, 8) and len(test) + len(train) + len(val) == 1797
    assert test.x.max() == 255 and test.x.min() == 0
    assert test.y is not None and set(test.y.tolist()) == set(range(10))
    np.testing.assert_array_equal(test.x, datasets.load("digits", "test", (1, 8, 8)).x)


def save_picture(path: Path, mode: str, size: tuple[int, int], value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "I;16") else (value,) * len(mode)).save(path)


def test_pictures_in_class_folders(tmp_path: Path) -> None:
    save_picture(tmp_path / "cat" / "a.png", "RGB", (40, 30))
    save_picture(tmp_path / "cat" / "grey.jpg", "L", (32, 32))
    save_picture(tmp_path / "dog" / "alpha.png", "RGBA", (5, 64))
    save_picture(tmp_path / "dog" / "deep.png", "I;16", (32, 32), 90 << 8)
    (tmp_path / "notes.txt").write_text("not a picture")
    images = datasets.load(f"images:{tmp_path}", "test", (3, 32, 32))
    assert images.x.shape == (4, 3, 32, 32) and images.classes == ("cat", "dog")
    assert images.y is not None and images.y.tolist() == [0, 0, 1, 1]
    assert np.abs(images.x.astype(int) - 90).max() <= 2
    assert datasets.load(f"images:{tmp_path}", "test", (1, 8, 8)).x.shape == (4, 1, 8, 8)
    assert datasets.load(f"images:{tmp_path}").x.shape == (4, 3, 30, 40)
    with pytest.raises(InputError, match="2 are needed"):
        datasets.load(f"images:{tmp_path}", "test", (2, 8, 8))


def test_tiny_imagenet(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    names = ["n02", "n01"]
    (root / "val" / "images").mkdir(parents=True)
    for label, name in enumerate(names):
        part = root / "train" / name / "images"
        part.mkdir(parents=True)
        for i in range(10):
            save_picture(part / f"{name}_{i}.JPEG", "L" if i == 3 else "RGB", (64, 64), 50 * label)
    (root / "wnids.txt").write_text("\n".join(names), encoding="utf-8")
    save_picture(root / "val" / "images" / "val_0.JPEG", "RGB", (64, 64), 50)
    notes = root / "val" / "val_annotations.txt"
    notes.write_text("val_0.JPEG\tn01\t0\t0\t9\t9\n", encoding="utf-8")
    spec = f"tinyimagenet:{tmp_path}"
    train, val, test = (datasets.load(spec, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (19, 1, 1)
    assert train.x.shape[1:] == (3, 64, 64) and train.classes == tuple(names)
    assert train.y is not None and test.y is not None and test.y.tolist() == [1]
    assert (abs(train.x.mean((1, 2, 3)) - 50 * train.y) < 3).all()
    notes.write_text("val_0.JPEG\tn09\n", encoding="utf-8")
    with pytest.raises(InputError, match="names unknown classes"):
        datasets.load(spec, "test")
    (root / "wnids.txt").unlink()
    with pytest.raises(InputError, match="does not hold Tiny ImageNet"):
        datasets.load(spec, "train")


def test_flat_pictures_have_no_labels(tmp_path: Path) -> None:
    save_picture(tmp_path / "b.png", "RGB", (8, 8), 2)
    save_picture(tmp_path / "a.png", "RGB", (8, 8), 1)
    images = datasets.load(f"images:{tmp_path}")
    assert images.y is None and images.x[:, 0, 0, 0].tolist() == [1, 2]


def test_picture_splits(tmp_path: Path) -> None:
    for i in range(20):
        save_picture(tmp_path / "train" / "a" / f"{i:02}.png", "L", (8, 8), i)
    save_picture(tmp_path / "test" / "a" / "0.png", "L", (8, 8), 100)
    spec = f"images:{tmp_path}"
    train, val, test = (datasets.load(spec, s, (1, 8, 8)) for s in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (18, 2, 1)
    seen = [*train.x[:, 0, 0, 0], *val.x[:, 0, 0, 0]]
    assert sorted(seen) == list(range(20)) and test.x.max() == 100
    save_picture(tmp_path / "val" / "a" / "0.png", "L", (8, 8), 50)
    assert len(datasets.load(spec, "train")) == 20 and len(datasets.load(spec, "val")) == 1


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_broken_picture_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "broken.png"
    Image.fromarray(RANDOM.randint(0, 256, (32, 32, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"broken\.png is no readable picture"):
        datasets.load(f"images:{tmp_path}")


def test_bad_specs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for spec, split, message in (
        ("mnist", "test", "there is no data set 'mnist'"),
        ("digits", "all", "there is no split 'all'"),
        ("cifar10", "test", "names no folder"),
        ("cifar10:/nowhere", "test", "is not a folder"),
        (f"images:{tmp_path / 'file'}", "test", "is not a folder"),
        (f"cifar10:{tmp_path}", "test", "unpack CIFAR-10 there"),
        (f"cifar100:{tmp_path}", "train", "unpack CIFAR-100 there"),
        (f"images:{tmp_path}", "test", "holds no pictures"),
        (f"images:{tmp_path}", "val", "no folder train/"),
    ):
        with pytest.raises(InputError, match=message):
            datasets.load(spec, split)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="are 1x8x8 but 3x32x32 is needed"):
        datasets.load("digits", "test", (3, 32, 32))


def test_the_library_imports_no_torch() -> None:
    """The edge of a link has no torch: what it needs must not ask for it."""
    modules = "phydnn, phydnn.datasets, phydnn.bundle, phydnn.constellation, phydnn.results"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
