"""Compare two classifiers on sets, and write what was found as one page."""

import dataclasses
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd._common.table import InTable
from keras_kd.answers import as_classifier, as_dataset
from keras_kd.report import _inside, _loading, _page, html
from keras_kd.report._numbers import numbers_of
from keras_kd.report._pictures import is_image
from keras_kd.report._reading import read
from keras_kd.report.verdict import verdict

MAPS_SHOWN = 6


@dataclasses.dataclass(frozen=True, repr=False)
class Report(InTable):
    """What `compare` found; prints as its verdict.

    Attributes:
        page: Path of the page, `index.html`. Beside it are `numbers.json` and
            `numbers.csv`.
        numbers: `{set: numbers}`, as in the JSON file.
        verdicts: `{set: Verdict}`, with `answer`, `headline` and `sentences`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> report = keras_kd.report.compare(model, model, np.ones((8, 4), "float32"))
    >>> report.numbers["data"]["scores"]["student"]["agreement"]["value"]
    1.0
    """

    page: pathlib.Path
    numbers: dict
    verdicts: dict

    def __str__(self):
        told = [f"{name}: {said}" for name, said in self.verdicts.items()]
        return "\n\n".join([*told, f"Page: {self.page}"])

    def _table(self):
        said = self.verdicts.items()
        rows = [[name, verdict.answer, verdict.headline] for name, verdict in said]
        return [self.page, "answer", "headline"], rows


def compare(
    teacher,
    student,
    datasets,
    control=None,
    out="report/",
    *,
    class_names=None,
    show=None,
    steps=None,
    batch_size=256,
    ignore_class=None,
    sample_limit=1000,
    num_resamples=1000,
    level=0.95,
    seed=0,
):
    """Write a page that says whether a student learnt its teacher, and what of it.

    Works on any two Keras classifiers, distilled here or not. Beside a control (a
    student distilled by the same recipe from another teacher) the page says whether
    the student learnt this very teacher. Each set is read once, all models on the same
    tensors; inputs are kept of a sample and of the examples shown, no more.

    Args:
        teacher: Classifier: `keras.Model`, list of models (an ensemble),
            `TeacherEnsemble`, or the path of a saved model. Models that end in a
            softmax are recognised.
        student: Classifier likewise (of a `Distiller`, its student).
        datasets: A set, or `{name: set}`: `tf.data.Dataset` of batches `x`, `(x, y)`
            or `(x, y, sample_weight)`, `keras.utils.PyDataset`, or a tuple of arrays.
            Without labels only the models are compared with one another.
        control: Independent control student. Defaults to None.
        out: Folder for `index.html`, `numbers.json` and `numbers.csv`. Defaults to
            `"report/"`.
        class_names: Of the classes, in the order of the logits. Defaults to numbers.
        show: Function from one input (arrays, without batch axis) to what the page
            shows of it: an image array or a string. Defaults to the input itself;
            for tokens give one that looks up the words.
        steps: Batches to read of each set. Defaults to all; needed for endless sets.
        batch_size: For arrays. Defaults to 256.
        ignore_class: Class index of rows that count as unlabelled, as `UNLABELED` (-1)
            does. Defaults to None.
        sample_limit: Examples, the first of a set, on which inner layers and attention
            are compared. Defaults to 1000; 0 leaves both out.
        num_resamples: Draws of the bootstrap. Defaults to 1000.
        level: Of its intervals. Defaults to 0.95.
        seed: Of the bootstrap. Defaults to 0.

    Returns:
        `Report`.

    Raises:
        ValueError: For an empty set, models with different classes or inputs, and a
            file that is not a model.
        ImportError: Without jinja2 and matplotlib, of the extra `report`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> y = np.arange(20) % 3
    >>> report = keras_kd.report.compare(model, model, {"test": (x, y)}, out="report")
    >>> report.verdicts["test"].answer, report.page.name
    ('identical', 'index.html')

    References: Stanton et al. 2021, section 3.2 (the control); Nagarajan et al. 2023
    (exaggerated confidence); Kornblith et al. 2019 (CKA); Guo et al. 2024 (attention).
    """
    given = {"teacher": teacher, "student": student, "control": control}
    given = {s: _loading.as_models(s, m) for s, m in given.items() if m is not None}
    check_whole_number("sample_limit", sample_limit, at_least=0)
    bootstrap = {
        "num_resamples": check_whole_number("num_resamples", num_resamples, at_least=1),
        "level": check_number("level", level, above=0, at_most=0.9999),
        "seed": check_whole_number("seed", seed, at_least=0),
    }
    datasets = datasets if isinstance(datasets, dict) else {"data": datasets}
    if not datasets:
        raise ValueError("`datasets` is empty. Give at least one set to compare on.")
    _page.check_libraries()
    models = {side: as_classifier(model) for side, model in given.items()}
    numbers, verdicts, sections = {}, {}, []
    for name, dataset in datasets.items():
        dataset = as_dataset(dataset, batch_size)
        limits = {"steps": steps, "sample_limit": sample_limit}
        seen = read(models, dataset, ignore_class=ignore_class, **limits, **bootstrap)
        numbers[name] = numbers_of(seen, **bootstrap)
        inside, maps, left_out = _second_look(models, seen)
        numbers[name] |= inside
        verdicts[name] = verdict(numbers[name])
        sections.append(
            _page.section(
                name,
                seen,
                numbers[name],
                verdicts[name],
                models=models,
                maps=maps,
                left_out=left_out,
                class_names=_names(class_names, seen.num_classes),
                show=show,
            )
        )
    page = html.render(_page.content(models, sections, bootstrap))
    return Report(_write_files(out, page, numbers), numbers, verdicts)


