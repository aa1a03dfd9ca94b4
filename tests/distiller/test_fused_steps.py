"""Steps with fused batch normalisation: the numbers of Keras's own, over a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import sparse_cross_entropy
from two_devices import on_two_devices

import keras_kd

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6, 6, 3)).astype("float32")
Y = rng.integers(0, 3, 40)


class Graph(keras.layers.Layer):
    """Keeps the graphs that it is traced in."""

    def __init__(self):
        super().__init__()
        self.graphs = []

    def call(self, inputs):
        if tf.is_tensor(inputs) and not tf.executing_eagerly():
            self.graphs.append(tf.compat.v1.get_default_graph())
        return inputs


def network(name, seed, *more):
    layers = keras.layers

    def block(filters, i):
        init = keras.initializers.GlorotUniform(seed=10 * seed + i)
        return [
            layers.Conv2D(filters, 3, use_bias=False, kernel_initializer=init),
            layers.BatchNormalization(name=f"norm_{i}", momentum=0.9),
            layers.ReLU(),
        ]

    init = keras.initializers.GlorotUniform(seed=seed)
    head = layers.Dense(3, kernel_initializer=init)
    pool = layers.GlobalAveragePooling2D()
    return keras.Sequential(
        [keras.Input((6, 6, 3)), *block(4, 1), *block(6, 2), *more, pool, head],
        name=name,
    )


def trained(epochs, **compiled):
    """A training, its logs, and the kinds of operations of its graphs."""
    graph = Graph()
    teacher, student = network("teacher", 1), network("student", 2, graph)
    losses = [
        keras_kd.losses.KnowledgeDistillation(),
        keras_kd.losses.FeatureMatching("norm_1", "norm_1"),
    ]
    model = keras_kd.Distiller(teacher, student, losses)
    model.compile(keras.optimizers.SGD(0.02), sparse_cross_entropy(), **compiled)
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    history = model.fit(batches, epochs=epochs, verbose=0, shuffle=False).history
    kinds = {op.type for one in graph.graphs for op in one.get_operations()}
    return student, history, kinds


def test_fifty_steps_end_at_the_same_weights_and_statistics():
    fused, logs, kinds = trained(10)
    plain, logs_of_plain, kinds_of_plain = trained(10, fuse_batch_norm=False)
    assert {"FusedBatchNormV3", "FusedBatchNormGradV3"} <= kinds
    assert not {kind for kind in kinds_of_plain if "BatchNorm" in kind}
    for one, other in zip(fused.weights, plain.weights, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=one.path)
    for name in logs:
        assert_allclose(logs[name], logs_of_plain[name], rtol=1e-5, err_msg=name)
    assert_allclose(fused.predict(X, verbose=0), plain.predict(X, verbose=0), atol=1e-5)
    moved = fused.get_layer("norm_2").moving_variance.numpy()
    assert np.abs(moved - 1.0).min() > 0.01


def test_replicas_run_fused_too():
    with on_two_devices().scope():
        fused, _, kinds = trained(1)
    with on_two_devices().scope():
        plain, _, _ = trained(1, fuse_batch_norm=False)
    assert "FusedBatchNormV3" in kinds
    for one, other in zip(fused.weights, plain.weights, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=one.path)


@pytest.mark.parametrize("fuses", [True, False])
def test_a_saved_distiller_remembers_it(tmp_path, fuses):
    model = keras_kd.Distiller(
        network("teacher", 1),
        network("student", 2),
        keras_kd.losses.KnowledgeDistillation(),
    )
    model.compile(keras.optimizers.SGD(), sparse_cross_entropy(), fuse_batch_norm=fuses)
    model.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    assert loaded.get_compile_config()["fuse_batch_norm"] is fuses
