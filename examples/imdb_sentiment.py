"""
Title: What does a student of text learn from an ensemble?
Date: 2026-11-21
Description: Distil bidirectional LSTMs on IMDB, and measure fidelity by ensemble size.
Expected time: about 25 minutes on one free CPU core; `--quick` 1 minute.

Networks read the first 100 tokens of a film review and say whether it is favourable.
One to three of them, which differ in their random seed alone, form a teacher. A student
of the same architecture learns from the teacher's probabilities, and a control of the
same architecture from the labels. Stanton et al. (2021, Table 2) found that the student
disagrees with its teacher on every tenth review, less with larger ensembles, and that a
student may be better than a teacher of one network.

The reviews come through TensorFlow Datasets, which downloads them or reads the folder
that the environment variable `TFDS_DATA_DIR` names.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_kd
from keras_kd import data, models

# ## Data: reviews as 100 token ids


def load_reviews(train_examples, test_examples):
    """Tokens and labels of both halves; the vocabulary is that of the training half.

    Tokens are those of the paper: words and punctuation in lower case that occur ten
    times in the training reviews; 0 is padding, 1 any other token.
    """
    reviews = {
        part: data.load("imdb_reviews", split=part) for part in ("train", "test")
    }
    vectorization = data.text_vectorization(reviews["train"], sequence_length=100)

    def arrays(part, size):
        batches = reviews[part].dataset.apply(data.tokenize(vectorization)).batch(1000)
        rows = list(batches.take(-1 if size is None else -(-size // 1000)))
        tokens, labels = (
            np.concatenate([batch[key] for batch in rows])[:size]
            for key in ("tokens", "label")
        )
        return tokens, labels

    train, test = arrays("train", train_examples), arrays("test", test_examples)
    return train, test, vectorization.vocabulary_size()


# ## Training


class Experiment:
    """The data and the settings that all networks of this example share."""

    def __init__(self, args):
        self.args = args
        loaded = load_reviews(args.train_examples, args.test_examples)
        self.train, self.test, self.vocabulary_size = loaded
        # Curves along training: of some test reviews, for the paper holds none back.
        # Nothing is chosen by them.
        self.watched = tuple(array[: args.watched] for array in self.test)

    def network(self, name):
        network = models.BiLSTM(
            self.vocabulary_size, layers=self.args.layers, name=name
        )
        return models.coupled_weight_decay(network, 1e-3 if self.args.paper else 0)

    def settings(self):
        recipe = "SGD with Nesterov momentum 0.9, weight decay 1e-3, rate 1e-2"
        if not self.args.paper:
            recipe = f"Adam, rate {self.args.learning_rate:g}"
        return {
            "recipe": f"{recipe} with cosine decay, {self.args.epochs} epochs, batches "
            f"of {self.args.batch_size}, temperature {self.args.temperature:g}",
            "train_reviews": len(self.train[0]),
            "vocabulary_size": self.vocabulary_size,
            **vars(self.args),
        }

    def optimizer(self):
        steps = self.args.epochs * -(-len(self.train[0]) // self.args.batch_size)
        rate = 1e-2 if self.args.paper else self.args.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-4)
        if self.args.paper:
            return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
        return keras.optimizers.Adam(schedule)

    def fit(self, model, run, x, y, watched):
        print(f"\n{run}", flush=True)
        logs = self.args.tensorboard
        board = [keras.callbacks.TensorBoard(pathlib.Path(logs, run))] if logs else []
        model.fit(
            x,
            y,
            batch_size=self.args.batch_size,
            epochs=self.args.epochs,
            validation_data=watched,
            validation_batch_size=500,
            callbacks=board,
            verbose=2,
        )

    def train_on_labels(self, run):
        """A member of a teacher, or the control."""
        model = self.network(run)
        model.compile(
            self.optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self.fit(model, run, *self.train, self.watched)
        return model

    def distil(self, teacher, run):
        """Distillation alone: the labels are not used (alpha = 0, as the paper).

        Reviews are not augmented, so the teacher would say the same of a review in
        every epoch: it is asked once, and the student learns from stored logits.
        """
        student = self.network("student")
        distiller = keras_kd.Distiller(
            None,
            student,
            keras_kd.losses.KnowledgeDistillation(self.args.temperature),
            student_loss_weight=0.0,
        )
        distiller.compile(self.optimizer(), metrics=["accuracy"])
        targets = with_teacher_logits(teacher, *self.train)
        watched = self.watched[0], with_teacher_logits(teacher, *self.watched)
        self.fit(distiller, run, self.train[0], targets, watched)
        return student


def with_teacher_logits(teacher, tokens, labels):
    """Targets with which a `Distiller` needs no teacher."""
    logits = teacher.predict(tokens, batch_size=500, verbose=0)
    return {"labels": labels, "teacher_logits": logits}


# ## Results beside those of the paper

# Stanton et al. 2021, Table 2: percent (standard deviation over trials), KL in nats.
PAPER = {
    1: {"teacher": "79.4 (0.13)", "student": "80.4 (0.20)", "agreement": "86.5 (0.52)",
        "kl": "0.124 (0.012)"},
    3: {"teacher": "81.8 (0.13)", "student": "81.1 (0.06)", "agreement": "89.8 (0.35)",
        "kl": "0.064 (0.003)"},
    5: {"teacher": "82.2 (0.21)", "student": "81.2 (0.20)", "agreement": "90.8 (0.18)",
        "kl": "0.052 (0.001)"},
}  # fmt: skip


def markdown(record):
    """The table of a record, as written beside it."""
    settings = record["settings"]
    lines = [
        "# IMDB sentiment: bidirectional LSTM ensembles and their students",
        "",
        f"`{record['command']}`, {record['date']}: {record['minutes']:.0f} minutes "
        f"({record['cpu_minutes']:.0f} of CPU time) on {record['machine']}.",
        "",
        f"{settings['train_reviews']:,} reviews to learn from, "
        f"{record['results'][0]['num_examples']:,} to test on, 100 tokens each, "
        f"{settings['vocabulary_size']:,} token ids. Every network: "
        f"{settings['recipe']}.",
        "",
        "| teacher of | who | accuracy, % | agreement with teacher, % "
        "| KL from teacher, nats | ECE |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["results"]:
        networks = f"{row['members']} network{'s' if row['members'] > 1 else ''}"
        for who in ("teacher", "student", "control"):
            cells = [networks, NAMES[who], f"{row[f'{who}_accuracy']:.1%}"[:-1]]
            if who == "teacher":
                cells += ["", ""]
            else:
                cells += [
                    f"{row[f'{who}_agreement']:.1%}"[:-1],
                    f"{row[f'{who}_kl']:.3f}",
                ]
            lines.append(f"| {' | '.join(cells)} | {row[f'{who}_ece']:.3f} |")
        paper = PAPER.get(row["members"])
        if paper:
            lines += [
                f"| {networks} | paper: teacher | {paper['teacher']} | | | |",
                f"| {networks} | paper: student | {paper['student']} "
                f"| {paper['agreement']} | {paper['kl']} | |",
            ]
    return "\n".join([*lines, "", NOTE, ""])


NAMES = {
    "teacher": "teacher",
    "student": "distilled student",
    "control": "control, of labels alone",
}
NOTE = (
    "The paper's numbers (Table 2) are means (standard deviations) over trials, whose "
    "networks trained for 100 epochs with SGD. Here each is one run."
)


def main(argv=None):
    args = parse_arguments(argv)
    started = time.perf_counter()
    keras.utils.set_random_seed(args.seed)
    experiment = Experiment(args)
    print(
        f"{len(experiment.train[0])} reviews to learn from, {len(experiment.test[0])} "
        f"to test on; {experiment.vocabulary_size} token ids"
    )
    control = experiment.train_on_labels("control_of_labels")
    members, results = [], []
    for size in sorted(args.members):
        while len(members) < size:
            members.append(experiment.train_on_labels(f"teacher_{len(members) + 1}"))
        teacher = keras_kd.TeacherEnsemble(members[:size])
        student = experiment.distil(teacher, f"student_of_{size}")
        fidelity = keras_kd.evaluate_fidelity(
            teacher, student, experiment.test, control=control, verbose=0
        )
        results.append({"members": size, **fidelity.as_dict()})
        print(f"\nTeacher of {size}, its student, and a control of labels alone:\n")
        print(fidelity, flush=True)
        record = {
            "command": "python examples/imdb_sentiment.py "
            + shlex.join(sys.argv[1:] if argv is None else argv),
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
            "minutes": (time.perf_counter() - started) / 60,
            "cpu_minutes": time.process_time() / 60,
            "versions": {"keras": keras.__version__, "keras_kd": keras_kd.__version__},
            "settings": experiment.settings(),
            "results": results,
        }
        write(record, args.out)
    print(f"Done in {record['minutes']:.1f} minutes.")
    return record


def write(record, path):
    """The record as JSON, and its table beside it."""
    if path is not None:
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
        path.with_suffix(".md").write_text(markdown(record))
        print(f"\nResults: {path} and {path.with_suffix('.md')}", flush=True)


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        description="Distil ensembles of bidirectional LSTMs on IMDB, and compare each "
        "student, and a control trained on labels, with its teacher."
    )
    add = parser.add_argument
    add(
        "--members",
        type=int,
        nargs="+",
        default=[1, 3],
        help="sizes of the teachers to distil; larger ones contain the smaller ones' "
        "networks (default: 1 3; the paper: 1 3 5)",
    )
    add("--epochs", type=int, help="of every network (default: 2; 100 with --paper)")
    add("--layers", type=int, default=2, help="of LSTMs (default: 2, as the paper)")
    add("--batch-size", type=int, default=100, help="default: 100, as the paper")
    add("--learning-rate", type=float, default=1e-2, help="of Adam (default: 1e-2)")
    add(
        "--paper",
        action="store_true",
        help="SGD and 100 epochs as the paper, instead of Adam and few",
    )
    add(
        "--temperature",
        type=float,
        default=1.0,
        help="of the distillation (default: 1, as the paper's code)",
    )
    add("--train-examples", type=int, help="default: all 25,000")
    add("--test-examples", type=int, help="default: all 25,000")
    add(
        "--watched",
        type=int,
        default=2000,
        help="test reviews on which curves are drawn (default: 2000)",
    )
    add("--seed", type=int, default=0, help="of all networks (default: 0)")
    add("--tensorboard", help="folder for TensorBoard's curves (default: none)")
    add("--out", help="JSON file of results; a table goes beside it (default: none)")
    add(
        "--quick",
        action="store_true",
        help="200 reviews, 1 epoch, 1 layer, teachers of 1 and 2: see that it runs",
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.members, args.epochs, args.layers, args.watched = [1, 2], 1, 1, 50
        args.train_examples = args.test_examples = 200
    args.epochs = args.epochs or (100 if args.paper else 2)
    return args


if __name__ == "__main__":
    main()
