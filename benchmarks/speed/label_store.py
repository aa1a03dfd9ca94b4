"""Training from a store of answers, writing one, and what its formats cost.

1. `fit` of a Distiller from a store against `fit` of the student alone in Keras, on the
   same views of CIFAR-sized images. The size of the ensemble does not matter: a batch
   brings one row of logits an image, whoever gave it.
2. `LabelStore.write` in float32 against the teacher's own `predict` on the same views
   (`--images` of them). Each turn starts anew, which takes some seconds of its own.
3. With `--teacher FILE`, a trained model of 100 classes: bytes a view and the mean KL
   from the exact answers of each format on real CIFAR-100 images, at T = 1 and 4.

    python benchmarks/speed/label_store.py                    # about 5 minutes
"""

import json
import shutil
import tempfile

import keras
import numpy as np
from _interleaved import arguments, compare, record

import keras_kd
from keras_kd import data
from keras_kd.data.label_store.formats import (
    FORMATS,
    divergences,
    fitted_format,
)

PIPELINE = data.augment("baseline", seed=0)


def source_of_noise(size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, 32, 32, 3)).astype("uint8")
    return data.from_arrays(images, rng.integers(0, 100, size), 100)


def batches_of(source, batch_size, shuffle=True):
    views = source.examples(shuffle=shuffle).apply(PIPELINE).batch(batch_size)
    return views.map(data.inputs_and_labels).prefetch(2)


def fit(model, batches):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    model.compile(optimizer, loss)
    return lambda: model.fit(batches, epochs=1, verbose=0, shuffle=False)


def training(source, args):
    """Rows of the first comparison."""
    teacher = keras_kd.models.CIFARResNet(20)
    with tempfile.TemporaryDirectory() as folder:
        store = data.LabelStore.write(
            teacher, source, folder, pipeline=PIPELINE, format="5bit", verbose=0
        )
        distiller = keras_kd.Distiller(
            None,
            keras_kd.models.CIFARResNet(20),
            keras_kd.losses.KnowledgeDistillation(),
        )
        stored = store.dataset(source, PIPELINE, batch_size=args.batch_size)
        candidates = {
            "Keras, student alone": fit(
                keras_kd.models.CIFARResNet(20), batches_of(source, args.batch_size)
            ),
            "keras_kd, from a store": fit(distiller, stored),
        }
        return compare(
            "label_store",
            candidates,
            "Keras, student alone",
            args,
            steps=args.steps,
            batch_size=args.batch_size,
        )


def writing(source, args):
    """Rows of the second comparison; each turn writes a store of its own."""
    teacher = keras_kd.models.CIFARResNet(56)
    batches = batches_of(source, args.batch_size, shuffle=False)

    def write():
        folder = tempfile.mkdtemp()
        data.LabelStore.write(
            teacher,
            source,
            folder,
            pipeline=PIPELINE,
            format="float32",
            batch_size=args.batch_size,
            verbose=0,
        )
        shutil.rmtree(folder)

    return compare(
        "label_store",
        {
            "teacher.predict": lambda: teacher.predict(batches, verbose=0),
            "LabelStore.write": write,
        },
        "teacher.predict",
        args,
        examples=source.size,
        batch_size=args.batch_size,
    )


def formats(teacher, size):
    """Rows of what each format costs on views that it was not fitted on."""
    source = data.subsample(data.load("cifar100"), size, seed=0)
    views = batches_of(source, 500, shuffle=False)
    logits = teacher.predict(views, verbose=0)
    accuracy = float((logits.argmax(-1) == source.labels).mean())
    print(json.dumps({"teacher_accuracy": accuracy}), flush=True)
    fitted, tried = logits[:1024], logits[1024:]
    rows = []
    for temperature in (1.0, 4.0):
        for name, k in [*((name, 10) for name in FORMATS), ("top_k", 4)]:
            form = fitted_format(name, fitted, k, temperature)
            stored = form.decode(form.encode(tried))
            row = {
                "format": f"top_k, k = {k}" if name == "top_k" else name,
                "bytes": form.record.itemsize,
                "temperature": temperature,
                "mean_kl": float(divergences(tried, stored, temperature).mean()),
                "same_top_class": float((tried.argmax(-1) == stored.argmax(-1)).mean()),
                "teacher_accuracy": accuracy,
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def main():
    args = arguments(__doc__, teacher="", images=4096)
    rows = training(source_of_noise(args.steps * args.batch_size), args)
    images = args.batch_size if args.quick else args.images
    rows += writing(source_of_noise(images), args)
    record("label_store", rows, args)
    if args.teacher:
        teacher = keras.saving.load_model(args.teacher)
        record("label_store_formats", formats(teacher, 4096), args)


if __name__ == "__main__":
    main()
