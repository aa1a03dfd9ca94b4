"""What online GAN samples cost a training step: 25 of 128 images, as in the paper.

ResNet-56 to ResNet-20 (basic blocks, CIFAR size) on 128 images a step: all of them from
memory; or 103 from memory and 25 sampled in the pipeline by the papers' generator
(4.08M parameters, three blocks of 256 channels), by `gan_samples` and by a plain map
that holds the model; and the pipeline alone, without a step. The share of the step that
sampling takes is 1 - `speed_ratio` of the step with samples.
    python benchmarks/speed/gan_sampling.py             # about 5 minutes on 2 cores
"""

import keras
import numpy as np
import tensorflow as tf
from _interleaved import arguments, compare, record, resnet

import keras_kd
from keras_kd import data


def plain_map(generator, real, synthetic):
    """The same samples by a map of a user's own."""

    def append(batch):
        latent = tf.random.stateless_normal(
            [synthetic, generator.input_shape[-1]],
            tf.stack([batch["index"][0], batch["view"][0]]),
        )
        images = generator(latent, training=False)
        return {
            "image": tf.concat([batch["image"], images], axis=0),
            "label": tf.pad(batch["label"], [[0, synthetic]], constant_values=-1),
        }

    return real.map(append, num_parallel_calls=tf.data.AUTOTUNE)


def examples(size):
    rng = np.random.default_rng(0)
    rows = {
        "index": np.arange(size),
        "view": np.zeros(size, "int64"),
        "image": rng.uniform(-1, 1, (size, 32, 32, 3)).astype("float32"),
        "label": rng.integers(0, 100, size),
    }
    return tf.data.Dataset.from_tensor_slices(rows)


def ready(batches):
    return batches.map(data.inputs_and_labels).prefetch(2)


def fit(teacher, batches):
    distiller = keras_kd.Distiller(
        teacher, resnet(20), keras_kd.losses.KnowledgeDistillation()
    )
    distiller.compile(
        keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda: distiller.fit(batches, epochs=1, verbose=0)


def read(batches):
    def run():
        for _ in batches:
            pass

    return run


def main():
    args = arguments(__doc__)
    synthetic = int(0.2 * args.batch_size)
    real_size = args.batch_size - synthetic
    real = examples(real_size * args.steps).batch(real_size)
    generator = keras_kd.models.sngan_generator()
    pipelines = {
        "memory": ready(examples(args.batch_size * args.steps).batch(args.batch_size)),
        "gan_samples": ready(real.apply(data.gan_samples(generator, ratio=0.2))),
        "plain map": ready(plain_map(generator, real, synthetic)),
    }
    teacher = resnet(56)
    candidates = {
        f"step, {name}": fit(teacher, batches) for name, batches in pipelines.items()
    }
    candidates["no step, gan_samples"] = read(pipelines["gan_samples"])
    rows = compare(
        "gan_sampling",
        candidates,
        "step, memory",
        args,
        steps=args.steps,
        batch_size=args.batch_size,
        synthetic=synthetic,
        generator_parameters=generator.count_params(),
    )
    record("gan_sampling", rows, args)


if __name__ == "__main__":
    main()
