"""`Distiller.fit` against the same step written by hand in TensorFlow.

ResNet-56 to ResNet-20 (basic blocks, CIFAR size), label loss and T^2 KL, SGD with
momentum. Every candidate does its own tracking: the hand-written step the mean of its
loss alone, `fit` of both packages all that they log by default. With `feature`, one
feature loss is added (`keras.distillation` then runs the student twice).

    python benchmarks/speed/training_step.py            # about 5 minutes on 2 cores
"""

import keras
import tensorflow as tf
from _interleaved import arguments, compare, random_batches, resnet

import keras_kd

TEMPERATURE = 4.0
LAYER = "stage_1_block_0"


def label_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def optimizer():
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)


def hand_written(teacher, student, batches):
    """What a careful user would write: one forward pass of each, one compiled step."""
    sgd, mean = optimizer(), keras.metrics.Mean()
    cross_entropy = label_loss()

    @tf.function
    def step(x, y):
        teacher_logits = teacher(x, training=False)
        log_p = tf.nn.log_softmax(teacher_logits / TEMPERATURE)
        with tf.GradientTape() as tape:
            logits = student(x, training=True)
            log_q = tf.nn.log_softmax(logits / TEMPERATURE)
            kl = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
            loss = 0.5 * cross_entropy(y, logits)
            loss += 0.5 * TEMPERATURE**2 * tf.reduce_mean(kl)
        weights = student.trainable_weights
        sgd.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        mean.update_state(loss)

    def run():
        mean.reset_state()
        for x, y in batches:
            step(x, y)
        return float(mean.result())

    return run


def fit(distiller, batches):
    distiller.compile(optimizer(), label_loss())
    return lambda: distiller.fit(batches, epochs=1, verbose=0)


def main():
    args = arguments(__doc__)
    batches = random_batches(args.batch_size, args.steps)
    teacher = resnet(56)
    ours = keras_kd.losses.KnowledgeDistillation(TEMPERATURE)
    theirs = keras.distillation.LogitsDistillation(
        TEMPERATURE, loss=keras.losses.KLDivergence()
    )
    candidates = {
        "hand-written": hand_written(teacher, resnet(20), batches),
        "keras_kd": fit(keras_kd.Distiller(teacher, resnet(20), ours), batches),
        "keras_kd, feature": fit(
            keras_kd.Distiller(
                teacher,
                resnet(20),
                [ours, keras_kd.losses.FeatureMatching(LAYER, LAYER)],
            ),
            batches,
        ),
    }
    for name, losses in {
        "keras.distillation": [theirs],
        "keras.distillation, feature": [
            theirs,
            keras.distillation.FeatureDistillation("mse", LAYER, LAYER),
        ],
    }.items():
        # A copy: keras.distillation freezes the teacher that it is given.
        copy = keras.models.clone_model(teacher)
        distiller = keras.distillation.Distiller(copy, resnet(20), losses)
        candidates[name] = fit(distiller, batches)
    compare(
        "training_step",
        candidates,
        "hand-written",
        args.rounds,
        steps=args.steps,
        batch_size=args.batch_size,
    )


if __name__ == "__main__":
    main()
