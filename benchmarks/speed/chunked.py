"""Loss and gradient of 8,192 positions over 5,000 classes: whole, and in chunks.

A turn computes T^2 KL and its gradient by the student's logits in one compiled step,
`--steps` times, with and without XLA. The chunked form computes each softmax twice, and
holds the intermediates of one chunk only (tests/losses/test_chunked.py measures that).
    python benchmarks/speed/chunked.py             # about 3 minutes on 2 cores
"""

import functools

import tensorflow as tf
from _interleaved import arguments, compare

from keras_kd import losses

CLASSES = 5000
CHUNK_SIZES = (128, 512, 1024, 4096)


def turn(function, teacher, student, steps, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def loss_and_gradient(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            loss = tf.reduce_mean(function(teacher, student, temperature=2.0))
        return loss, tape.gradient(loss, student)

    def run():
        for _ in range(steps):
            loss, gradient = loss_and_gradient(teacher, student)
            float(loss), float(gradient[0, 0])  # wait for both

    return run


def main():
    args = arguments(__doc__)
    positions = 64 * args.batch_size
    sides = [
        tf.random.stateless_normal((positions, CLASSES), (0, side)) for side in (1, 2)
    ]
    functions = {"whole": losses.knowledge_distillation}
    for size in CHUNK_SIZES:
        functions[f"chunks of {size}"] = functools.partial(
            losses.chunked_knowledge_distillation, chunk_size=size
        )
    for jit_compile in (False, True):
        compare(
            "chunked, XLA" if jit_compile else "chunked",
            {
                key: turn(function, *sides, args.steps, jit_compile)
                for key, function in functions.items()
            },
            "whole",
            args.rounds,
            steps=args.steps,
            positions=positions,
            classes=CLASSES,
        )


if __name__ == "__main__":
    main()
