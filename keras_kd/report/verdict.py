"""What the numbers of a report say, in words."""

import dataclasses

from keras_kd._common.table import InTable

_ENDS = ("value", "low", "high")
IDENTICAL_KL = 1e-8  # nats; float32 rounding stays below


@dataclasses.dataclass(frozen=True)
class Verdict(InTable):
    """The answer to: did the student learn this teacher?

    Attributes:
        answer: `"identical"`, `"closer"`, `"no closer"`, `"further"`, `"mixed"` (the
            last four beside a control) or `"no control"`.
        headline: One sentence.
        sentences: More of them, in order of weight.

    Example:

    >>> said = keras_kd.report.Verdict("closer", "It is closer.", ("By 3 points.",))
    >>> print(said)
    It is closer.
    - By 3 points.
    """

    answer: str
    headline: str
    sentences: tuple

    def __str__(self):
        return "\n".join([self.headline, *(f"- {s}" for s in self.sentences)])

    def _table(self):
        rows = [[i, text] for i, text in enumerate(self.sentences, start=1)]
        return [self.answer, self.headline], rows


def verdict(numbers):
    """`Verdict` on the numbers of one set, as `Report.numbers` holds them.

    Beside a control, the difference of its KL to the teacher and the student's decides
    when its interval leaves out 0, together with that of their agreement.

    Args:
        numbers: Dict of one set.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> report = keras_kd.report.compare(model, model, x, out="report")
    >>> keras_kd.report.verdict(report.numbers["data"]).answer
    'identical'
    """
    answer, headline = _answer(numbers)
    told = [_at_chance, _against_control, _accuracy]
    if answer != "identical":  # what the headline says need not be said again
        told = [
            _at_chance,
            _agreement,
            _against_control,
            _accuracy,
            _who_is_right,
            _confidence,
        ]
    sentences = [tell(numbers) for tell in told]
    return Verdict(answer, headline, tuple(s for s in sentences if s))


def _answer(numbers):
    student = numbers["scores"]["student"]
    same = student["agreement"]["value"] == 1.0
    if same and student["kl"]["value"] <= IDENTICAL_KL:
        return (
            "identical",
            "The student is identical to its teacher on this set: the same class on "
            f"all {numbers['num_examples']:,} examples, with the same probabilities.",
        )
    differences = numbers["differences"].get("student_minus_control")
    if differences is None:
        return (
            "no control",
            f"The student repeats its teacher's class on {_percent(student)} of the "
            "examples. Without a control nothing says how much of that is this teacher "
            "and how much the task.",
        )
    kl, agreement = (
        -_sign(differences["kl"]),
        _sign(differences["agreement"]),
    )
    if kl * agreement < 0:
        return (
            "mixed",
            "Mixed: the student is closer to its teacher than the control by "
            f"{'probabilities' if kl > 0 else 'class'}, and further by "
            f"{'class' if kl > 0 else 'probabilities'}.",
        )
    if kl + agreement > 0:
        return (
            "closer",
            "The student is closer to its teacher than the control, by "
            f"{_by(kl > 0, agreement > 0)}: it learnt something of this very teacher.",
        )
    if kl + agreement < 0:
        return (
            "further",
            "The student is further from its teacher than the control, by "
            f"{_by(kl < 0, agreement < 0)}, though the control never saw this teacher.",
        )
    return (
        "no closer",
        "The student is no closer to its teacher than the control, as far as these "
        "examples tell: what it learnt is the task, not this teacher.",
    )


def _by(probabilities, classes):
    if probabilities and classes:
        return "class and by probabilities"
    if probabilities:
        return "its probabilities (by class this set cannot tell)"
    return "class (by probabilities this set cannot tell)"


def _agreement(numbers):
    scores = numbers["scores"]["student"]
    text = (
        f"Student and teacher predict the same class on {_percent(scores)} of "
        f"{numbers['num_examples']:,} examples"
    )
    bounds = numbers.get("agreement_bounds")
    if bounds:
        low, high = (bounds["student"][k] for k in ("lower", "upper"))
        text += f"; their accuracies alone allow {low:.1%} to {high:.1%}"
    kl = scores["kl"]
    return (
        f"{text}. The probabilities differ by a KL of {kl['value']:.4g} nats "
        f"({_span(kl, '.4g')})."
    )


