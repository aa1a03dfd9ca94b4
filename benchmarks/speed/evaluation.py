"""`Distiller.evaluate` with metrics of fidelity against without.

CIFARResNet-56 to CIFARResNet-20 on batches of noise. Both log what a Distiller logs by
itself (loss, agreement, KL of the batches); "with" adds label accuracy and five metrics
of fidelity.

    python benchmarks/speed/evaluation.py                     # about 3 minutes
"""

import keras
from _interleaved import arguments, compare, random_batches, record

import keras_kd
from keras_kd import metrics


def evaluate(teacher, student, batches, **compiled):
    loss = keras_kd.losses.KnowledgeDistillation()
    distiller = keras_kd.Distiller(teacher, student, loss)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(loss=cross_entropy, **compiled)
    return lambda: distiller.evaluate(batches, verbose=0)


def main():
    args = arguments(__doc__)
    batches = random_batches(args.batch_size, args.steps)
    teacher, student = (keras_kd.models.CIFARResNet(depth) for depth in (56, 20))
    of_fidelity = [
        metrics.Agreement(k=5, name="agreement_5"),
        metrics.PredictiveKL(name="kl"),
        metrics.ExpectedCalibrationError(),
        metrics.NegativeLogLikelihood(),
        metrics.BrierScore(),
    ]
    rows = compare(
        "evaluation",
        {
            "without": evaluate(teacher, student, batches),
            "with metrics of fidelity": evaluate(
                teacher,
                student,
                batches,
                metrics=["accuracy"],
                fidelity_metrics=of_fidelity,
            ),
        },
        "without",
        args,
        steps=args.steps,
        batch_size=args.batch_size,
    )
    record("evaluation", rows, args)


if __name__ == "__main__":
    main()
