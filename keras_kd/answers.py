"""What models say of a set: one pass over it, each model called once a batch."""

import itertools

import keras
import tensorflow as tf

from keras_kd._common.batch import unpack_batch, without_waiting
from keras_kd._common.calls import check_same_inputs
from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import combined_mask, examples_of
from keras_kd._common.output_kind import output_kind
from keras_kd.teacher_ensemble import TeacherEnsemble


class Answers:
    """Classifiers that are read on sets, on every replica, and left as found.

    Args:
        models: `{side: classifier}` with a `"teacher"`; see `as_classifier`.
        read: Function of `{side: Examples}` that is called in the graph, once a batch
            and replica. It may update metrics made in the strategy's scope, and
            returns a structure of tensors, or None.
        strategy: `tf.distribute.Strategy`. Defaults to the current one.
        ignore_class: Class index of rows without a label, beside `UNLABELED`. Defaults
            to None.

    The `Examples` of a side hold the teacher's logits and the side's own as `student`,
    so those of `"teacher"` compare the teacher with itself. Labels, weight and mask are
    one for all sides: a position that any model masks counts for none.

    Example:

    >>> from keras_kd.answers import Answers, as_dataset
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> answers = Answers({"teacher": model}, lambda sides: sides["teacher"].student)
    >>> x = np.ones((5, 4), "float32")
    >>> [len(logits) for _, logits in answers.over(as_dataset(x, 2))]
    [2, 2, 1]
    """

    def __init__(self, models, read, *, strategy=None, ignore_class=None):
        self.models = {side: as_classifier(model) for side, model in models.items()}
        self._read = read
        self._strategy = strategy or tf.distribute.get_strategy()
        self._ignore_class = ignore_class
        self._step = None

    def over(self, dataset, *, steps=None, verbose=0):
        """Iterate over what `read` returned, with the inputs that it is of.

        Weights are those of the moment. A second pass over a set of the same kind is
        not traced again.

        Args:
            dataset: What `as_dataset` gives.
            steps: Batches to read. Defaults to all; needed for endless sets.
            verbose: 0 (default) for no progress bar.

        Returns:
            Iterator of `(inputs, found)`, one a batch and replica.

        Raises:
            ValueError: After an empty set.
        """
        steps = num_steps(dataset, steps)
        for model in self.models.values():
            model.start_pass()
        progress = keras.utils.Progbar(steps, verbose=1 if verbose else 0)
        if self._strategy.num_replicas_in_sync > 1:
            dataset = over_replicas(dataset, self._strategy)
        self._step = self._step or self._compiled(dataset)
        done = 0
        for batch in batches(dataset):
            yield from self._step(batch)
            done += 1
            progress.update(done, finalize=done == steps)
            if done == steps:
                break
        if verbose and done and done != steps:
            progress.update(done, finalize=True)
        if not done:
            raise ValueError(
                "The set to compare on is empty. Give at least one batch (an exhausted "
                "generator cannot be read twice)."
            )

    def _compiled(self, dataset):
        """One trace for all batches, a smaller last one too, where shapes are told."""
        spec = getattr(dataset, "element_spec", None)
        if spec is None:
            return tf.function(self._answer, reduce_retracing=True, autograph=False)
        return tf.function(self._answer, input_signature=[spec], autograph=False)

    def _answer(self, batch):
        """`(inputs, found)` of each replica."""
        found = self._strategy.run(self._on_replica, args=(batch,))
        parts = [
            self._strategy.experimental_local_results(leaf)
            for leaf in keras.tree.flatten(found)
        ]
        return [
            keras.tree.pack_sequence_as(found, of_replica)
            for of_replica in zip(*parts, strict=True)
        ]

    def _on_replica(self, data):
        batch = unpack_batch(data)
        members = {side: model.members for side, model in self.models.items()}
        check_same_inputs(batch.x, members)
        outputs = {s: _single_output(s, m(batch.x)) for s, m in self.models.items()}
        sides = self._examples(outputs, batch)
        for side, model in self.models.items():
            _check_alternatives(side, model)
        found = self._read(sides)
        return batch.x, {} if found is None else found

    def _examples(self, outputs, batch):
        """Labels, weight and mask once, for all sides."""
        teacher = outputs["teacher"]
        mask = combined_mask(*outputs.values())
        shared = examples_of(
            teacher,
            teacher,
            batch.labels,
            batch.sample_weight,
            mask=mask,
            ignore_class=self._ignore_class,
        )
        sides = {"teacher": shared}
        for side, own in outputs.items():
            if side != "teacher":
                both = examples_of(teacher, own)
                sides[side] = shared._replace(
                    teacher=both.teacher, student=both.student
                )
        return sides


