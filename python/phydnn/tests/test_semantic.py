# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The semantic transceiver: networks, training, compression, bundle, decoding, simulation."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phydnn import bundle as bundles
from phydnn import channel, compression, experiments, text, train
from phydnn.bundle import BundleError
from phydnn.cli import main
from phydnn.decoding import TextCodec
from phydnn.errors import InputError
from phydnn.evaluate_text import simulate, sweep
from phydnn.experiments import semantic
from phydnn.export_text import export_text, rounded
from phydnn.semantic import MODES, Shape, Transceiver, convey
from phydnn.tests.sentences import LINES
from phydnn.text import END
from phydnn.text_bundle import TextBundle, frames_of
from phydnn.train.deepsc import DeepscConfig, DeepscTask, Sentences, load_deepsc, train_deepsc

SMALL = [
    "epochs=3",
    "sentences=72",
    "vocabulary=400",
    "layers=1",
    "heads=2",
    "width=32",
    "hidden=64",
    "batch=400",
    "lr=1e-2",
    "curriculum=0.0",
    "negatives=20",
    "threads=1",
]
TINY = Shape(vocabulary=300, layers=2, heads=2, width=16, hidden=32, code=24, positions=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return f"text:{path}"


def settings_of(data: str, *more: str) -> DeepscConfig:
    return train.read_config(DeepscConfig, "deepsc", "europarl", [f"data={data}", *SMALL, *more])


@pytest.fixture(scope="module")
def run(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "text"
    train_deepsc(settings_of(data, "epochs=30", "snr_low=10.0"), folder / "deepsc")
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path) -> TextBundle:
    return export_text(run, run / "ldeepsc-tiny")


@pytest.fixture(params=MODES)
def net(request: pytest.FixtureRequest) -> Transceiver:
    torch.manual_seed(1)
    shape = Shape(**{**vars(TINY), "mode": request.param})
    return Transceiver(shape).eval()


def test_a_token_has_eight_uses_of_power_one(net: Transceiver) -> None:
    with torch.no_grad():
        values = net.transmitter(torch.randint(300, (3, 5)))
    assert values.shape == (3, 5, 16)
    torch.testing.assert_close((values**2).sum(-1), torch.full((3, 5), 8.0))


def test_the_decoder_sees_no_token_before_its_time(net: Transceiver) -> None:
    values, n0 = torch.randn(2, 6, 16), torch.full((2, 6, 8), 0.1)
    aligned, received = net.receiver.listen(values, n0)
    previous = torch.randint(300, (2, 6))
    other = previous.clone()
    other[:, 4] += 1
    first, _ = net.receiver.write(previous, aligned, received)
    second, _ = net.receiver.write(other % 300, aligned, received)
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4:], second[:, 4:])


def test_steps_with_a_cache_are_the_whole(net: Transceiver) -> None:
    values, n0 = torch.randn(2, 7, 16), torch.full((2, 7, 8), 0.1)
    aligned, received = net.receiver.listen(values, n0)
    previous = torch.randint(300, (2, 7))
    whole, _ = net.receiver.write(previous, aligned, received)
    past, parts = None, []
    for at, size in ((0, 1), (1, 3), (4, 1), (5, 2)):
        part = slice(at, at + size)
        if past is None:
            x, past = net.receiver.write(previous[:, part], aligned[:, part], received)
        else:
            x, past = net.receiver.write(previous[:, part], aligned[:, part], received, past)
        parts.append(x)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_the_corrected_receiver_heeds_the_noise_alone_in_its_mode(net: Transceiver) -> None:
    values = torch.randn(1, 4, 16)
    quiet, _ = net.receiver.listen(values, torch.full((1, 4, 8), 0.01))
    loud, _ = net.receiver.listen(values, torch.full((1, 4, 8), 10.0))
    assert torch.equal(quiet, loud) == (net.shape.mode == "as-published")


