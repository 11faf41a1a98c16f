import numpy as np
import pytest

from tagger import openvino_graph
from tagger.imports import import_openvino
from tagger.weights import Direction, Weights
from tests.samples import char_lookup

LOOKUP = char_lookup()


def scores(weights, eight_bits, ids, lengths):
    model = import_openvino().Core().compile_model(openvino_graph.build(weights, LOOKUP, eight_bits), "CPU")
    places, ends = np.arange(ids.shape[1], dtype=np.int32), lengths[:, None]
    mirrored = np.where(places < ends, ends - 1 - places, places)
    return model({"ids": ids, "lengths": lengths, "mirrored": mirrored})[0]


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_eight_bits_are_near_single_precision_whatever_the_scales_of_weights(merge):
    """OpenVINO mixes up the scales of gates, of directions, and of layers of one shape."""
    rng, size, tags = np.random.default_rng(1), 8, 5
    inner = 2 * size if merge == "concat" else size

    def lstm(inputs, scale):
        gates = scale * np.repeat(rng.permutation([0.1, 0.3, 0.6, 1.0]), size)
        parts = rng.normal(size=(inputs, 4 * size)), rng.normal(size=(size, 4 * size)), rng.normal(size=4 * size)
        return Direction(*((part * gates).astype(np.float32) for part in parts))

    tables = [((0,), 30 * rng.normal(size=(7, 3))), ((4,), 0.01 * rng.normal(size=(10, 2)))]
    inputs = LOOKUP.dimensions + sum(rows.shape[1] for _, rows in tables)
    layers = [(lstm(width, 0.4), lstm(width, 0.1)) for width in (inputs, inner, inner)]
    kernel, bias = rng.normal(size=(inner, tags)).astype(np.float32), rng.normal(size=tags).astype(np.float32)
    tables = [(columns, rows.astype(np.float32)) for columns, rows in tables]
    weights = Weights(LOOKUP.columns, LOOKUP.dimensions, tables, layers, merge, kernel, bias)
    lengths = np.array([20, 13, 1, 20], np.int32)
    ids = rng.integers(1, 5, (4, 20, LOOKUP.columns), np.int32)
    exact, narrow = (scores(weights, eight_bits, ids, lengths) for eight_bits in (False, True))
    differences = [np.abs(exact - narrow)[row, :length] for row, length in enumerate(lengths)]
    assert 0 < max(map(np.mean, differences)) < 0.05 * exact.std()
