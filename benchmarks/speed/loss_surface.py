"""What a point of a loss surface costs: at most 1.15 of a bare forward pass.

ResNet-20 (basic blocks, CIFAR size) on a fixed sample: a compiled forward pass over its
batches and nothing else; a point of the plane through three networks, with loss,
agreement and accuracy (`LossSurfaceProbe`, which compiles once; `loss_surface` runs the
same after compiling); and the loop that sets weights and calls `evaluate`, which gives
loss and accuracy. Each turn is 12 points. A point's cost is 1 / `speed_ratio`.
    python benchmarks/speed/loss_surface.py             # about 3 minutes on 2 cores
"""

import keras
import numpy as np
import tensorflow as tf
from _interleaved import arguments, compare, record, resnet

import keras_kd

POINTS = 3 * 3 + 3  # the grid, and the anchors


def bare(model, x, batch_size):
    batches = [tf.constant(x[i : i + batch_size]) for i in range(0, len(x), batch_size)]
    forward = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    def run():
        for _ in range(POINTS):
            for output in [forward(batch) for batch in batches]:
                output.numpy()

    return run


def surface(teacher, student, x, y, batch_size):
    distiller = keras_kd.Distiller(
        teacher, student, keras_kd.losses.KnowledgeDistillation(4.0)
    )
    probe = keras_kd.callbacks.LossSurfaceProbe(
        x, y, section="plane", resolution=3, limit=len(x), batch_size=batch_size,
        loss=keras_kd.losses.KnowledgeDistillation(4.0),
    )  # fmt: skip
    probe.set_params({"epochs": 1})
    probe.set_model(distiller)
    probe.on_train_begin()
    student.set_weights(resnet(20).get_weights())
    return lambda: probe.on_epoch_end(0)


def loop(model, states, x, y, batch_size):
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    coefficients = np.random.default_rng(0).dirichlet(np.ones(3), POINTS)

    def run():
        for point in coefficients:
            parts = [[c * w for w in s] for c, s in zip(point, states, strict=True)]
            model.set_weights([sum(part) for part in zip(*parts, strict=True)])
            model.evaluate(x, y, batch_size=batch_size, verbose=0)

    return run


def main():
    args = arguments(__doc__)
    rng = np.random.default_rng(0)
    size = args.batch_size * args.steps
    x = rng.normal(size=(size, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 100, size)
    states = [resnet(20).get_weights() for _ in range(3)]
    rows = compare(
        "loss_surface",
        {
            "bare forward": bare(resnet(20), x, args.batch_size),
            "keras_kd": surface(resnet(20), resnet(20), x, y, args.batch_size),
            "set_weights, evaluate": loop(resnet(20), states, x, y, args.batch_size),
        },
        "bare forward",
        args,
        points=POINTS,
        examples=size,
        batch_size=args.batch_size,
    )
    record("loss_surface", rows, args)


if __name__ == "__main__":
    main()