@pytest.mark.parametrize(("error", "wanted"), [(0.0, 1.0), (1.0, 2.0)])
def test_noise_after_equalisation_is_what_convey_says(error: float, wanted: float) -> None:
    generator = torch.Generator().manual_seed(3)
    symbols = channel.complex_normal((4000, 2, 8), generator)
    n0 = torch.full((4000, 1), 0.01)
    got, noise = convey(
        symbols, n0, torch.full_like(n0, error), channel.named("rician:2"), generator
    )
    # Where the channel is not in a deep fade, in which an estimate's error is no longer small.
    strong = noise[:, 0, 0] < 0.1
    ratio = ((got - symbols).abs() ** 2 / noise)[strong].mean()
    assert ratio == pytest.approx(1, rel=0.06)
    _, noise = convey(symbols, n0, torch.full_like(n0, error), channel.named("awgn"), generator)
    assert noise.mean() == pytest.approx(0.01 * wanted, rel=0.03)


def test_without_csi_nothing_is_equalised() -> None:
    generator = torch.Generator().manual_seed(3)
    symbols = torch.ones(50, 2, 8, dtype=torch.complex64)
    got, noise = convey(
        symbols, torch.full((50, 1), 1e-8), None, channel.named("rayleigh"), generator
    )
    assert noise.max() == pytest.approx(1e-8)
    assert (got[:, 0, 0] - 1).abs().mean() > 0.5
    torch.testing.assert_close(got, got[:, :1, :1].expand_as(got), atol=1e-3, rtol=1e-3)


def test_batches_hold_each_sentence_once(data: str) -> None:
    vocabulary = text.Vocabulary.train(LINES, 400)
    sentences = Sentences.of([*LINES, ""], vocabulary, 64)
    assert len(sentences) == len(LINES)
    batches = list(sentences.batches(200, len(LINES), np.random.RandomState(1)))
    assert all(batch.numel() <= 200 and batch.shape[1] % 4 == 0 for batch in batches)
    read = [vocabulary.decode(row.tolist()) for batch in batches for row in batch]
    assert sorted(read) == sorted(LINES)


@torch.no_grad()
@pytest.mark.parametrize("drawn", [0.0, 0.4])
def test_candidates_stand_for_the_whole_vocabulary(data: str, drawn: float) -> None:
    """The sampled softmax's partition function is right on average."""
    torch.manual_seed(2)
    frequencies = torch.rand(300) + 0.01
    frequencies /= frequencies.sum()
    task = DeepscTask(settings_of(data, f"drawn={drawn}"), frequencies)
    frequencies = (1 - drawn) * frequencies + drawn / 300
    features = torch.randn(32)
    predict = task.net.receiver.predict
    exact = predict(features).exp().sum()
    generator = torch.Generator().manual_seed(5)
    sums = []
    for _ in range(300):
        wanted = torch.multinomial(frequencies, 60, replacement=True, generator=generator)
        weight, bias, places = task._candidates(wanted, generator)
        assert torch.equal(weight[places], predict.weight[wanted])
        sums.append((weight @ features + bias).exp().sum())
    assert torch.stack(sums).mean() == pytest.approx(exact.item(), rel=0.05)


def test_it_learns_and_the_greedy_decoders_agree(run: Path, bundle: TextBundle) -> None:
    task, vocabulary = load_deepsc(run / "deepsc" / "best.safetensors")
    codec = TextCodec(bundle)
    tokens = text.fill([vocabulary.encode(line) for line in LINES[:12]], 12)
    symbols = codec.encode(tokens)
    assert (np.abs(symbols) ** 2).mean() == pytest.approx(1, abs=0.1)
    n0 = np.full(symbols.shape, 0.05, np.float32)
    rng = np.random.RandomState(1)
    noise = rng.randn(*symbols.shape, 2).astype(np.float32).view(np.complex64)[..., 0]
    symbols = symbols + np.sqrt(n0 / 2) * noise
    found = codec.greedy(symbols, n0)
    values = torch.from_numpy(bundle.constellation.demap(symbols, n0, bundle.decision))
    assert (rounded(task).greedy(values, torch.from_numpy(n0)).numpy() == found).all()
    # Alone, a sentence is read by guessing ahead; the answer is the same.
    for row in range(4):
        one = slice(row, row + 1)
        assert (codec.greedy(symbols[one], n0[one]) == found[one]).all()
    assert (found == tokens).mean() > 0.8


