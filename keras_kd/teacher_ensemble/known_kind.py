"""What the outputs of a teacher are, as it was stated or read, and logits of them."""

from typing import NamedTuple

import keras

from keras_kd._common.calls import with_mask_of
from keras_kd._common.output_kind import (
    CLASS_PROBABILITIES,
    INDEPENDENT_PROBABILITIES,
    LINEAR,
    PROBABILITIES,
    check_probabilities,
    log_of,
    output_kinds,
    refuse_probabilities,
)


class _Kind(NamedTuple):
    """What an output is, and how that is known."""

    kind: str | None  # of _common.output_kind
    is_read: bool  # off the model, which needs no check
    of_classes: bool = False  # whether stated probabilities may be of nothing else


def as_logits(outputs, kinds, member):
    """Logits of outputs that were stated or read to be of these kinds, or in doubt."""
    leaves = keras.tree.flatten(outputs)
    kinds = kinds if len(kinds) == len(leaves) else kinds[:1] * len(leaves)
    logits = [
        _logits_of_kind(leaf, known, member)
        for leaf, known in zip(leaves, kinds, strict=True)
    ]
    return keras.tree.pack_sequence_as(outputs, logits)


def _logits_of_kind(outputs, known, member):
    """Logits of what was stated or read to be of some kind, or is in doubt (None)."""
    if known.kind == LINEAR:
        return outputs
    if known.kind is None:
        return refuse_probabilities(
            outputs,
            f"Teacher {member.name!r} does not say what it gives, and all numbers of "
            "this batch lie between 0 and 1, as probabilities do. State it: "
            "`TeacherEnsemble(members, from_logits=False)` for probabilities, "
            "from_logits=True for logits.",
        )
    if not known.is_read:
        outputs = check_probabilities(
            outputs,
            f"Outputs of teacher {member.name!r} are no probabilities over classes, "
            "although from_logits=False says so. Pass `TeacherEnsemble(members, "
            "from_logits=False, multi_label=True)` for the probability of each class "
            "by itself (a sigmoid each), from_logits=True for logits.",
            of_classes=known.of_classes,
        )
    logits = log_of(outputs)
    if known.kind == INDEPENDENT_PROBABILITIES:
        logits = logits - log_of(1.0 - outputs)
    return with_mask_of(outputs, logits)


def check_from_logits(from_logits, num_members):
    if from_logits is None or isinstance(from_logits, bool):
        from_logits = [from_logits] * num_members
    if len(from_logits) != num_members or not all(
        f is None or isinstance(f, bool) for f in from_logits
    ):
        raise ValueError(
            f"`from_logits` must be one bool, or one a member ({num_members}). "
            f"Received: from_logits={from_logits!r}."
        )
    return list(from_logits)


def resolved_kinds(member, from_logits, multi_label):
    """Kind of each output, flat: as its last layer says, else as stated, else None."""
    read = keras.tree.flatten(output_kinds(member))
    if from_logits is not False and all(kind in PROBABILITIES for kind in read):
        raise ValueError(
            f"Teacher {member.name!r} ends in probabilities (a softmax or sigmoid) but "
            "is taken as logits: they would be softened twice. Pass "
            "`TeacherEnsemble(members, from_logits=False)`, or build the teacher "
            "without its last activation."
        )
    if from_logits is False and all(kind == LINEAR for kind in read):
        raise ValueError(
            f"Teacher {member.name!r} ends in logits but `from_logits=False` says "
            "probabilities. Pass `from_logits=True`."
        )
    stated = _Kind(None, is_read=False)
    if from_logits is not None:
        probabilities = (
            INDEPENDENT_PROBABILITIES if multi_label else CLASS_PROBABILITIES
        )
        kind = LINEAR if from_logits else probabilities
        stated = _Kind(kind, is_read=False, of_classes=multi_label is None)
    contradicted = CLASS_PROBABILITIES if multi_label else INDEPENDENT_PROBABILITIES
    if multi_label is not None and contradicted in read:
        raise ValueError(
            f"`multi_label` is {multi_label!r}, but {member.name!r} ends in a "
            f"{'softmax' if multi_label else 'sigmoid'}. Leave it out: it is read off "
            "the last layer."
        )
    return [stated if kind is None else _Kind(kind, is_read=True) for kind in read]