def as_classifier(model):
    """Any trained classifier as a frozen model that gives logits.

    Args:
        model: `keras.Model`, list of models, `TeacherEnsemble`, or a Distiller, which
            stands for its student. Models that end in a softmax are recognised.

    Returns:
        `TeacherEnsemble`.

    Raises:
        TypeError: For what is no model.
    """
    if isinstance(model, TeacherEnsemble):
        return model
    members = list(model) if isinstance(model, (list, tuple)) else [model]
    members = [getattr(member, "student", member) for member in members]
    for member in members:
        if not isinstance(member, keras.Model):
            raise TypeError(
                "Models to compare must be a keras.Model, or a list of them. Received: "
                f"{member!r} of type {type(member).__name__}."
            )
    # Read off the last layer; where that does not tell, the ensemble takes logits.
    softmax = [output_kind(member) == "probabilities" for member in members]
    return TeacherEnsemble(members, from_logits=[False if s else None for s in softmax])


def _check_alternatives(side, model):
    """Scores of classifiers are of a softmax, which independent classes do not have."""
    if model.is_multi_label(None):
        names = [member.name for member in model.members]
        raise ValueError(
            "Models to compare must give one distribution over the classes. The "
            f"{side} {names} is multi-label: its classes pass a sigmoid each. Compare "
            "it by metrics of your own, or build it without its last activation where "
            "its classes are alternatives."
        )


def as_dataset(data, batch_size):
    """A `tf.data.Dataset`, or another iterable of batches as it is.

    Arrays (`x`, or a tuple `(x, y)` or `(x, y, sample_weight)`) are batched.
    """
    if isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
        return data
    if isinstance(data, (tuple, list)) or hasattr(data, "__array__"):
        parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                "Arrays to compare on are `x`, `(x, y)` or `(x, y, sample_weight)`. "
                f"Received {len(parts)} of them."
            )
        slices = parts if len(parts) > 1 else parts[0]
        dataset = tf.data.Dataset.from_tensor_slices(slices)
        return without_waiting(dataset.batch(batch_size))
    if hasattr(data, "__iter__"):
        return data
    raise TypeError(
        "A set to compare on must be a tf.data.Dataset of batches, a "
        "keras.utils.PyDataset, a generator of batches, or a tuple of arrays. "
        f"Received: {data!r} of type {type(data).__name__}."
    )


def num_steps(dataset, steps):
    """Batches that a pass reads, None if only reading tells; no endless ones."""
    available = None
    if steps is not None:
        check_whole_number("steps", steps, at_least=1)
    endless = False
    if isinstance(dataset, tf.data.Dataset):
        available = int(dataset.cardinality())
        endless = available == tf.data.INFINITE_CARDINALITY
    elif isinstance(dataset, keras.utils.PyDataset):
        available = dataset.num_batches
        endless = available is None
    if endless and steps is None:
        raise ValueError(
            "The dataset repeats without end. Say how many batches one pass reads: "
            "`steps=...`, or `dataset.take(n)` where there is no such argument."
        )
    if available is None or available < 0:
        return steps
    return available if steps is None else min(steps, available)


def batches(dataset):
    """Iterate over the batches of any of these kinds."""
    if isinstance(dataset, keras.utils.PyDataset):
        count = dataset.num_batches
        return map(
            dataset.__getitem__, itertools.count() if count is None else range(count)
        )
    return iter(dataset)


def over_replicas(dataset, strategy):
    """Batches of any kind of set, each cut into one part a replica."""
    if isinstance(dataset, tf.data.Dataset):
        return strategy.experimental_distribute_dataset(dataset)
    return (_cut(batch, strategy) for batch in batches(dataset))


def _cut(batch, strategy):
    def part(context):
        def rows(leaf):
            size = -(-len(leaf) // strategy.num_replicas_in_sync)
            start = context.replica_id_in_sync_group * size
            return tf.convert_to_tensor(leaf[start : start + size])

        return keras.tree.map_structure(rows, batch)

    return strategy.experimental_distribute_values_from_function(part)


def _single_output(side, outputs):
    leaves = keras.tree.flatten(outputs)
    if len(leaves) != 1:
        raise ValueError(
            f"Models to compare must have one output; the {side} has {len(leaves)}. "
            "Make a `keras.Model(model.inputs, model.outputs[i])` for the one that you "
            "mean."
        )
    return leaves[0]
