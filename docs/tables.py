"""Write the tables of README.md from the recorded results, so that they cannot drift.

    python docs/tables.py

`examples/results/quickstart_DATASET.json` is the `fidelity.json` of a run of
examples/quickstart.py; `benchmarks/speed/results/` holds what `make bench` measured.
"""

import inspect
import json
import math
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def markdown(header, rows, align="---:"):
    rule = ["---", *[align] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def results_table():
    """Fidelity of the three students of each quickstart run."""
    rows = []
    for name in ("digits", "mnist", "cifar100"):
        path = ROOT / f"examples/results/quickstart_{name}.json"
        if not path.exists():
            continue
        numbers = json.loads(path.read_text())
        sides = ("teacher", "student", "control", "labels_alone")
        accuracy = [f"{numbers[f'{side}_accuracy']:.1%}" for side in sides]
        kl = [f"{numbers[f'{side}_kl']:.3f}" for side in sides[1:]]
        agreement = [f"{numbers[f'{side}_agreement']:.1%}" for side in sides[1:]]
        rows += [
            [f"{name}: accuracy", *accuracy],
            ["agreement with the teacher", "", *agreement],
            ["KL from the teacher", "", *kl],
        ]
    return markdown(
        ["", "teacher", "distilled student", "control", "labels alone"], rows
    )


SPEED = (  # in the order of the table
    "training_step",
    "onednn",
    "label_store",
    "short_runs",
    "evaluation",
    "chunked",
    "augmentation",
    "loss_surface",
    "monitoring",
    "gan_sampling",
    "jit_compile",
)


def recorded(name):
    """Rows of a benchmark that has been run, or none."""
    path = ROOT / f"benchmarks/speed/results/{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def speed_table():
    """Median ratios of the recorded benchmarks, and their inner half."""
    rows = []
    for name in SPEED:
        for row in recorded(name):
            if row["candidate"] == row["baseline"]:
                continue
            job = row["benchmark"].replace("_", " ")
            if "members" in row:
                job += f", m = {row['members']}"
            low, high = row["inner_half"]
            rows.append(
                [
                    f"{job}: {row['candidate']} / {row['baseline']}",
                    f"{row['speed_ratio']:.2f}",
                    f"{low:.2f} to {high:.2f}",
                    str(row["rounds"]),
                ]
            )
    return markdown(["what", "speed ratio", "inner half", "rounds"], rows)


def formats_table():
    """What a record of a store costs, on real images."""
    rows = {}
    for row in recorded("label_store_formats"):
        cells = rows.setdefault((row["format"], row["bytes"]), [])
        cells += [f"{row['mean_kl']:.1e}", f"{row['same_top_class']:.2%}"]
    body = [[f"`{name}`", str(size), *cells] for (name, size), cells in rows.items()]
    header = ["format", "bytes", "mean KL, T = 1", "same top class"]
    return markdown([*header, "mean KL, T = 4", "same top class"], body)


def scores_table():
    """What a comparison shows: the one list that all of its readers use."""
    from keras_kd.metrics.scores import SCORES

    closer = {
        (True, "up"): "higher is better",
        (True, "down"): "lower is better",
        (False, "up"): "higher is closer",
        (False, "down"): "lower is closer",
    }
    rows = [
        [
            f"`{score.name}`",
            score.label,
            "labels" if score.needs_labels else "teacher",
            closer[score.needs_labels, score.direction],
        ]
        for score in SCORES
    ]
    return markdown(["score", "in tables", "compares with", "direction"], rows, "---")


IMAGE_MODELS = (
    "PreActResNet(20)",
    "PreActResNet(56)",
    "PreActResNet(110)",
    "CIFARResNet(20)",
    "CIFARResNet(56)",
    "CIFARResNet(8, width=4)",
    "CIFARResNet(32, width=4)",
    "WideResNet(16, 2)",
    "WideResNet(40, 2)",
    "VGG(8)",
    "VGG(13)",
    "PlainVGG16()",
    "MobileNetV2()",
    "LeNet5()",
    "ResNet18()",
    "ResNet50()",
    'ViT("tiny")',
    'ViT("small")',
)


def models_table():
    """Image models, their images, and the weights that train and that do not."""
    import keras

    from keras_kd import models

    rows = []
    for call in IMAGE_MODELS:
        with keras.StatelessScope():  # weights have shapes there, and no values
            model = eval(f"models.{call}", {"models": models})
        trained, tracked = (
            sum(math.prod(weight.shape) for weight in weights)
            for weights in (model.trainable_weights, model.non_trainable_weights)
        )
        image = "x".join(map(str, model.input_shape[1:]))
        classes = str(model.output_shape[-1])
        rows.append([f"`{call}`", image, classes, f"{trained:,}", f"{tracked:,}"])
    return markdown(
        ["model", "image", "classes", "parameters", "batch statistics"], rows
    )


def losses_table():
    """The classes of keras_kd.losses, from their docstrings and signatures."""
    from keras_kd import losses

    rows = []
    for name in sorted(losses.__all__, key=lambda n: _place(getattr(losses, n))):
        loss = getattr(losses, name)
        if not inspect.isclass(loss) or _is_base(loss):
            continue
        paragraphs = [
            " ".join(text.split()) for text in inspect.getdoc(loss).split("\n\n")
        ]
        when, reference, *weight = (
            next(p for p in paragraphs if p.startswith(start)).removeprefix(start)
            for start in ("When to use: ", "Reference: ", "Usual weight: ")
            if start != "Usual weight: " or any(p.startswith(start) for p in paragraphs)
        )
        paper = re.match(r"[^;,]*?\d{4}", reference)[0]
        usual = re.split(r"[,;:] | \((?!height)|\.$", weight[0])[0] if weight else ""
        when = when[0].upper() + when[1:]
        rows.append([f"`{name}({_defaults(loss)})`", paper, usual, when])
    header = ["loss", "paper", "usual weight", "when to use"]
    return markdown(header, rows, align="---")


# The families in the order in which one would look for them; others follow.
FAMILIES = (
    "logits",
    "divergences",
    "hard_labels",
    "brier",
    "logit_mse",
    "chunked",
    "decoupled",
    "dist",
    "multi_level",
    "standardization",
    "per_teacher",
    "features",
    "hint",
    "attention_transfer",
    "variational",
    "similarity",
    "relational",
    "contrastive",
)


def _place(thing):
    family = thing.__module__.rpartition(".")[2]
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def _is_base(cls):
    """Whether a user derives from it: no loss yet, or one without a `call`."""
    from keras_kd.losses import DistillationLoss

    is_loss = issubclass(cls, DistillationLoss)
    return not is_loss or cls.call is DistillationLoss.call


def _defaults(loss):
    """Arguments of a loss as one would write them, but for those that all have."""
    shared = ("name", "reduction", "dtype", "batch")
    parameters = inspect.signature(loss).parameters.values()
    return ", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
        if p.name not in shared
    )


def with_tables(text):
    """README's text with its tables as the records and the package have them."""
    tables = {
        "results": results_table,
        "speed": speed_table,
        "formats": formats_table,
        "models": models_table,
        "losses": losses_table,
        "scores": scores_table,
    }
    for name, table in tables.items():
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        text = re.sub(
            pattern, lambda m, t=table: f"{m[1]}{t()}\n{m[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
