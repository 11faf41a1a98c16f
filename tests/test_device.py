import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tagger import config
from tagger.errors import TrainingError
from tests.conftest import ROOT

pytestmark = pytest.mark.train


class FakeDevices:
    """Stands in for `tf.config` on a machine with cards."""

    def __init__(self, count):
        self.calls, self.cards = [], [f"card {number}" for number in range(count)]
        self.experimental = self.threading = self

    def list_physical_devices(self, kind):
        return self.cards

    def LogicalDeviceConfiguration(self, memory_limit):  # noqa: N802
        return memory_limit

    def get_device_details(self, card):
        return {"device_name": "NVIDIA X"}

    def get_memory_info(self, card):
        return {"peak": 873 << 20}

    def set_intra_op_parallelism_threads(self, count):
        self.calls.append("half the cores for each direction")

    def set_inter_op_parallelism_threads(self, count):
        pass

    def __getattr__(self, name):
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def cards(monkeypatch):
    """A function that makes TensorFlow see so many cards, and `nvidia-smi` tell this."""
    import tensorflow as tf

    from tagger.learning import device

    def see(count, told=None):
        fake = FakeDevices(count)
        monkeypatch.setattr(tf, "config", fake)

        def run(*_, **__):
            if told is None:
                raise FileNotFoundError("nvidia-smi")
            return SimpleNamespace(stdout=told)

        monkeypatch.setattr(device, "subprocess", SimpleNamespace(run=run, SubprocessError=subprocess.SubprocessError))
        device._freest.cache_clear()
        device.say_once.cache_clear()
        return fake

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return see


def training(*settings):
    return config.load("default", [f"training.{setting}" for setting in settings]).training


def told(*free, names=("NVIDIA X",) * 9):
    rows = zip(range(len(free)), names, free, strict=False)
    return "".join(f"{number}, GPU-{number}, {name}, {mib}\n" for number, name, mib in rows)


NONE = [("set_visible_devices", [], "GPU"), "half the cores for each direction"]


@pytest.mark.parametrize(
    ("count", "settings", "calls", "kind"),
    [
        (1, [], [("set_visible_devices", ["card 0"], "GPU"), ("set_memory_growth", "card 0", True)], "card"),
        (2, ["gpu=-1"], NONE, "processor"),
        (0, [], NONE, "processor"),
        (0, ["gpu=-1"], NONE, "processor"),
        (
            2,
            ["gpu=1", "gpu_memory_mib=512"],
            [("set_visible_devices", ["card 1"], "GPU"), ("set_logical_device_configuration", "card 1", [512])],
            "card",
        ),
    ],
)
def test_the_card_and_its_memory_are_chosen_by_configuration(cards, count, settings, calls, kind):
    from tagger.learning.device import use_device

    fake = cards(count)
    assert use_device(training(*settings)).kind == kind
    assert fake.calls == calls


@pytest.mark.parametrize(
    ("count", "expected"),
    [(2, "a number from 0 to 1, or -1"), (0, "auto, as TensorFlow finds no graphics card here, or -1")],
)
def test_a_card_that_is_not_there_is_refused(cards, count, expected):
    from tagger.learning.device import use_device

    cards(count)
    with pytest.raises(TrainingError, match=f"^training.gpu = 2: expected {expected} for none"):
        use_device(training("gpu=2"))


