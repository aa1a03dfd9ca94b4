"""
Title: Did the student learn its teacher?
Date: 2026-11-21
Description: Distil an ensemble into a small network, then measure what it learnt.
Expected time: about 1 minute on 2 CPU cores (digits), 5 (mnist), 15 (cifar100).

Three convolutional networks form a teacher. Three small students learn: one from the
teacher (temperature 4), one from the labels alone, and a *control*, distilled by the
same recipe from another ensemble. What the first student shares with its teacher beyond
what the control shares is what it learnt from this very teacher (Stanton et al. 2021,
section 3.2).
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
from tqdm import tqdm

import keras_kd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# ## Data: images in [0, 1] and class indices


def load_digits(seed):
    """1,797 real handwritten digits of 8x8 pixels, embedded in scikit-learn."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    digits = load()
    images = (digits.images / 16).astype("float32")[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.4, stratify=digits.target, random_state=seed
    )
    return (x_train, y_train), (x_test, y_test)


def load_tfds(name, train_examples, test_examples, seed):
    """A set of TensorFlow Datasets; a random part of its training examples.

    Of the test examples the first ones, or all where `test_examples` is None.
    """
    import tensorflow_datasets as tfds

    def split(part):
        rows = tfds.as_numpy(tfds.load(name, split=part, batch_size=-1))
        return (rows["image"] / 255).astype("float32"), rows["label"]

    (x_train, y_train), (x_test, y_test) = split("train"), split("test")
    chosen = np.random.default_rng(seed).permutation(len(x_train))[:train_examples]
    test = x_test[:test_examples], y_test[:test_examples]
    return (x_train[chosen], y_train[chosen]), test


# ## Networks: they end in logits, not in a softmax


def conv_net(image_shape, num_classes, width, name):
    """Convolutions and poolings down to about 2x2 pixels, then one dense layer."""
    layers = [keras.Input(image_shape)]
    for stage in range(image_shape[0].bit_length() - 2):
        filters = width * min(2**stage, 4)
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(padding="same"),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential(layers, name=name)


class Progress(keras.callbacks.Callback):
    """One moving line a training."""

    def __init__(self, label):
        super().__init__()
        self.label = label

    def on_train_begin(self, logs=None):
        epochs = self.params["epochs"]
        self.bar = tqdm(total=epochs, desc=f"{self.label:<32}", unit="epoch")

    def on_epoch_end(self, epoch, logs=None):
        shown = ("test/agreement", "test/kl", "accuracy", "loss")
        logs = {k: f"{v:.3f}" for k, v in logs.items() if k in shown}
        self.bar.set_postfix(logs)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


# ## Training