def _write_files(out, page, numbers):
    folder = pathlib.Path(os.fspath(out))
    folder.mkdir(parents=True, exist_ok=True)
    html.write(folder / "numbers.json", html.as_json(numbers))
    html.write(folder / "numbers.csv", html.as_csv(numbers))
    html.write(folder / "index.html", page)
    return folder / "index.html"


def _names(class_names, num_classes):
    if class_names is None:
        return [str(i) for i in range(num_classes)]
    if len(class_names) != num_classes:
        raise ValueError(
            f"`class_names` must have one name for each of the {num_classes} classes. "
            f"Received: {len(class_names)}."
        )
    return [str(name) for name in class_names]


def _second_look(models, seen):
    """Numbers of inner layers and attention, maps to show, and what was left out."""
    if not seen.sample:
        return {}, None, ["Inner layers and attention: sample_limit is 0."]
    networks = {side: _inside.first_network(model) for side, model in models.items()}
    size = sum(len(keras.tree.flatten(x)[0]) for x in seen.sample)
    numbers, maps, left_out = {"sample_size": size}, None, []
    try:
        numbers["cka"] = _inside.representation(networks, seen.sample)
    except ValueError as error:
        left_out.append(f"Inner layers (CKA): {error}")
    inputs = seen.sample[0]
    if not (tf.is_tensor(inputs) or isinstance(inputs, np.ndarray)) or not is_image(
        np.asarray(inputs[0])
    ):
        left_out.append("Attention maps: the inputs are not images.")
        return numbers, maps, left_out
    shown = [one.x for one in seen.shown]
    shown += [np.asarray(x) for x in seen.sample[0][:MAPS_SHOWN]]
    images = np.stack(shown[:MAPS_SHOWN]).astype("float32")
    try:
        method, pictures, overlap = _inside.attention(networks, seen.sample, images)
        numbers["attention_iou"] = overlap
        maps = {"images": images, "maps": pictures, "method": method}
    except ValueError as error:
        left_out.append(f"Attention maps (keras_kd.probes.attention_maps): {error}")
    return numbers, maps, left_out


def compare_files(
    teacher,
    student,
    dataset,
    *,
    control=None,
    split="test",
    limit=None,
    pixels="unit",
    batch_size=256,
    seed=0,
    out="report/",
):
    """`compare` of saved models on a set by its name: the command of `keras-kd`.

    Args:
        teacher: Path of a saved model.
        student: Path of a saved model.
        dataset: Name of a set of `keras_kd.data.load`.
        control: Path of a saved model. Defaults to None.
        split: Of the set. Defaults to `"test"`.
        limit: Examples to draw at random. Defaults to all.
        pixels: What the models take: `"unit"` (default) for [0, 1], `"unit_cube"` for
            [-1, 1], `"z_score"` for the set's mean 0 and deviation 1.
        batch_size: Defaults to 256.
        seed: Of `limit` and of the bootstrap. Defaults to 0.
        out: Folder to write to. Defaults to `"report/"`.

    Returns:
        `Report`.

    Example:

    >>> layers = [
    ...     keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> keras.Sequential(layers).save("teacher.keras")
    >>> files = "teacher.keras", "teacher.keras"
    >>> report = keras_kd.report.compare_files(*files, "digits", limit=50)
    >>> report.verdicts["digits/test"].answer
    'identical'
    """
    given = {"teacher": teacher, "student": student, "control": control}
    given = {s: _loading.as_models(s, m) for s, m in given.items() if m is not None}
    batches, class_names = _loading.dataset_by_name(
        dataset, split, limit=limit, pixels=pixels, batch_size=batch_size, seed=seed
    )
    batches = _loading.preprocessed(batches, given["teacher"])
    return compare(
        datasets={f"{dataset}/{split}": batches},
        out=out,
        class_names=class_names,
        seed=seed,
        **given,
    )