@pytest.mark.parametrize(
    ("said", "environment", "number", "why"),
    [
        (told(100, 3000, 2999), {}, 1, "of 3 the one with the most free memory: 3,000 MiB"),
        (told(100, 100, 100), {}, 0, "of 3 the one with the most free memory: 100 MiB"),
        (told(9, 5, 7, 8), {"CUDA_VISIBLE_DEVICES": "2, 1, 3"}, 2, "of 3 the one with the most free memory: 8 MiB"),
        (told(9, 5, 7, 8), {"CUDA_VISIBLE_DEVICES": "GPU-3,1,2"}, 0, "of 3 the one with the most free memory: 8 MiB"),
        (told(9, 5, 7, 8), {"CUDA_VISIBLE_DEVICES": "1,2,MIG-7"}, 0, "the first of 3: their free memory is not known"),
        (told(9, 5, 7, 8), {}, 0, "the first of 3"),
        (told(1, 2, 3, names="ABA"), {}, 0, "the first of 3"),
        (told(1, 2, 3, names="ABA"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, 2, "of 3 the one"),
        ("1, 2\nnonsense", {}, 0, "the first of 3"),
        (told("[N/A]", "[N/A]", "[N/A]"), {}, 0, "the first of 3"),
        (None, {}, 0, "the first of 3"),
    ],
)
def test_of_several_cards_the_one_with_the_most_free_memory_is_used(
    cards, monkeypatch, capsys, said, environment, number, why
):
    from tagger.learning.device import use_device

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fake = cards(3, said)
    assert use_device(training()).name == f"graphics card {number}, NVIDIA X"
    assert fake.calls[0] == ("set_visible_devices", [f"card {number}"], "GPU")
    use_device(training())  # as in self-training
    line = f"device: graphics card {number}, NVIDIA X, {why}"
    assert capsys.readouterr().err.startswith(line)
    assert capsys.readouterr().err.count("\n") == 0


def test_the_runtime_of_keras_leaves_memory_to_others(cards, monkeypatch):
    from tagger.runtime import keras as runtime

    fake = cards(2)
    monkeypatch.setattr(runtime.KerasRuntime, "__init__", lambda *_: None)
    runtime.KerasRuntime.load(SimpleNamespace(keras_model=lambda: None, lookup=None), 1)
    assert fake.calls == [("set_memory_growth", "card 0", True), ("set_memory_growth", "card 1", True)]


def test_the_peak_of_a_card_is_told_at_the_end_and_before_the_next_one(cards, monkeypatch, capsys, tmp_path):
    from tagger.learning.device import PROCESSOR, use_device
    from tagger.learning.memory import say_expected, say_peak

    monkeypatch.setenv("TAGGER_CACHE", str(tmp_path / "cache"))
    cards(1)
    device, decided = use_device(training()), config.load("default", ["batches.units=24000"])
    capsys.readouterr()
    for _ in range(2):
        say_peak(device, decided)
    place = "device: graphics card 0, NVIDIA X:"
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"{place} 873 MiB of its memory used at most; the driver needs some hundred more"
    ]
    say_expected(device, decided)
    assert capsys.readouterr().err == f"{place} a training with these settings used 873 MiB of its memory at most\n"
    say_expected(device, config.load("default", ["batches.units=9000"]))
    for nothing in (say_peak, say_expected):
        nothing(PROCESSOR, decided)
    (tmp_path / "cache" / "memory.json").write_text("[")
    say_expected(device, decided)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TAGGER_CACHE", "")
    say_expected(device, decided)
    say_peak(device, decided)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("card", ["training.gpu_memory_mib=512"], "card 0: its memory is full (limited to 512 MiB); the work so far "
         "is kept in out.training: add --resume with training.gpu_memory_mib above 512, or with "
         "training.gpu=-1 to go on on the processor; or begin again with batches.units below 24000 or model.layers "
         "below [128, 64] "
         "(batches.accumulate makes up for it)"),
        ("card", [], "card 0: its memory is full; the work so far is kept in out.training: add --resume once"),
        ("processor", [], "card 0: the memory is full; the work so far is kept in out.training; begin again with"),
    ],
)  # fmt: skip
def test_memory_that_runs_out_is_one_line_with_the_settings_to_lower(tmp_path, kind, settings, told):
    import tensorflow as tf

    from tagger.learning.device import Device, memory_errors

    decided = config.load("default", ["batches.units=24000", *settings])
    for error in (
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]"),
        tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    ):
        with (
            pytest.raises(TrainingError) as caught,
            memory_errors(Device(kind, "card 0"), decided, Path("out.training")),
        ):
            raise error
        assert str(caught.value).startswith(told)
    other = tf.errors.InternalError(None, None, "a kernel failed")
    with pytest.raises(tf.errors.InternalError), memory_errors(Device(kind, "card 0"), decided, Path("out.training")):
        raise other


@pytest.mark.parametrize(
    ("choice", "flags", "expected"),
    [
        ("auto", "fpu amx_bf16 avx512_fp16", "bfloat16"),
        ("auto", "fpu avx512_bf16", "bfloat16"),
        ("auto", "fpu avx512f avx512_fp16", "float32"),
        ("auto", None, "float32"),
        ("float32", "fpu amx_bf16 avx512_fp16", "float32"),
        ("bfloat16", None, "bfloat16"),
    ],
)
def test_products_are_in_bfloat16_where_the_processor_has_instructions_for_it(tmp_path, choice, flags, expected):
    from tagger.learning.device import matmul_dtype

    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"flags\t\t: {flags}\n")
    settings = config.load("default", [f"training.matmul_dtype={choice}"]).training
    assert matmul_dtype(settings, cpuinfo).name == expected


def test_a_model_trains_on_each_of_several_logical_devices():
    """As far as a CPU can: two logical devices, and a batch on each gives the same loss."""
    code = """if True:
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tagger.config import load
        from tagger.lookup import Embedding
        from tagger.model import TaggerModel
        from tagger.tags import TagScheme
        model = TaggerModel(load("default").model, TagScheme(("A",)), 6, [Embedding((0,), 9, 4)])
        model.build()
        ids = np.ones((2, 5, 1), np.int32)
        x = {"ids": ids, "vectors": np.ones((2, 5, 6), np.float32), "lengths": np.array([5, 3], np.int32)}
        y, w = np.zeros((2, 5, 5), np.float32), np.ones((2, 5), np.float32)
        y[:, :, 0] = 1
        losses = []
        for device in ("CPU:0", "CPU:1"):
            with tf.device(device):
                losses.append(float(model.compute_loss(x, y, model(x), w, steps=np.zeros((5, 5), np.float32))))
        assert losses[0] == losses[1] > 0
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
