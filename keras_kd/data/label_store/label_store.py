"""Answers of a teacher on views of a set, kept in files that any job can read."""

import functools
import os

import numpy as np
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data import _examples
from keras_kd.data.label_store import _files
from keras_kd.data.label_store._fingerprints import ROWS, mark_of_inputs
from keras_kd.data.label_store._plan import (
    DRIFT,
    check_same,
    check_same_format,
    chosen_format,
    described,
    drift,
    marks_of,
    order_of,
)
from keras_kd.data.label_store._reading import Reader
from keras_kd.data.label_store._teachers import Answers, answers_of
from keras_kd.data.label_store._views import Views
from keras_kd.data.label_store._writing import SAMPLE, Writing
from keras_kd.data.label_store.formats import FORMATS
from keras_kd.data.targets import inputs_and_labels


class LabelStore:
    """A teacher's logits on so many views of each example, from a folder.

    An answer is found by the number of the example and that of the view, whatever the
    order, the shuffling or the number of jobs. A student that is trained from a store
    of format "float32" learns what it would learn live from the same views, at the
    price of no teacher at all.

    The folder holds `manifest.json`, and arrays in NumPy's format: `index.npy` with
    the numbers of the examples, and records of one size in `view_VVVVV_part_PPPPP`
    files, which are checked against the manifest's SHA-256 when they are first read.

    Args:
        path: A folder that `LabelStore.write` or `from_arrays` has filled.

    Attributes:
        manifest: What `manifest.json` says, a dict: among it `mean_kl`, of the stored
            from the exact answers in nats, and `calibration_error` of both.
        size: Examples of a view.
        views: How many views of each example.
        num_classes: Length of a row of logits.
        bytes_per_view: Size of a record.

    Example:

    >>> source = keras_kd.data.load("digits")
    >>> teacher = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    >>> store = keras_kd.data.LabelStore.write(
    ...     teacher, source, "answers", pipeline=keras_kd.data.augment("baseline"),
    ...     views=2, format="float32", verbose=0)
    >>> store.size, store.views, store.bytes_per_view
    (1257, 2, 40)
    >>> dataset = store.dataset(source, keras_kd.data.augment("baseline"))
    >>> x, y = next(iter(dataset))
    >>> bool(np.allclose(y["teacher_logits"], teacher(x), atol=1e-5))
    True

    Reference: Shen and Xing 2022, *A Fast Knowledge Distillation Framework for Visual
    Recognition* (stored soft labels of crops); Beyer et al. 2022, *Knowledge
    distillation: A good teacher is patient and consistent* (the same view for both).
    """

    def __init__(self, path):
        self._folder = _files.Folder(path)
        manifest = self._folder.read_sealed(_files.MANIFEST)
        if manifest is None:
            begun = self._folder.has(_files.PLAN)
            raise FileNotFoundError(
                f"There is no complete label store in {os.fspath(path)!r}. "
                + ("One was begun: run `LabelStore.write` again to go on with it."
                   if begun else "`LabelStore.write` makes one.")
            )  # fmt: skip
        if manifest.get("version") != _files.VERSION:
            raise ValueError(
                f"The store {os.fspath(path)!r} has version {manifest.get('version')}; "
                f"this keras_kd reads version {_files.VERSION}."
            )
        self.manifest = manifest
        self._reader = Reader(self._folder, manifest)
        self.size, self.views, self.num_classes = (
            int(manifest[key]) for key in ("size", "views", "num_classes")
        )
        self.bytes_per_view = self._reader.format.record.itemsize

    @classmethod
    def write(
        cls,
        teacher,
        source,
        path,
        *,
        pipeline=None,
        views=1,
        format="auto",
        max_kl=1e-3,
        temperature=1.0,
        k=10,
        name=None,
        batch_size=128,
        shard_size=8192,
        verbose="auto",
    ):
        """Run a teacher over views of a set, and keep its answers.

        Call it again after an interruption, or at the same time from other processes
        and machines that see the folder: each shard is written once and whole, and all
        of them return when the store is complete.

        Args:
            teacher: `keras.Model`, list of them, `TeacherEnsemble`, or a function from
                a batch of inputs (a NumPy array) to logits `(batch, classes)`, such as
                a model of another framework.
            source: `keras_kd.data.Source`.
            path: Folder of the store; made where it is not there.
            pipeline: Function of a dataset of examples, as for `Dataset.apply`, such as
                `keras_kd.data.augment("baseline")`; several in a row are a function of
                your own. Its output depends on an example and its view alone. Defaults
                to the examples as they are.
            views: Views of each example. Defaults to 1.
            format: "float32", "float16", "8bit", "6bit", "5bit", "top_k", or "auto"
                (default) for the smallest that keeps `max_kl`.
            max_kl: With "auto": mean KL of the stored from the exact answers, in nats.
                Defaults to 1e-3.
            temperature: At which that KL is measured, and for which the quantised
                formats are fitted: that of the loss. At a high one, improbable classes
                count more. Defaults to 1.0.
            k: With "top_k": classes that are kept apart. Defaults to 10.
            name: Of a teacher that is a function: what tells it from others.
            batch_size: Examples that the teacher answers at once. Defaults to 128.
            shard_size: Records of a file, at least; files hold whole batches. Defaults
                to 8,192.
            verbose: 0 for no progress bar. Defaults to "auto", one.

        Returns:
            `LabelStore`.

        Raises:
            ValueError: Where the folder holds a store of something else, with what.
        """
        found = answers_of(teacher, name)
        asked = _asked(views, batch_size, shard_size, temperature, format, max_kl)
        return cls._filled(
            lambda inputs, view, row: found(inputs),
            found.fingerprint,
            Views(source, pipeline),
            path,
            asked,
            (format, k),
            verbose,
        )

    @classmethod
    def from_arrays(
        cls,
        logits,
        source,
        path,
        *,
        name,
        pipeline=None,
        format="auto",
        max_kl=1e-3,
        temperature=1.0,
        k=10,
    ):
        """A store of answers that are there already.

        Args:
            logits: `(size, classes)`, or `(views, size, classes)`, in the order of
                `source.indices`, floats.
            source, path, pipeline, format, max_kl, temperature, k: As for `write`.
            name: What tells this teacher from others.

        Returns:
            `LabelStore`.

        Example:

        >>> source = keras_kd.data.load("digits", split="test")
        >>> logits = np.random.normal(size=(540, 10)).astype("float32")
        >>> store = keras_kd.data.LabelStore.from_arrays(
        ...     logits, source, "given", name="noise", format="float16")
        >>> found = store.logits(index=source.indices[3:4], view=[0])
        >>> bool(np.allclose(found, logits[3], atol=1e-2))
        True
        """
        logits = np.asarray(logits)
        logits = logits[None] if logits.ndim == 2 else logits
        found = Views(source, pipeline)
        if logits.ndim != 3 or logits.shape[1] != found.size:
            raise ValueError(
                f"`logits` must be (size, classes) or (views, size, classes), with a "
                f"row for each of the {found.size} examples of a pass. Received: shape "
                f"{logits.shape}."
            )
        checked = Answers(lambda rows: rows, name)

        def answer(inputs, view, row):
            return checked(logits[view, row : row + len(inputs)])

        asked = _asked(len(logits), 1024, 8192, temperature, format, max_kl)
        return cls._filled(answer, str(name), found, path, asked, (format, k), 0)

    @classmethod
    def _filled(cls, answer, fingerprint, views, path, asked, form, verbose):
        """The store in a folder, after what is missing has been written."""
        os.makedirs(path, exist_ok=True)
        folder = _files.Folder(path)
        first = answer(views.first_rows(0, ROWS), 0, 0)
        asked = {
            "version": _files.VERSION,
            "source": views.source.name,
            "size": views.size,
            **asked,
            "num_classes": first.shape[-1],
            "teacher": fingerprint,
            "inputs": marks_of(views, asked["views"]),
            "answers": mark_of_inputs(first),
        }
        plan = folder.read_json(_files.PLAN)
        if plan is None:
            sample = answer(views.first_rows(0, SAMPLE), 0, 0)
            chosen = chosen_format(*form, sample, asked)
            index = folder.write_array(_files.INDEX, order_of(views))
            plan = {**asked, "format": chosen.get_config(), "index_sha256": index}
            plan = folder.create_json(_files.PLAN, plan)
        check_same(plan, asked, path)
        check_same_format(plan, *form, path)
        if not folder.has(_files.INDEX):
            folder.write_array(_files.INDEX, order_of(views))
        if verbose:
            print(described(plan, path))
        writing = Writing(folder, views, answer, plan)
        if not folder.has(_files.MANIFEST) or writing.pending():
            writing.run(1 if verbose else 0)
        return cls(path)

    def logits(self, index, view):
        """Stored logits of examples and views.

        Args:
            index: `(n,)` integers, numbers of examples in their source.
            view: `(n,)` integers in [0, views).

        Returns:
            `(n, classes)` float32.
        """
        return self._reader.logits(np.asarray(index), np.asarray(view))

    def dataset(
        self,
        source,
        pipeline=None,
        *,
        batch_size=128,
        shuffle=True,
        seed=0,
        initial_epoch=0,
        initial_step=0,
    ):
        """What `fit` takes: inputs, labels and the stored answers of the same views.

        Epoch e shows view e modulo the number of stored views.

        Args:
            source: The source that the store was written from.
            pipeline: The pipeline that it was written with.
            batch_size: Defaults to 128.
            shuffle, seed, initial_epoch, initial_step: See `Source.examples`.

        Returns:
            `tf.data.Dataset` of `(x, {"labels": y, "teacher_logits": z})`.

        Raises:
            ValueError: Where the pipeline makes other inputs than those that the
                teacher has seen, with where they differ.
        """
        views = self._checked_views(source, pipeline)

        def go_round(example):
            return {**example, "view": example["view"] % self.views}

        examples = source.examples(shuffle, seed, initial_epoch, initial_step)
        batches = views.through(examples.map(go_round)).batch(batch_size)
        found = _examples.mapped(batches, self._with_answers).map(inputs_and_labels)
        return found.prefetch(tf.data.AUTOTUNE)

    def check(self, teacher, source, pipeline=None, *, share=0.01, name=None):
        """Recompute a share of the answers, and refuse a store that has drifted.

        Args:
            teacher, source, pipeline, name: As for `write`.
            share: Of the records, in (0, 1]. Defaults to 0.01.

        Returns:
            Mean KL between the answers computed again, in the store's format, and the
            stored ones, in nats.

        Raises:
            ValueError: Where teacher or pipeline are others, or that KL is above 1e-4.
        """
        checks.check_number("share", share, above=0, at_most=1)
        views = self._checked_views(source, pipeline)
        found = answers_of(teacher, name)
        given = {"teacher": found.fingerprint}
        given["answers"] = mark_of_inputs(found(views.first_rows(0, ROWS)))
        check_same(self.manifest, given, self._folder.path)
        mean = drift(self, found, views, share, self.manifest["batch_size"])
        if mean > DRIFT:
            raise ValueError(
                f"The store {self._folder.path} has drifted: answers computed again "
                f"differ from the stored ones by a mean KL of {mean:.2g} nats, more "
                f"than {DRIFT}. Write it anew."
            )
        return mean

    def verify(self):
        """Read all files and compare their checksums with the manifest.

        Raises:
            ValueError: For a file that is damaged.
        """
        self._reader.verify()

    def _with_answers(self, batch):
        logits = tf.numpy_function(
            self._reader.logits, [batch["index"], batch["view"]], tf.float32
        )
        logits.set_shape([batch["index"].shape[0], self.num_classes])
        return {**batch, "teacher_logits": logits}

    def _checked_views(self, source, pipeline):
        views = Views(source, pipeline)
        given = {"source": source.name, "size": views.size}
        given["inputs"] = marks_of(views, self.views)
        check_same(self.manifest, given, self._folder.path)
        return views


def _asked(views, batch_size, shard_size, temperature, format, max_kl):
    """What a plan says beforehand; files hold whole batches."""
    checks.check_choice("format", format, ("auto", *FORMATS))
    whole = functools.partial(checks.check_whole_number, at_least=1)
    above_zero = functools.partial(checks.check_number, above=0)
    batch_size = whole("batch_size", batch_size)
    return {
        "views": whole("views", views),
        "batch_size": batch_size,
        "shard_size": -(-whole("shard_size", shard_size) // batch_size) * batch_size,
        "temperature": above_zero("temperature", temperature),
        "max_kl": above_zero("max_kl", max_kl) if format == "auto" else None,
    }