def _at_chance(numbers):
    accuracy = numbers["scores"]["teacher"].get("accuracy")
    chance = 1 / numbers["num_classes"]
    if accuracy is None or accuracy["low"] > chance or accuracy["value"] > 3 * chance:
        return None
    return (
        f"Beware: the teacher is right on {accuracy['value']:.1%} only, which is about "
        "chance. Do the inputs come as it saw them in training (their scale, say)?"
    )


def _against_control(numbers):
    differences = numbers["differences"].get("student_minus_control")
    if differences is None:
        return None
    kl, agreement = differences["kl"], differences["agreement"]
    of_control = numbers["scores"]["control"]
    return (
        f"The control agrees with this teacher on {_percent(of_control)}, at a KL of "
        f"{of_control['kl']['value']:.4g} nats. Student less control: agreement "
        f"{_points(agreement)}; KL {_signed(kl['value'], '.4g')} nats "
        f"({_signed(kl['low'], '.4g')} to {_signed(kl['high'], '.4g')})."
    )


def _accuracy(numbers):
    scores = numbers["scores"]
    if "accuracy" not in scores["student"]:
        return (
            "The set has no labels, so accuracy, calibration, and who is right are "
            "left out."
        )
    gap = numbers["differences"]["student_minus_teacher"]["accuracy"]
    if not any(gap[end] for end in _ENDS):
        return f"Both have an accuracy of {scores['student']['accuracy']['value']:.1%}."
    unclear = "" if _sign(gap) else ", which this set cannot tell from 0"
    return (
        f"The student's accuracy is {scores['student']['accuracy']['value']:.1%}, the "
        f"teacher's {scores['teacher']['accuracy']['value']:.1%}: {_points(gap)}"
        f"{unclear}."
    )


def _who_is_right(numbers):
    kinds = numbers.get("kinds")
    if not kinds:
        return None
    kinds = kinds["student"]
    names = ("only_teacher_right", "only_student_right", "both_wrong_different")
    parted = sum(kinds[name]["value"] for name in names)
    if not parted:
        return None
    teacher, student, neither = (kinds[name]["value"] / parted for name in names)
    return (
        f"Where they part, the teacher is right in {teacher:.0%} of the cases, the "
        f"student in {student:.0%}, and neither in {neither:.0%}."
    )


def _confidence(numbers):
    fit = numbers["confidence_exaggeration"]["student"]["whole"]
    (low, high), slope = fit["slope_interval"], fit["slope"]
    if not low <= high:  # NaN too: no slope to speak of
        return None
    if low > 1:
        how = "exaggerates its teacher's confidence"
    elif low <= 0:
        how = "is not surer where its teacher is"
    elif high < 1:
        how = "is surer where its teacher is, but less than one to one"
    else:
        how = "is surer where its teacher is, one to one as far as this set tells"
    ends = (_signed(end, ".2f") for end in (slope, low, high))
    return (
        "The student {}: its log-odds change by {} for each 1 of the teacher's ({} to "
        "{}). ".format(how, *ends)
        + f"On {fit['below_diagonal']:.0%} of the examples it is less sure of the "
        "teacher's class."
    )


def _points(entry):
    value, low, high = (_signed(100 * entry[k], ".1f") for k in _ENDS)
    return f"{value} points ({low} to {high})"


def _signed(value, form):
    return f"{value:+{form}}".replace("-", "−")


def _sign(entry):
    """1 or -1 where the interval leaves out 0."""
    if entry["low"] > 0:
        return 1
    return -1 if entry["high"] < 0 else 0


def _percent(scores):
    entry = scores["agreement"]
    return f"{entry['value']:.1%} ({_span(entry, '.1%')})"


def _span(entry, form):
    return f"{entry['low']:{form}} to {entry['high']:{form}}"
