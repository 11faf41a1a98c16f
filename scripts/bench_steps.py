"""Measure what share of the machine's float32 matrix-product rate the LSTMs of a training step reach.

The machine's rate is that of two large float32 products side by side, half the cores each, in the same framework and
process. The step's rate counts the products that its LSTMs need for the units of the texts (neither padding nor the
CRF, the linear layer and Adam), over the time of the whole step, making its batch included. An LSTM with H cells and D
inputs takes 4H(D + H) multiplications and additions a unit forward; as many again for the gradient of its weights; and
4H(G + H) for the gradient of its inputs, of which only G need one.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benching import Figures, add_data_option, corpus_file, machine, say, write_json

BATCHES, ROUNDS, SIZE = 40, 5, 2048


def main() -> None:
    """Measure, print, and write the figures."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bench_steps_") as folder:
        figures = {**machine("tensorflow", "keras", "numpy"), **measure(options, Path(folder))}
    for name, value in figures.items():
        print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")
    if options.out:
        write_json(options.out, figures)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("bench_steps", description="Measure a training step against matrix products.")
    add_data_option(parser, "core2016")
    parser.add_argument("--vectors", type=Path, required=True, metavar="DIR", help="tables of `tagger vectors`")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="change a setting")
    parser.add_argument("--out", type=Path, metavar="F", help="figures, as JSON")
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path) -> Figures:
    """Return the rates of products and of steps, measured alternately so that a busy machine slows both."""
    import tensorflow as tf

    from tagger.batches import ahead
    from tagger.learning import device

    config, model, step, batches = prepared(options, folder)

    def steps() -> Any:
        return [step(*batch) for batch in ahead(itertools.islice(batches.epoch(0), BATCHES))][-1].numpy()

    units = sum(int(batch.inputs["lengths"].sum()) for batch in itertools.islice(batches.epoch(0), BATCHES))
    matrices = [tf.random.normal((SIZE, SIZE)) for _ in range(2)]  # as the two directions: side by side
    product = tf.function(lambda: tf.add_n([tf.reduce_sum(tf.matmul(matrix, matrix)) for matrix in matrices]))
    product(), steps()  # compile
    rates, speeds = [], []
    for _ in range(ROUNDS):
        rates.append(len(matrices) * 2 * SIZE**3 / seconds(lambda: product().numpy()) / 1e9)
        speeds.append(units / seconds(steps))
        say(f"product {rates[-1]:.0f} GFLOP/s, step {speeds[-1]:,.0f} units/s")
    speed, rate, needed = statistics.median(speeds), statistics.median(rates), operations(model)
    return {
        "matmul_dtype": device.matmul_dtype(config.training).name,
        "units_per_second": speed,
        "operations_per_unit": needed,
        "step_gflops": speed * needed / 1e9,
        "float32_product_gflops": rate,
        "share": speed * needed / 1e9 / rate,
    }


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def prepared(options: argparse.Namespace, folder: Path) -> tuple[Any, ...]:
    """Return config, model, step and batches, as `tagger train` makes them."""
    from tagger.batches import Batches, BatchMaker
    from tagger.config import load
    from tagger.learning import automatic, device, fitting, preparation, training
    from tagger.learning.checks import check_corpora
    from tagger.learning.run import RunFolder, Sources
    from tagger.tags import TagScheme
    from tagger.text import UnitMaker
    from tagger.weights import fresh_model

    train, dev = (corpus_file(options.data, "core2016", name) for name in ("train", "dev"))
    config = load("default", [f"vectors.pretrained={options.vectors.resolve()}", *options.set])
    sources = Sources(train, dev)
    run = RunFolder(folder / "out.training", config, sources, resume=False)
    kind = device.use_device(config.training).kind
    scheme, units = TagScheme(check_corpora(train, dev)), UnitMaker(config.text)
    lookup = preparation.make_lookup(run, config, sources, units)
    store = preparation.training_store(run, sources, units, lookup, scheme, config)
    texts_units = int(store.lengths.sum())
    config = automatic.decide(config, kind, run.folder, lambda: texts_units, automatic.automatic_epochs)
    model = fresh_model(config, scheme, lookup)
    optimizer = fitting.make_optimizer(config.training, model.trainable_variables, steps=1000)
    state = fitting.TrainingState(model, optimizer, config.training, compiled=model.execution.compiled)
    step = training.train_step(state, lookup, device.matmul_dtype(config.training))
    drawn = config.batches.word_dropout, config.batches.masking
    maker = BatchMaker(store, lookup, scheme.size, *drawn, vectors=model.frozen is None)
    return config, model, step, Batches(maker, config.batches, config.training.seed)


def operations(model: Any) -> int:
    """Return the floating-point operations per unit in the products of all LSTMs, forward and backward."""
    total, frozen = 0, model.dimensions
    for layer in model.layers_:
        for direction in (layer.forward, layer.backward):
            (inputs, _), cells = direction.cell.kernel.shape, direction.units
            total += 2 * 4 * cells * (2 * (inputs + cells) + (inputs - frozen) + cells)
        frozen = 0
    return total


if __name__ == "__main__":
    main()
