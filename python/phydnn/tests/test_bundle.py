# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Bundles that ship load; whatever is missing, damaged or wrong is named before anything runs."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

import phydnn
from phydnn import constellation
from phydnn.bundle import (
    SYSTEMS,
    BaseBundle,
    Bundle,
    BundleError,
    find,
    load,
    read_opset,
    sha256,
)

SHIPPED = sorted(path.parent for path in find("phydnn-resnet20-digits").parent.glob("*/*.json"))
PHYDNN = [
    path for path in SHIPPED if json.loads((path / "bundle.json").read_text())["system"] == "phydnn"
]


def edit_meta(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "bundle.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def rehash(folder: Path) -> None:
    """Makes the hashes fit again, so that a check behind them is reached."""
    edit_meta(folder, lambda m: m["files"].update({n: sha256(folder / n) for n in m["files"]}))


def edit_arrays(folder: Path, **arrays: Any) -> None:
    path = folder / "arrays.safetensors"
    kept = {k: v for k, v in {**load_file(path), **arrays}.items() if v is not None}
    save_file(kept, path)
    rehash(folder)


def edit_golden(folder: Path, **arrays: Any) -> None:
    path = folder / "golden.npz"
    with np.load(path) as golden:
        kept = {k: v for k, v in {**golden, **arrays}.items() if v is not None}
    np.savez_compressed(path, **kept)
    rehash(folder)


def edit_graph(folder: Path, name: str, change: Callable[[onnx.ModelProto], Any]) -> None:
    model = onnx.load(folder / name)
    change(model)
    (folder / name).write_bytes(model.SerializeToString())
    rehash(folder)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_bundles(path: Path) -> None:
    bundle = load(path.name)
    assert bundle.name == path.name and 0 <= bundle.id < 2**32
    for name in bundle.meta["files"]:
        if name.endswith(".onnx"):
            assert read_opset(path / name) == bundle.meta["opset"]
    assert (path / "README.md").is_file()


def test_every_system_has_a_loader_and_a_schema() -> None:
    schema = json.loads((Path(phydnn.__file__).parent / "bundle_schema.json").read_text())
    assert set(SYSTEMS) == set(schema["properties"]["system"]["enum"])
    assert set(SYSTEMS) == set(schema["$defs"]) - {"sha256"} and len(schema["allOf"]) == len(
        SYSTEMS
    )
    for system, place in SYSTEMS.items():
        module, _, name = place.partition(":")
        kind = getattr(importlib.import_module(module), name)
        assert issubclass(kind, BaseBundle) and system == kind.SYSTEM


@pytest.mark.parametrize("path", PHYDNN, ids=lambda path: path.name)
def test_shipped_phydnns(path: Path) -> None:
    bundle = Bundle.load(path.name)
    golden = bundle.golden()
    np.testing.assert_array_equal(bundle.labels(golden["slices"]), golden["labels"])
    np.testing.assert_array_equal(bundle.points[golden["labels"]], golden["symbols"])
    np.testing.assert_array_equal(
        constellation.hard_labels(golden["symbols"], bundle.points), golden["labels"]
    )
    np.testing.assert_array_equal(bundle.embeddings[golden["labels"]], golden["received"])
    assert {"backbone", "simulated"} <= set(bundle.meta["metrics"])


def test_find(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(digits_folder) == digits_folder
    monkeypatch.chdir(digits_folder.parent)
    shutil.copytree(digits_folder, digits_folder.parent / "models" / "mine")
    assert find("mine") == Path("models/mine")
    with pytest.raises(BundleError, match="there is no bundle 'other'"):
        find("other")


def test_id_follows_what_is_computed(digits_folder: Path, digits_bundle: Bundle) -> None:
    assert Bundle.load(digits_folder).id == digits_bundle.id
    edit_meta(digits_folder, lambda m: m.update(version="2", name="another"))
    assert Bundle.load(digits_folder).id == digits_bundle.id
    edit_arrays(digits_folder, embeddings=digits_bundle.embeddings + np.float32(1e-6))
    assert Bundle.load(digits_folder).id != digits_bundle.id


def test_files_have_no_paths_of_the_machine(digits_bundle: Bundle) -> None:
    for path in digits_bundle.path.iterdir():
        assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "arrays.safetensors", "golden.npz"])
