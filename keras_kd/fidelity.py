"""Fidelity of a student to its teacher on a set, in one pass over the data."""

import dataclasses
import functools

import tensorflow as tf
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import Examples, weigh
from keras_kd._common.metric_update import update_of
from keras_kd._common.streaming import StreamingMean
from keras_kd._common.table import InTable, format_table
from keras_kd.answers import Answers, as_dataset
from keras_kd.metrics import scores
from keras_kd.metrics._kept_examples import KeptExamples

NUM_BINS = 15  # of the calibration error in `scores.SCORES`
BOUNDS = {
    "agreement_lower_bound": "Agreement, lower bound",
    "agreement_upper_bound": "Agreement, upper bound",
}


class SideScores:
    """What `evaluate_fidelity` found of one model, a frozen dataclass.

    It has a field for each score of `keras_kd.metrics.scores.SCORES`: all of them for a
    student or control, those of labels for the teacher. None where the set or the
    models do not allow it: without labels, or of the top 5 of 5 classes.

    A student has besides `agreement_lower_bound` and `agreement_upper_bound`, what the
    two accuracies alone imply: acc_t + acc_s - 1 <= agreement <= 1 - |acc_t - acc_s|.
    """

    table_labels = {}  # {field: what a table calls it}

    def __reduce__(self):
        return _side_scores, (self.table_labels, dataclasses.asdict(self))


def _side_scores(labels, values):
    return _side_type(tuple(labels.items()))(**values)


@functools.cache
def _side_type(labels):
    """One class for each list of scores: dataclasses say their fields beforehand."""
    names = [(name, float | None) for name, _ in labels]
    return dataclasses.make_dataclass(
        "SideScores",
        names,
        bases=(SideScores,),
        namespace={"table_labels": dict(labels)},
        frozen=True,
    )


@dataclasses.dataclass(frozen=True, repr=False)
class FidelityResult(InTable):
    """What `evaluate_fidelity` found; prints as a table.

    Attributes:
        num_examples: Examples (or positions) that the set held.
        teacher: Scores of labels of the teacher: `accuracy`, `nll`, `brier`, `ece`.
        student: Those of the student, and how it follows the teacher on the same
            inputs: `agreement`, `agreement_top5`, `kl`, `reverse_kl`, `jensen_shannon`,
            `total_variation`, and the bounds of the agreement.
        control: The same of the control beside the same teacher, or None.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.random.rand(8, 4).astype("float32")
    >>> result = keras_kd.evaluate_fidelity(model, model, (x,), verbose=0)
    >>> result.student.agreement, result.as_dict()["student_kl"]
    (1.0, 0.0)
    """

    num_examples: int
    teacher: SideScores
    student: SideScores
    control: SideScores | None = None

    def as_dict(self):
        """Flat dict of numbers: `teacher_accuracy`, `student_agreement`, ..."""
        numbers = {"num_examples": self.num_examples}
        for side in ("teacher", "student", "control"):
            found = getattr(self, side)
            if found is not None:
                for name, value in dataclasses.asdict(found).items():
                    numbers[f"{side}_{name}"] = value
        return numbers

    def __str__(self):
        table = format_table(*self._table())
        if any(
            value is not None for value in dataclasses.asdict(self.teacher).values()
        ):
            return table
        return f"{table}\nThe set has no labels, so what needs them is left out."

    def _table(self):
        sides = {"teacher": self.teacher, "student": self.student}
        if self.control is not None:
            sides["control"] = self.control
        rows = [
            # Not every terminal shows the sign of a divergence.
            [label.replace("‖", "||"), *(_shown(of, name) for of in sides.values())]
            for name, label in self.student.table_labels.items()
        ]
        return [f"{self.num_examples} examples", *sides], rows


def _shown(found, name):
    value = getattr(found, name, None)
    return "-" if value is None else f"{value:.4f}"


