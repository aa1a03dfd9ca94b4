"""
Title: Synthetic images for distillation
Date: 2026-11-21
Description: Train the papers' SN-GAN, and keep its generator for the data pipeline.
Expected time: 1 minute with --quick (digits), 1 hour on MNIST, on 2 CPU cores.

A teacher can label images that nobody took. Stanton et al. 2021 add samples of an
SN-GAN to the student's data (section 5.1). This trains one, on the images alone, and
writes

- `generator.keras`, a plain Keras model from latent vectors to images in [-1, 1], which
  `keras_kd.data.gan_samples` takes by its path;
- `samples/`, the same 64 latent vectors along training;
- `curve.csv`, `quality.jsonl` and `curve.png`: losses, and how near the samples are to
  the real images in the eyes of a small classifier trained here.

Interrupted, it goes on where it stopped when it is started again with the same --out.
The paper's own runs, 100,000 or 391,000 steps on CIFAR-100, want an accelerator:

    python examples/sngan.py --dataset cifar100 --training appendix
    python examples/sngan.py --dataset cifar100 --training released
"""

import argparse
import csv
import dataclasses
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np

import keras_kd
from keras_kd import data

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# ## Images in [-1, 1], as the generator's tanh gives them


def unit_cube(examples, policy="none", seed=0):
    """Examples of a source with pixels in [-1, 1]."""
    views = examples.apply(data.augment(policy, seed=seed))
    return views.apply(data.normalize("unit_cube"))


def real_batches(source, size, seed):
    """Endless shuffled batches `(images, labels)`; photographs are also mirrored."""
    flips = [data.ops.RandomHorizontalFlip()] if source.shape[-1] == 3 else []
    policy = data.AugmentationPolicy(flips)
    # Each repetition is a pass with new views.
    rows = unit_cube(source.examples(seed=seed).repeat(), policy, seed)
    return rows.batch(size).map(data.inputs_and_labels).prefetch(2)


def all_images(source):
    """Array of all images in [-1, 1]."""
    batches = unit_cube(source.examples(shuffle=False)).batch(1024)
    return np.concatenate([batch["image"] for batch in batches.as_numpy_iterator()])


# ## A small classifier, whose features measure how near samples are to real images


def train_classifier(images, labels, num_classes):
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(name="features"),
            keras.layers.Dense(num_classes, name="logits"),
        ],
        name="small_classifier",
    )
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    held_out = len(images) // 6
    model.fit(
        images[held_out:],
        labels[held_out:],
        validation_data=(images[:held_out], labels[:held_out]),
        epochs=2 if len(images) > 10_000 else 20,
        batch_size=64,
        verbose=0,
    )
    accuracy = model.evaluate(images[:held_out], labels[:held_out], verbose=0)[1]
    print(
        f"Classifier for the quality curve: {100 * accuracy:.1f} % on held-out images"
    )
    return model


class Quality(keras.callbacks.Callback):
    """Fréchet distance and inception score along training, as JSON lines."""

    def __init__(self, path, images, classifier, every, num_images):
        super().__init__()
        self.path, self.every = path, every
        self.arguments = {
            "images": images[:num_images],
            "classifier": classifier,
            "num_images": num_images,
            "verbose": 0,
        }

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"]
        if (epoch + 1) % self.every and not last:
            return
        found = keras_kd.probes.generator_quality(self.model, **self.arguments)
        step = int(self.model.generator_optimizer.iterations)
        row = {"step": step, **dataclasses.asdict(found)}
        with self.path.open("a") as lines:
            lines.write(json.dumps(row) + "\n")


def plot_curve(folder):
    lines = (folder / "quality.jsonl").read_text().splitlines()
    quality = [json.loads(line) for line in lines]
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    per_epoch = quality[-1]["step"] / (int(rows[-1]["epoch"]) + 1)
    steps = [(int(row["epoch"]) + 1) * per_epoch for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for side in ("generator", "discriminator"):
        left.plot(steps, [float(row[f"{side}_loss"]) for row in rows], label=side)
    left.set(xlabel="generator steps", ylabel="hinge loss")
    left.legend()
    at = [row["step"] for row in quality]
    right.plot(at, [row["frechet_distance"] for row in quality], "o-", ms=3)
    right.set(xlabel="generator steps", ylabel="Fréchet distance (small classifier)")
    right.set_ylim(bottom=0)
    figure.savefig(folder / "curve.png", dpi=110)
    plt.close(figure)


# ## Training


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", default="digits", help="digits, mnist, cifar10, cifar100, ...")
    add(
        "--training",
        choices=["appendix", "released", "small"],
        default="small",
        help="a recorded recipe of the paper, or one for two CPU cores (default)",
    )
    add("--steps", type=int, help="generator steps, in place of the recipe's")
    add("--width", type=int, help="channels of both networks, in place of 256 and 128")
    add("--conditional", action="store_true", help="tell both networks the class")
    add("--epoch-steps", type=int, default=100, help="steps between two log lines")
    add("--quality-every", type=int, default=2, help="log lines between two measures")
    add("--out", default="runs/sngan", help="folder of the results")
    add("--seed", type=int, default=0)
    add("--quick", action="store_true", help="100 steps on digits with 16 channels")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.width, arguments.epoch_steps = 100, 16, 25
    return arguments


def training_of(arguments):
    known = {
        "small": keras_kd.models.SNGANTraining(
            generator_steps=3000,
            batch_size=64,
            discriminator_steps=2,
            minibatches=2,
            beta_1=0.5,
        ),
        "appendix": "appendix",
        "released": "released",
    }[arguments.training]
    default = keras_kd.models.SNGAN((8, 8, 1), training=known).training
    steps = arguments.steps or default.generator_steps
    return dataclasses.replace(default, generator_steps=steps)


def main():
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)

    source = data.load(arguments.dataset, split="train")
    real = all_images(source)
    classifier = train_classifier(real, source.labels, source.num_classes)

    training = training_of(arguments)
    width = arguments.width
    gan = keras_kd.models.SNGAN(
        source.shape,
        generator_width=width or 256,
        discriminator_width=width or 128,
        num_classes=source.num_classes if arguments.conditional else None,
        training=training,
        seed=arguments.seed,
    )
    gan.compile()
    epochs = -(-training.generator_steps // arguments.epoch_steps)
    batches = real_batches(source, gan.training.images_per_step, arguments.seed)
    start = time.perf_counter()
    gan.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=arguments.epoch_steps,
        verbose=2,
        callbacks=[
            keras.callbacks.BackupAndRestore(folder / "backup"),
            keras_kd.callbacks.SampleGrid(directory=folder / "samples", every=5),
            Quality(
                folder / "quality.jsonl",
                real,
                classifier,
                arguments.quality_every,
                min(2000, len(real)),
            ),
            keras.callbacks.CSVLogger(folder / "curve.csv", append=True),
        ],
    )
    minutes = (time.perf_counter() - start) / 60
    gan.averaged_generator.save(folder / "generator.keras")
    plot_curve(folder)
    print(
        f"{epochs * arguments.epoch_steps} steps, {minutes:.1f} minutes. See {folder}"
    )


if __name__ == "__main__":
    main()