def test_a_beam_finds_nothing_less_likely(bundle: TextBundle) -> None:
    codec = TextCodec(bundle)
    tokens = text.fill([bundle.vocabulary.encode(line) for line in LINES[:6]], 12)
    symbols = codec.encode(tokens)
    n0 = np.full(symbols.shape, 2.0, np.float32)
    noise = np.random.RandomState(1).randn(*symbols.shape, 2).view(np.complex128)[..., 0]
    symbols = (symbols + noise).astype(np.complex64)

    def likelihood(sentences: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        memory = codec._listen(*codec._demap(symbols, n0))
        previous = np.column_stack([np.full(len(sentences), END), sentences[:, :-1]])
        logits = torch.from_numpy(codec._write(previous, memory, codec._empty(len(sentences)))[0])
        chosen = logits.log_softmax(2).gather(2, torch.from_numpy(sentences)[..., None])
        answer: np.ndarray = chosen.sum((1, 2)).numpy()  # type: ignore[type-arg]
        return answer

    greedy = codec.greedy(symbols, n0)
    assert (codec.beam(symbols, n0, 1) == greedy).all()
    assert likelihood(codec.beam(symbols, n0, 8)).sum() >= likelihood(greedy).sum() - 1e-3
    with pytest.raises(InputError, match="not 65"):
        codec.beam(symbols, n0, 65)


def test_any_text_comes_through_or_is_marked(bundle: TextBundle) -> None:
    lines = [
        "",
        "\U0001f469\u200d\U0001f680 \U0001f680",
        "שלום עולם",
        "control\x00\x07\x1b\t",
        "Zyx" * 50,
        " ".join(LINES[:20]),
    ]
    row = simulate(TextCodec(bundle), lines, "awgn", 1, "perfect", 1, 20.0)
    assert row["n"] == 6 and all(0 <= score <= 1 for score in row["bleu"])
    # What a dead channel leaves is text all the same.
    codec = TextCodec(bundle)
    for frame in frames_of(bundle, lines, 4):
        symbols = codec.encode(frame.tokens)
        for received, n0 in ((symbols * np.nan, np.inf), (symbols * 0, 1e30), (symbols, np.nan)):
            found = codec.greedy(received, n0)
            assert found.shape == frame.tokens.shape
            bundle.vocabulary.decode(found.ravel())


def test_sweeps_repeat(bundle: TextBundle) -> None:
    rows = sweep(bundle, LINES[:8], [0.0, 20.0], "rayleigh", csi="ls")
    assert rows == sweep(bundle, LINES[:8], [0.0, 20.0], "rayleigh", csi="ls")
    assert rows[0]["bleu"][0] < rows[1]["bleu"][0]
    assert rows[0]["channel_uses"] == 8 * rows[0]["tokens"]
    with pytest.raises(InputError, match="no CSI 'best'"):
        sweep(bundle, LINES[:8], [0.0], "awgn", csi="best")


def test_the_codec_refuses_what_does_not_fit(bundle: TextBundle) -> None:
    codec = pickle.loads(pickle.dumps(TextCodec(bundle)))
    with pytest.raises(InputError, match="at most 64 tokens"):
        codec.encode(np.zeros((1, 65), np.int64))
    with pytest.raises(InputError, match="of 8 channel uses"):
        codec.greedy(np.zeros((1, 4, 7)), 0.1)


def test_a_vocabulary_of_another_model_is_refused(
    run: Path, bundle: TextBundle, tmp_path: Path
) -> None:
    other = text.Vocabulary.train(LINES, 390).model
    copy = Path(shutil.copytree(run / "deepsc", tmp_path / "deepsc"))
    (copy / "vocabulary.model").write_bytes(other)
    with pytest.raises(InputError, match=r"400 tokens but vocabulary\.model beside it has 390"):
        load_deepsc(copy / "best.safetensors")
    damaged = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    (damaged / "vocabulary.model").write_bytes(other)
    with pytest.raises(BundleError, match=r"vocabulary\.model: its sha256"):
        bundles.load(damaged)
    meta = json.loads((damaged / "bundle.json").read_text())
    meta["files"]["vocabulary.model"] = bundles.sha256(damaged / "vocabulary.model")
    (damaged / "bundle.json").write_text(json.dumps(meta))
    with pytest.raises(BundleError, match="390 tokens, not 400"):
        bundles.load(damaged)


def test_a_run_resumes_as_if_it_had_not_stopped(data: str, tmp_path: Path) -> None:
    whole = train_deepsc(settings_of(data, "epochs=2"), tmp_path / "whole")
    part = settings_of(data, "epochs=2")
    calls = []

    class StopError(Exception):
        pass

    original = DeepscTask.end_epoch

    def stop(self: DeepscTask, epoch: int, out: Path) -> dict[str, object]:
        calls.append(epoch)
        if len(calls) == 2:
            raise StopError
        return original(self, epoch, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeepscTask, "end_epoch", stop)
        with pytest.raises(StopError):
            train_deepsc(part, tmp_path / "part")
    again = train_deepsc(part, tmp_path / "part")
    first, second = (load_deepsc(path)[0].state_dict() for path in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "more", [["mode=as-published", "csi=none"], ["bits=0", "csi=refined", "drawn=0.5"]]
)
def test_other_ways_to_train(data: str, tmp_path: Path, more: list[str]) -> None:
    path = train_deepsc(settings_of(data, "epochs=1", *more), tmp_path / "run")
    task, _ = load_deepsc(path)
    assert task.net.shape.mode == task.config.mode
    assert (task.config.schedule == "inverse-root") == (task.config.mode == "as-published")


def test_compressed_training_keeps_zeros_and_steps(
    data: str,
    run: Path,
    bundle: TextBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = settings_of(
        data,
        "epochs=2",
        f"start={run / 'deepsc' / 'best.safetensors'}",
        "sparsity=0.6",
        "weight_bits=8",
    )
    task, _ = load_deepsc(train_deepsc(config, tmp_path / "deepsc"))
    weights = torch.cat([weight.detach().flatten() for weight in task.weights()])
    assert (weights == 0).float().mean() == pytest.approx(0.6, abs=0.01)
    net = rounded(task)
    for weight in net.parameters():
        if weight.ndim > 1:
            steps = weight / compression.scale_of(weight, 8)
            torch.testing.assert_close(steps, steps.round(), atol=1e-2, rtol=0)
    assert main(["export", "--run", str(tmp_path), "--out", str(tmp_path / "small")]) == 0
    assert "rician:2 12 dB: BLEU-1 0." in capsys.readouterr().out
    small = TextBundle.load(tmp_path / "small")
    assert small.meta["compression"]["psi"] == pytest.approx(32 / 8 / 0.4, rel=0.03)
    # As int8, a matrix of the graphs takes a quarter of its floats.
    assert small.step_path.stat().st_size < 0.7 * bundle.step_path.stat().st_size
    experiment = experiments.load("ldeepsc_table3")
    options = {"run": str(run), "tuned": str(tmp_path), "sentences": 5}
    asked = experiments.Settings(
        data=data, folder=tmp_path / "x", options=experiment.options | options
    )
    (point,) = (point for point in experiment.points(asked) if point["tuned"])
    (row,) = experiment.measure(point, tmp_path / "x" / "point")
    assert (row["sparsity"], row["weight_bits"], row["n"]) == (0.6, 8, 5)
    # The run as it is, not compressed and trained again.
    assert row["psi"] == small.meta["compression"]["psi"]
    assert not (tmp_path / "x" / "point" / "deepsc").exists()


def test_one_threshold_for_the_whole_network() -> None:
    weights = [torch.tensor([[0.1, -0.5], [0.2, 3.0]]), torch.tensor([[-0.3, 0.05]])]
    masks = compression.largest(weights, 0.5)
    assert [mask.tolist() for mask in masks] == [[[False, True], [False, True]], [[True, False]]]
    with pytest.raises(InputError, match="leaves nothing"):
        compression.largest(weights, 1.0)


def test_activations_keep_to_their_range() -> None:
    quantiser = compression.Quantiser(4)
    assert torch.equal(quantiser.eval()(torch.tensor([7.0])), torch.tensor([7.0]))
    quantiser.train()(torch.tensor([-1.0, 2.0]))
    x = torch.linspace(-2, 3, 100, requires_grad=True)
    y = quantiser.eval()(x)
    assert len(torch.unique(y)) == 16
    assert (y.min().item(), y.max().item()) == pytest.approx((-1.0, 2.0))
    y.sum().backward()
    assert x.grad is not None
    inside = (x > -1) & (x < 2)
    assert torch.equal(x.grad[inside], torch.ones(int(inside.sum())))
    assert not x.grad[~inside].any()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 32),
    st.integers(0, 40),
    st.integers(1, 40),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_a_file_of_weights_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    bits: int,
    rows: int,
    columns: int,
    share: float,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("weights") / "file"
    rng = np.random.RandomState(seed)
    matrix = rng.randn(rows, columns).astype(np.float32) * (rng.rand(rows, columns) < share)
    bias = rng.randn(columns).astype(np.float32)
    size = compression.write(path, {"matrix": matrix, "bias": bias}, bits)
    assert size == path.stat().st_size
    back = compression.read(path)
    assert (back["bias"] == bias).all()
    if rows:
        wanted = compression.quantised(torch.from_numpy(matrix), bits).numpy()
        np.testing.assert_array_equal(back["matrix"], wanted)
    assert ((back["matrix"] == 0) | (matrix != 0)).all()


def test_the_file_is_as_small_as_its_entropy(tmp_path: Path) -> None:
    rng = np.random.RandomState(1)
    matrix = (rng.randn(500, 400) * (rng.rand(500, 400) < 0.1)).astype(np.float32)
    size = compression.write(tmp_path / "file", {"matrix": matrix}, 8)
    numbers = np.rint(matrix / compression.scale_of(torch.from_numpy(matrix), 8))
    shares = np.unique(numbers, return_counts=True)[1] / matrix.size
    entropy = -(shares * np.log2(shares)).sum() * matrix.size / 8
    assert entropy < size < 1.02 * entropy + 2000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_of_weights_are_refused(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    matrix = np.random.RandomState(1).randn(8, 8).astype(np.float32)
    compression.write(path, {"matrix": matrix}, draw.draw(st.sampled_from([4, 8, 16, 32])))
    content = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path.write_bytes(content[: draw.draw(st.integers(0, len(content)))])
    try:
        for array in compression.read(path).values():
            assert array.dtype == np.float32
    except InputError as error:
        assert "damaged" in str(error)


def test_eval_by_command(bundle: TextBundle, data: str, tmp_path: Path) -> None:
    result = tmp_path / "eval.json"
    given = ["--bundle", str(bundle.path), "--data", data, "--channel", "rician:2", "--limit", "5"]
    more = ["--csi", "refined", "--snr", "0", "12", "--json", str(result)]
    assert main(["eval", *given, *more]) == 0
    found = json.loads(result.read_text())
    assert found["snr_db"] == [0, 12] and len(found["bleu"][1]) == 4 and found["n"] == 5
    assert main(["eval", *given, "--csi", "best"]) == 2


def test_an_experiment_trains_once_for_all_its_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "QUICK", semantic.QUICK | {"epochs": 1, "sentences": 60})
    monkeypatch.setattr(semantic, "TUNED", semantic.TUNED | {"epochs": 1})
    experiment = experiments.load("ldeepsc_table3")
    asked = experiments.Settings(
        quick=True, folder=tmp_path / experiment.name, options=experiment.options
    )
    rows = experiments.run(experiment, asked, tmp_path / "table3.json")["rows"]
    assert [(row["sparsity"], row["weight_bits"], row["tuned"]) for row in rows] == [
        (0, 32, False),
        (0.6, 8, False),
        (0.6, 8, True),
    ]
    assert rows[1]["bytes"] < rows[0]["bytes"] / 3
    assert rows[1]["psi"] == pytest.approx(10, rel=0.01)
    assert all(len(row["bleu"]) == 4 and row["n"] == 40 for row in rows)
    assert len(list((tmp_path / "transceivers").glob("*/deepsc"))) == 1
