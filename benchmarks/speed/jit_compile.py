"""The distillation step with and without XLA on this device.

The reason why `jit_compile="auto"` stays without XLA on a CPU.

    python benchmarks/speed/jit_compile.py              # about 4 minutes on 2 cores
"""

import keras
from _interleaved import arguments, compare, random_batches, record, resnet

import keras_kd


def fit(teacher, batches, jit_compile):
    distiller = keras_kd.Distiller(
        teacher, resnet(20), keras_kd.losses.KnowledgeDistillation()
    )
    distiller.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    return lambda: distiller.fit(batches, epochs=1, verbose=0)


def main():
    args = arguments(__doc__)
    batches = random_batches(args.batch_size, args.steps)
    teacher = resnet(56)
    rows = compare(
        "jit_compile",
        {
            "without XLA": fit(teacher, batches, jit_compile=False),
            "with XLA": fit(teacher, batches, jit_compile=True),
        },
        "without XLA",
        args,
        steps=args.steps,
        batch_size=args.batch_size,
    )
    record("jit_compile", rows, args)


if __name__ == "__main__":
    main()