def evaluate_fidelity(
    teacher,
    student,
    dataset,
    control=None,
    *,
    steps=None,
    batch_size=256,
    num_bins=NUM_BINS,
    ignore_class=None,
    verbose="auto",
):
    """Compare two classifiers, distilled here or not, on the same inputs.

    The control answers the question whether the student learnt *this* teacher: a
    student distilled by the same recipe from another teacher. A student that agrees
    with its teacher no more than the control does has learnt the task, not the teacher.

    Args:
        teacher: Classifier: `keras.Model`, list of models, or `TeacherEnsemble`. Models
            that end in a softmax are recognised.
        student: Classifier: `keras.Model` (of a `Distiller`, its student).
        dataset: `tf.data.Dataset` of batches `x`, `(x, y)` or `(x, y, sample_weight)`,
            `keras.utils.PyDataset`, or a tuple of arrays. Without labels only the
            comparison of both models is made.
        control: Independent control student. Defaults to None.
        steps: Batches to read. Defaults to all; needed for endless sets.
        batch_size: For arrays. Defaults to 256.
        num_bins: Bins of the calibration error. Defaults to 15.
        ignore_class: Class index of rows that count as unlabelled, as `UNLABELED` (-1)
            does: 255 where that is how the labels mark them. Defaults to None.
        verbose: 0 for no progress bar. Defaults to `"auto"`.

    Returns:
        `FidelityResult`. One pass over the data; each model is called once a batch.

    Raises:
        ValueError: For an empty set, labels that are no classes of the models, and
            models with different inputs, classes or shapes of outputs.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x, y = np.ones((8, 4), "float32"), np.zeros(8, int)
    >>> result = keras_kd.evaluate_fidelity(
    ...     model, keras.models.clone_model(model), (x, y), verbose=0)
    >>> result.num_examples
    8

    Reference: Stanton et al. 2021, sections 3.2 and 4.
    """
    students = {"student": student}
    if control is not None:
        students["control"] = control
    one_pass = FidelityPass(
        teacher, students, num_bins=num_bins, ignore_class=ignore_class
    )
    return one_pass.run(as_dataset(dataset, batch_size), steps=steps, verbose=verbose)


class FidelityPass:
    """Compiled comparison of a teacher with students; runs again without a new trace.

    `run(dataset)` reads the current weights of all models each time. Private to this
    package: `evaluate_fidelity` and `FidelityMonitor` are its faces.
    """

    def __init__(
        self,
        teacher,
        students,
        *,
        num_bins=NUM_BINS,
        strategy=None,
        metrics=(),
        ignore_class=None,
    ):
        strategy = strategy or tf.distribute.get_strategy()
        self._scores = _scores_with(num_bins)
        with strategy.scope():
            self._means = {
                side: scores.ScoreMeans(self._of(side), name=side)
                for side in ("teacher", *students)
            }
            self._size = StreamingMean("size", "float64")
        self._given = list(metrics)
        on_host = [isinstance(metric, KeptExamples) for metric in metrics]
        pairs = list(zip(map(update_of, metrics), on_host, strict=True))
        self._updates = [update for update, is_on_host in pairs if not is_on_host]
        self._host_updates = [update for update, is_on_host in pairs if is_on_host]
        self._answers = Answers(
            {"teacher": teacher, **students},
            self._read,
            strategy=strategy,
            ignore_class=ignore_class,
        )

    def run(self, dataset, *, steps=None, verbose=0):
        """`FidelityResult` on a `tf.data.Dataset` or an iterable of batches."""
        for metric in (self._size, *self._means.values(), *self._given):
            metric.reset_state()
        for _, found in self._answers.over(dataset, steps=steps, verbose=verbose):
            for update in self._host_updates:
                update(Examples(**found))
        return self._result()

    def _of(self, side):
        """Of the teacher, those that do not compare it with itself."""
        return [s for s in self._scores if side != "teacher" or s.needs_labels]

    def _read(self, sides):
        student = sides["student"]
        ones = ops.ones_like(student.student[..., 0])
        self._size.add_values(weigh(ones, student._replace(sample_weight=None)))
        for side, means in self._means.items():
            means.update(sides[side])
        for update in self._updates:
            update(student)
        if self._host_updates:  # keep numbers of every example, which no graph can do
            return {k: v for k, v in student._asdict().items() if v is not None}
        return None

    def _result(self):
        found = {side: _numbers(means) for side, means in self._means.items()}
        labels = {score.name: score.label for score in self._scores}
        teacher = found.pop("teacher")
        students = {
            side: _side_scores(labels | BOUNDS, of | _bounds(teacher, of))
            for side, of in found.items()
        }
        of_teacher = _side_scores({name: labels[name] for name in teacher}, teacher)
        return FidelityResult(round(self._size.count), of_teacher, **students)


def _numbers(means):
    """`{name: float}` of all scores; None of those that do not apply."""
    found = {name: float(value) for name, value in means.result().items()}
    return {score.name: found.get(score.name) for score in means.scores}


def _scores_with(num_bins):
    check_whole_number("num_bins", num_bins, at_least=1)
    if num_bins == NUM_BINS:
        return scores.SCORES
    other = scores.calibration_score(num_bins)
    return tuple(other if s.name == other.name else s for s in scores.SCORES)


def _bounds(teacher, student):
    """What both accuracies imply for the agreement."""
    accuracies = teacher.get("accuracy"), student.get("accuracy")
    if None in accuracies:
        return dict.fromkeys(BOUNDS)
    lower = max(0.0, sum(accuracies) - 1.0)
    upper = 1.0 - abs(accuracies[0] - accuracies[1])
    return dict(zip(BOUNDS, (lower, upper), strict=True))