class Experiment:
    """The data and the settings that all networks of this example share."""

    def __init__(self, args):
        self.args = args
        if args.dataset == "digits":
            (self.x, self.y), self.test = load_digits(args.seed)
        else:
            sizes = args.train_examples, args.test_examples
            loaded = load_tfds(args.dataset, *sizes, args.seed)
            (self.x, self.y), self.test = loaded
        self.num_classes = int(self.y.max()) + 1
        self.teacher_rate, self.rate = SETTINGS[args.dataset]["learning_rates"]
        self.logs = pathlib.Path(args.out) / "tensorboard"

    def network(self, width, name):
        return conv_net(self.x.shape[1:], self.num_classes, width, name)

    def optimizer(self, learning_rate, epochs):
        steps = epochs * -(-len(self.x) // self.args.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        return keras.optimizers.Adam(schedule)

    def fit(self, model, label, epochs, y=None, callbacks=()):
        return model.fit(
            self.x,
            y,
            batch_size=self.args.batch_size,
            epochs=epochs,
            verbose=0,
            callbacks=[*callbacks, Progress(label)],
        )

    def train_teacher(self, name):
        """An ensemble of networks that differ in their random seed alone."""
        members = []
        for i in range(self.args.members):
            member = self.network(self.args.teacher_width, f"{name}_{i}")
            member.compile(
                self.optimizer(self.teacher_rate, self.args.teacher_epochs),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
            label = f"{name}, member {i + 1} of {self.args.members}"
            self.fit(member, label, self.args.teacher_epochs, self.y)
            members.append(member)
        return keras_kd.TeacherEnsemble(members, name=name)

    def monitor(self, run, teacher):
        return keras_kd.callbacks.FidelityMonitor(
            {"test": self.test},
            log_dir=self.logs / run,
            every=max(1, self.args.epochs // 8),
            teacher=teacher,
        )

    def distil(self, teacher, run, watched):
        """Distillation alone: the labels are not used (alpha = 0, as the paper)."""
        student = self.network(self.args.student_width, "student")
        distiller = keras_kd.Distiller(
            teacher,
            student,
            keras_kd.losses.KnowledgeDistillation(self.args.temperature),
            student_loss_weight=0.0,
        )
        distiller.compile(self.optimizer(self.rate, self.args.epochs))
        monitor = self.monitor(run, watched)
        history = self.fit(
            distiller, run.replace("_", " "), self.args.epochs, callbacks=[monitor]
        )
        return student, history.history

    def train_on_labels(self, watched):
        student = self.network(self.args.student_width, "student")
        student.compile(
            self.optimizer(self.rate, self.args.epochs),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        monitor = self.monitor("labels_alone", watched)
        history = self.fit(student, "labels alone", self.args.epochs, self.y, [monitor])
        return student, history.history


# ## Pictures


def plot_fidelity(histories, path):
    """What each student shares with the teacher of the first, epoch by epoch."""
    charts = {
        "test/agreement": "agreement with the teacher\n(higher is closer)",
        "test/kl": "KL from the teacher, nats\n(lower is closer)",
        "test/accuracy": "accuracy on the labels\n(dashed: the teacher)",
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for ax, (key, title) in zip(axes, charts.items(), strict=True):
        for name, history in histories.items():
            epochs = len(history["loss"])
            seen = np.linspace(0, epochs, len(history[key]) + 1)[1:]
            ax.plot(seen, history[key], marker="o", markersize=3, label=name)
        ax.set(title=title, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
    axes[1].set_yscale("log", subs=[2, 5])
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_minor_formatter("{x:g}")
    teacher_accuracy = next(iter(histories.values()))["test/teacher_accuracy"][-1]
    axes[2].axhline(teacher_accuracy, color="black", linestyle="--")
    axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=120)


def plot_reliability(models, test, path):
    """Accuracy of each confidence bin; on the diagonal a model is calibrated."""
    figure, axes = plt.subplots(
        1, len(models), figsize=(3.4 * len(models), 3.8), layout="constrained"
    )
    x, y = test
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        ece = keras_kd.metrics.ExpectedCalibrationError()
        ece.update_state(y, model.predict(x, verbose=0))
        weight, accuracy, confidence = map(np.asarray, ece.bins())
        width = 1 / len(weight)
        centres = (np.arange(len(weight)) + 0.5) * width
        share = weight / weight.sum()
        ax.bar(centres, accuracy, width * 0.9, label="accuracy in the bin")
        ax.bar(centres, -share, width * 0.9, color="gray", label="share of images")
        ax.plot(confidence, accuracy, "k.", label="at its mean confidence")
        ax.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(title=f"{name}: ECE {float(ece.result()):.3f}", xlabel="confidence")
        ax.set(xlim=(0, 1), ylim=(-1, 1.02), yticks=[-1, -0.5, 0, 0.5, 1])
        ax.set_yticklabels(["1", "0.5", "0", "0.5", "1"])
    axes[0].legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=120)


# ## What it means


def verdict(fidelity, labels_alone):
    """The table in two sentences."""
    student, control = fidelity.student, fidelity.control
    closer = student.kl < control.kl
    return (
        f"The distilled student repeats its teacher's class on "
        f"{student.agreement:.1%} of the test images; the control, which never saw "
        f"this teacher, on {control.agreement:.1%}, and the student of labels alone on "
        f"{labels_alone.agreement:.1%}.\nIts probabilities are "
        f"{'closer to' if closer else 'no closer to'} the teacher's than the control's "
        f"(KL {student.kl:.4f} against {control.kl:.4f} nats; labels alone "
        f"{labels_alone.kl:.4f}): "
        + (
            "it did learn this teacher, though not all of it."
            if closer
            else "what it learnt is the task, not this teacher."
        )
    )


def train(experiment):
    """The teacher, and `{run: (student, history)}` of the three students."""
    teacher = experiment.train_teacher("teacher")
    other = experiment.train_teacher("another_teacher")
    return teacher, {
        "distilled": experiment.distil(teacher, "distilled", teacher),
        "control": experiment.distil(other, "control", teacher),
        "labels alone": experiment.train_on_labels(teacher),
    }


def measure(teacher, students, test):
    """Fidelity of the distilled student beside the control, and of labels alone."""
    fidelity = keras_kd.evaluate_fidelity(
        teacher,
        students["distilled"],
        test,
        control=students["control"],
        verbose=0,
    )
    labels_alone = keras_kd.evaluate_fidelity(
        teacher, students["labels alone"], test, verbose=0
    )
    return fidelity, labels_alone


def numbers_of(fidelity, labels_alone):
    """Both results as one flat dict."""
    return {
        **fidelity.as_dict(),
        **{
            key.replace("student", "labels_alone"): value
            for key, value in labels_alone.as_dict().items()
            if key.startswith("student")
        },
    }


def main(argv=None):
    args = parse_arguments(argv)
    started = time.perf_counter()
    keras.utils.set_random_seed(args.seed)
    experiment = Experiment(args)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    print(
        f"{args.dataset}: {len(experiment.x)} images to learn from, "
        f"{len(experiment.test[0])} to test on; results go to {out}/"
    )

    teacher, trained = train(experiment)
    students = {run: student for run, (student, _) in trained.items()}
    histories = {run: history for run, (_, history) in trained.items()}
    fidelity, labels_alone = measure(teacher, students, experiment.test)
    numbers = numbers_of(fidelity, labels_alone)

    plot_fidelity(histories, out / "fidelity_curves.png")
    models = {"teacher": teacher, **students}
    plot_reliability(models, experiment.test, out / "reliability.png")
    student = students["distilled"]
    student.save(out / "student.keras")
    (out / "fidelity.json").write_text(json.dumps(numbers, indent=2) + "\n")

    print(
        f"\nDistilled student ({student.count_params():,} weights), its teacher "
        f"({teacher.count_params():,}) and the control:\n\n{fidelity}"
    )
    print(f"\nThe same network trained on labels alone:\n\n{labels_alone}")
    print(f"\n{verdict(fidelity, labels_alone.student)}")
    print(f"\nPictures: {out}/fidelity_curves.png and {out}/reliability.png")
    print(f"Curves:   tensorboard --logdir {experiment.logs}")
    print(f"Done in {time.perf_counter() - started:.0f} seconds.")
    return numbers


# Epochs and initial learning rates of teachers and students: enough for each to settle,
# short enough for a CPU.
SETTINGS = {
    "digits": {"epochs": (15, 50), "learning_rates": (3e-3, 1e-2)},
    "mnist": {"epochs": (5, 15), "learning_rates": (3e-3, 1e-2)},
    "cifar100": {"epochs": (10, 20), "learning_rates": (1e-3, 3e-3)},
}


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        description="Distil an ensemble into a small student, beside a student trained "
        "on labels alone and a control distilled from another ensemble; then measure "
        "what the student learnt from its teacher."
    )
    add = parser.add_argument
    add(
        "--dataset",
        choices=list(SETTINGS),
        default="digits",
        help="digits (default) is embedded in scikit-learn; the others come through "
        "TensorFlow Datasets, which downloads them or reads TFDS_DATA_DIR",
    )
    add(
        "--train-examples",
        type=int,
        default=10_000,
        help="training images of mnist or cifar100 to use (default: 10000)",
    )
    add(
        "--test-examples",
        type=int,
        help="test images of mnist or cifar100 to use (default: all)",
    )
    add("--members", type=int, default=3, help="networks in a teacher (default: 3)")
    add(
        "--temperature",
        type=float,
        default=4.0,
        help="of the distillation; 1 compares the probabilities as they are, more "
        "gives unlikely classes more say (default: 4)",
    )
    for option, i in (("--teacher-epochs", 0), ("--epochs", 1)):
        defaults = ", ".join(f"{s['epochs'][i]} {n}" for n, s in SETTINGS.items())
        who = "student" if i else "teacher"
        add(option, type=int, help=f"epochs of each {who} (default: {defaults})")
    add("--batch-size", type=int, default=64, help="default: 64")
    add("--teacher-width", type=int, default=24, help="first filters (default: 24)")
    add("--student-width", type=int, default=10, help="first filters (default: 10)")
    add("--seed", type=int, default=0, help="of data split and networks (default: 0)")
    add("--out", help="folder of results (default: runs/DATASET)")
    add("--quick", action="store_true", help="2 members, few epochs: see that it runs")
    args = parser.parse_args(argv)
    if args.quick:
        args.teacher_epochs, args.epochs, args.members = 3, 4, 2
        args.train_examples = min(args.train_examples, 1_000)
    teacher_epochs, epochs = SETTINGS[args.dataset]["epochs"]
    args.teacher_epochs = args.teacher_epochs or teacher_epochs
    args.epochs = args.epochs or epochs
    args.out = args.out or f"runs/{args.dataset}"
    return args


if __name__ == "__main__":
    main()