def test_missing_or_tampered_file(digits_folder: Path, name: str) -> None:
    path = digits_folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"^{name}: its sha256 is"):
        Bundle.load(digits_folder)
    path.unlink()
    with pytest.raises(BundleError, match=f"^{name}: it cannot be read"):
        Bundle.load(digits_folder)
    path.mkdir()
    with pytest.raises(BundleError, match=f"^{name}: it is not a file"):
        Bundle.load(digits_folder)


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "arrays.safetensors", "golden.npz"])
@pytest.mark.parametrize("keep", [0, 8, 900])
def test_cut_off_file(digits_folder: Path, name: str, keep: int) -> None:
    path = digits_folder / name
    path.write_bytes(path.read_bytes()[:keep])
    rehash(digits_folder)
    with pytest.raises(BundleError, match=f"^{name}: "):
        Bundle.load(digits_folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, '{"schema": NaN}', "\ud800", "[1, 2]", "null"]
)
def test_bundle_json_is_no_json(digits_folder: Path, content: str) -> None:
    (digits_folder / "bundle.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError, match=r"^bundle\.json: "):
        Bundle.load(digits_folder)


def test_huge_files_are_refused(digits_folder: Path) -> None:
    with (digits_folder / "bundle.json").open("a") as file:
        file.write(" " * (1 << 20))
    with pytest.raises(BundleError, match=r"^bundle\.json: it has \d+ bytes, more than"):
        Bundle.load(digits_folder)


@pytest.mark.parametrize(
    "field,value",
    [
        ("schema", 2),
        ("system", "airnet"),
        ("name", "../../etc"),
        ("classes", []),
        ("classes", [1]),
        ("input.shape", [1, 8]),
        ("input.dtype", "float32"),
        ("slices.count", 0),
        ("dictionary.size", 1),
        ("dictionary.lookup", "guess"),
        ("dictionary.decision", "maybe"),
        ("precoding", 1),
        ("training.snr_db", []),
        ("opset", 99),
        ("files.head.onnx", "abc"),
    ],
)
def test_wrong_field_is_named(digits_folder: Path, field: str, value: Any) -> None:
    outer, _, inner = field.partition(".")

    def change(meta: dict[str, Any]) -> None:
        (meta[outer] if inner else meta)[inner or outer] = value

    edit_meta(digits_folder, change)
    with pytest.raises(BundleError, match=rf"^bundle\.json: {field}"):
        Bundle.load(digits_folder)


@pytest.mark.parametrize("field", ["files", "slices", "metrics"])
def test_missing_field_is_named(digits_folder: Path, field: str) -> None:
    edit_meta(digits_folder, lambda m: m.pop(field))
    with pytest.raises(BundleError, match=rf"^bundle\.json: its top: '{field}'"):
        Bundle.load(digits_folder)


def test_more_files_are_refused(digits_folder: Path) -> None:
    edit_meta(digits_folder, lambda m: m["files"].update({"../x": "0" * 64}))
    with pytest.raises(BundleError, match=r"^bundle\.json: files: "):
        Bundle.load(digits_folder)


@pytest.mark.parametrize(
    "arrays,message",
    [
        ({"points": None}, "the array points is missing"),
        ({"embeddings": np.zeros((16, 15), np.float32)}, "embeddings has shape"),
        ({"embeddings": np.zeros((16, 16), np.float64)}, "embeddings is float64, not float32"),
        ({"embeddings": np.full((16, 16), np.nan, np.float32)}, "embeddings holds NaN"),
        ({"points": np.full((16, 2), np.inf, np.float32)}, "points holds NaN or infinity"),
        ({"points": np.ones((16, 2), np.float32)}, "points have an average power of 2, not 1"),
    ],
)
def test_wrong_arrays(digits_folder: Path, arrays: dict[str, Any], message: str) -> None:
    edit_arrays(digits_folder, **arrays)
    with pytest.raises(BundleError, match=rf"^arrays\.safetensors: {message}"):
        Bundle.load(digits_folder)


@pytest.mark.parametrize(
    "arrays,message",
    [
        ({"images": None}, "the array images is missing"),
        ({"images": np.zeros((4, 1, 8, 9), np.uint8)}, "images has shape"),
        ({"labels": np.zeros((4, 64), np.int64)}, "labels is int64"),
        ({"logits": np.full((4, 10), np.nan, np.float32)}, "logits holds NaN"),
        ({"slices": np.array([None])}, "it cannot be read"),
    ],
)
def test_wrong_golden(digits_folder: Path, arrays: dict[str, Any], message: str) -> None:
    edit_golden(digits_folder, **arrays)
    with pytest.raises(BundleError, match=rf"^golden\.npz: {message}"):
        Bundle.load(digits_folder)


def test_golden_that_unpacks_to_too_much(digits_folder: Path) -> None:
    edit_golden(digits_folder, bomb=np.zeros(80 << 20, np.uint8))
    assert (digits_folder / "golden.npz").stat().st_size < 1 << 20
    with pytest.raises(BundleError, match=r"^golden\.npz: it unpacks to"):
        Bundle.load(digits_folder)


def rename(kind: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = getattr(model.graph, kind)[0]
        for operation in model.graph.node:
            names = operation.input if kind == "input" else operation.output
            for i, name in enumerate(names):
                if name == node.name:
                    names[i] = "other"
        node.name = "other"

    return change


def poison(model: onnx.ModelProto) -> None:
    weight = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def set_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 17


def fix_batch(model: onnx.ModelProto) -> None:
    for node in (*model.graph.input, *model.graph.output):
        node.type.tensor_type.shape.dim[0].dim_value = 4


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx"])
@pytest.mark.parametrize(
    "change,message",
    [
        (rename("input"), "its only input must be '(images|slices)'"),
        (rename("output"), "its only output must be '(slices|logits)'"),
        (poison, "its (slices|logits) differ from golden.npz by nan"),
        (set_opset, "its opset is 17, not 18"),
        (fix_batch, "(images|slices) has shape .* not a free batch axis"),
    ],
)
def test_wrong_graph(
    digits_folder: Path, name: str, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    edit_graph(digits_folder, name, change)
    with pytest.raises(BundleError, match=rf"^{name}: {message}"):
        Bundle.load(digits_folder)


def test_graph_of_another_shape_or_type(digits_folder: Path) -> None:
    shutil.copy(digits_folder / "tail.onnx", digits_folder / "head.onnx")
    rehash(digits_folder)
    with pytest.raises(BundleError, match=r"^head\.onnx: its only input must be 'images'"):
        Bundle.load(digits_folder)
    shutil.copy(find("phydnn-resnet20-digits") / "head.onnx", digits_folder)
    rehash(digits_folder)
    edit_meta(digits_folder, lambda m: m["classes"].append("eleven"))
    with pytest.raises(BundleError, match=r"^golden\.npz: logits has shape"):
        Bundle.load(digits_folder)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_fuzzed_meta_raises_nothing_but_bundle_errors(digits_folder: Path, data: Any) -> None:
    path = digits_folder / "bundle.json"
    original = path.read_bytes()
    meta = json.loads(original)
    try:
        for _ in range(data.draw(st.integers(1, 3))):
            node = meta
            while True:
                keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
                key = data.draw(st.sampled_from(keys))
                if isinstance(node[key], (dict, list)) and node[key] and data.draw(st.booleans()):
                    node = node[key]
                    continue
                node[key] = data.draw(VALUES)
                break
        path.write_text(json.dumps(meta))
        try:
            bundle = Bundle.load(digits_folder)
        except BundleError as error:
            assert str(error)
        else:
            assert bundle.uses == 64 and bundle.embeddings.shape == (16, 16)
    finally:
        path.write_bytes(original)


@given(at=st.integers(0, 1 << 20), byte=st.integers(0, 255), cut=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_fuzzed_graph_bytes(digits_folder: Path, at: int, byte: int, cut: bool) -> None:
    path = digits_folder / "head.onnx"
    original = path.read_bytes()
    content = bytearray(original)
    content[at % len(content)] = byte
    path.write_bytes(content[: at % len(content)] if cut else content)
    rehash(digits_folder)
    try:
        Bundle.load(digits_folder)
    except BundleError as error:
        assert str(error)
    finally:
        path.write_bytes(original)
        rehash(digits_folder)
