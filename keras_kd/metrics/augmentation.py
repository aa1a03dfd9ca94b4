"""What an augmentation does: to a model's accuracy, to its training, to its answers."""

from keras import ops

from keras_kd._common.checks import check_choice, check_number
from keras_kd._common.examples import weighted_mean
from keras_kd.metrics._weighed import of_labels
from keras_kd.metrics.agreement import agreement
from keras_kd.metrics.scores import hits

FORMS = ("difference", "ratio")


def augmentation_affinity(
    labels, clean_logits, augmented_logits, *, form="difference", sample_weight=None
):
    """How far augmentation moves a validation set, for a model trained without it.

    Its accuracy on the augmented set against that on the clean one. Higher means that
    augmented images look more like clean ones. For two accuracies that are known
    already it is their difference, or their ratio.

    Args:
        labels: Class indices `(n,)`, or one-hot rows `(n, classes)`, of the validation
            set. Rows without a label do not count.
        clean_logits: `(n, classes)`, of the model on clean images. It must have been
            trained on clean images.
        augmented_logits: Same shape, of the same model on the augmented images.
        form: `"difference"` (default; about 0 for an augmentation that changes nothing,
            negative otherwise) or `"ratio"` (about 1, and smaller).
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar; NaN for an empty set, and a ratio to an accuracy of 0.

    Example:

    >>> clean = np.array([[9.0, 0], [9, 0], [0, 9], [9, 0]])  # 3 of 4 right
    >>> moved = np.array([[9.0, 0], [0, 9], [9, 0], [9, 0]])  # 1 of 4
    >>> float(keras_kd.metrics.augmentation_affinity([0, 0, 1, 1], clean, moved))
    -0.5

    Reference: Gontijo-Lopes et al. 2020 (arXiv 2002.08973).
    """
    check_choice("form", form, FORMS)
    clean = _accuracy(labels, clean_logits, sample_weight)
    augmented = _accuracy(labels, augmented_logits, sample_weight)
    if form == "difference":
        return augmented - clean
    ratio = augmented / ops.where(clean == 0, 1.0, clean)
    return ops.where(clean == 0, float("nan"), ratio)


def augmentation_diversity(augmented_loss, clean_loss, *, form="ratio"):
    """How much harder an augmentation makes training. Higher is more diverse.

    Args:
        augmented_loss: Training loss at the end of a training with augmentation, on
            augmented examples; `history["loss"][-1]`, without regularisation.
        clean_loss: The same of a training that differs in nothing else.
        form: `"ratio"` (default) of the two, or their `"difference"`.

    Returns:
        A float; NaN for a ratio to 0.

    Example:

    >>> keras_kd.metrics.augmentation_diversity(0.75, 0.25)
    3.0

    Reference: Gontijo-Lopes et al. 2020 (arXiv 2002.08973).
    """
    check_choice("form", form, FORMS)
    fix = "Give the loss of the last epoch, not the whole history."
    augmented = check_number("augmented_loss", augmented_loss, at_least=0, fix=fix)
    clean = check_number("clean_loss", clean_loss, at_least=0, fix=fix)
    if form == "difference":
        return augmented - clean
    return augmented / clean if clean else float("nan")


def self_agreement(first_logits, second_logits, k=1, *, sample_weight=None):
    """Share of examples on which a model says the same of two views. Higher is closer.

    The most that can be asked of a student whose teacher saw another view. `Agreement`
    streams it.

    Args:
        first_logits: `(n, ..., classes)`, of the model on one view of each example.
        second_logits: Same shape, of the same model on another view.
        k: How many classes of the second may hold the first's. Defaults to 1.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> first, second = np.array([[3.0, 1], [0, 2]]), np.array([[2.0, 1], [4, 2]])
    >>> float(keras_kd.metrics.self_agreement(first, second))
    0.5
    """
    return agreement(first_logits, second_logits, k, sample_weight=sample_weight)


def disagreement_by_view(
    teacher_first, teacher_second, student_first, student_second, *, sample_weight=None
):
    """What part of a disagreement is the views', not the student's.

    Comparing a teacher on one view with a student on another counts as the student's
    what the teacher itself does not keep up. With both models on both views,
    `across_views = same_view + view`.

    Args:
        teacher_first: Logits `(n, ..., classes)` of the teacher on one view.
        teacher_second: The same on another view of the same examples.
        student_first: Of the student on the first view.
        student_second: Of the student on the second view.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Dict of scalars: `"same_view"`, the disagreement of teacher and student on the
        same view, mean of both views: the student's part; `"across_views"`, on
        different views, mean of both ways; `"view"`, their difference: the views' part,
        in size at most the smaller of the two that follow; `"teacher"` and `"student"`,
        what each disagrees with itself.

    Example:

    >>> first, second = np.eye(2)[[0, 0, 0, 0]], np.eye(2)[[0, 0, 0, 1]]
    >>> parts = keras_kd.metrics.disagreement_by_view(first, second, first, second)
    >>> float(parts["across_views"]), float(parts["same_view"]), float(parts["view"])
    (0.25, 0.0, 0.25)

    Reference: what the comparison of Stanton et al. 2021, figure 5 right, leaves out.
    """

    def differ(one, other):
        return 1 - agreement(one, other, sample_weight=sample_weight)

    same = differ(teacher_first, student_first) + differ(teacher_second, student_second)
    across = differ(teacher_first, student_second)
    across = across + differ(teacher_second, student_first)
    return {
        "same_view": same / 2,
        "across_views": across / 2,
        "view": (across - same) / 2,
        "teacher": differ(teacher_first, teacher_second),
        "student": differ(student_first, student_second),
    }


def _accuracy(labels, logits, sample_weight):
    return weighted_mean(of_labels(hits, labels, logits, sample_weight))
