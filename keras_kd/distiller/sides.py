"""Teacher and student of a distiller: what they answer, and what belongs together."""

import contextlib

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common.calls import as_float32, without_gradient
from keras_kd._common.checks import check_same_shape, may_equal
from keras_kd._common.examples import Examples, combined_mask
from keras_kd._common.labels import AS_GIVEN, Meaning, labelled_by, sparse_labels
from keras_kd._common.output_kind import (
    CLASS_PROBABILITIES,
    INDEPENDENT_PROBABILITIES,
    PROBABILITIES,
    check_probabilities,
    log_of,
    logits_of_stored,
    output_kinds,
    refuse_distributions,
)
from keras_kd._common.outputs import (
    have_names,
    match_to_outputs,
    named_outputs,
    pair_outputs,
    symbolic_outputs,
)
from keras_kd._common.taps import record_outputs
from keras_kd.distiller import arguments
from keras_kd.distiller.class_weights import weights_by_class
from keras_kd.distiller.distillation_terms import Forward


class Sides:
    """Runs both models and resolves a batch into `Examples`, one for each output.

    A plain object, so that Keras neither tracks nor saves the teacher.
    """

    scope_of_a_pass = contextlib.nullcontext  # `compile` says it

    def __init__(self, teacher, student, terms):
        self.teacher = teacher
        self._student = student
        self._terms = terms
        self._kinds = self._kinds_of_student(None)
        self._pairs = None  # {student's output: teacher's}, from the first batch on
        self._met_stored = False
        self._in_doubt = set()
        self.has_probabilities = CLASS_PROBABILITIES in self._kinds.values()
        theirs, ours = self._symbolic(), symbolic_outputs(student)
        names = self.student_names() or ()
        self._lone_name = names[0] if len(names) == 1 else None
        names = () if theirs is None else list(self._named_teacher(theirs))
        self._lone_teacher = names[0] if len(names) == 1 else None
        if ours is not None:
            arguments.check_output_names(terms.outputs, named_outputs(student, ours))
            if theirs is not None:
                self._check_compared(theirs, ours)

    def student_names(self):
        """Names of the student's outputs, None where only a batch tells."""
        outputs = symbolic_outputs(self._student)
        return None if outputs is None else list(named_outputs(self._student, outputs))

    def student_gives_probabilities(self):
        """`{output: bool}` where there are several, else one bool."""
        known = {n: k in PROBABILITIES for n, k in self._kinds.items()}
        return known if len(known) > 1 else next(iter(known.values()), False)

    def fidelity_outputs(self, names):
        """Of the student's outputs, those that a teacher's distribution goes with."""
        ours, theirs = symbolic_outputs(self._student), self._symbolic()
        if ours is None:
            return names
        pairs, teachers = dict.fromkeys(names), {}
        if theirs is not None:
            pairs, teachers = self._pair(theirs, ours), self._named_teacher(theirs)
        shapes = {n: t.shape for n, t in named_outputs(self._student, ours).items()}
        return [
            name
            for name in names
            if len(shapes[name]) > 1
            and shapes[name][-1] != 1
            and self._kinds.get(name) != INDEPENDENT_PROBABILITIES
            and (theirs is None or _alike(teachers.get(pairs[name]), shapes[name]))
            and not self._is_multi_label(pairs[name])
        ]

    def teacher_forward(self, batch, labels_suffice=False):
        """Logits of the teacher, stored or live, and its tapped features.

        None where there are none and `labels_suffice`.
        """
        stored = batch.teacher_logits is not None or batch.teacher_probs is not None
        if self.teacher is None and not stored and labels_suffice:
            return None
        if stored or self.teacher is None or batch.temperature is not None:
            arguments.check_answers(batch, self.teacher is not None, self._terms)
        if stored:
            return self._stored(batch)
        layers, features = self._terms.teacher_layers, {}
        with self.scope_of_a_pass():
            if layers:
                with record_outputs(layers) as features:
                    members = self.teacher.member_logits(batch.x)
                features = keras.tree.map_structure(without_gradient, features)
            else:
                members = self.teacher.member_logits(batch.x)
        structure = members[0]
        if len(members) > 1:
            structure = self.teacher.combine_members(members)
        structure = as_float32(structure)
        if self._lone_teacher is not None and tf.is_tensor(structure):
            outputs = {self._lone_teacher: structure}
        else:
            outputs = self._named_teacher(structure)
        if "members" not in self._terms.taken:
            return Forward(outputs, structure, features)
        members = [self._named_teacher(as_float32(m)) for m in members]
        weights = self.teacher.member_weights
        return Forward(outputs, structure, features, members, weights)

    def student_forward(self, call, batch, training, structure=None):
        """Outputs of the student and its tapped features, in one pass.

        `structure`: its outputs, where they are there: then only taps need a pass.
        """
        layers, features = self._terms.student_layers, {}
        with self.scope_of_a_pass():
            if layers:
                with record_outputs(layers) as features:
                    structure = call(batch.x, training=training)
            elif structure is None:
                structure = call(batch.x, training=training)
        return self.with_outputs(Forward({}, None, features), structure)

    def with_outputs(self, forward, structure):
        """The student's forward pass with these outputs in place of its own."""
        outputs = as_float32(structure)
        if self._lone_name is not None and tf.is_tensor(outputs):
            outputs = {self._lone_name: outputs}
        else:
            outputs = named_outputs(self._student, outputs)
        return forward._replace(outputs=outputs, structure=structure)

    def examples(self, batch, teacher, student, meanings, *, needs_classes):
        """`{output: Examples}`; `meanings` of the labels by output."""
        names = list(student.outputs)
        weights = answers = dict.fromkeys(names)
        needs_labels = bool(meanings) or needs_classes
        labels = self._labels(batch, names) if needs_labels else weights
        if batch.sample_weight is not None:
            weights = match_to_outputs(
                "sample_weight", batch.sample_weight, names, shared=True
            )
        if teacher is not None:
            if self._pairs is None or teacher.is_stored or self._met_stored:
                self._meet(batch, teacher, student)
            answers = {n: teacher.outputs.get(pair) for n, pair in self._pairs.items()}
        if batch.teacher_logits is not None:
            answers = self._as_logits(answers)
        found = {}
        for name, ours in student.outputs.items():
            theirs = answers[name]
            if theirs is not None and theirs.shape.rank is None:
                theirs = tf.ensure_shape(theirs, [None, *ours.shape[1:]])
            if name in self._in_doubt:
                message = arguments.student_in_doubt(self._student)
                ours = refuse_distributions(ours, message)
            one = Examples(
                theirs,
                ours,
                sample_weight=weights[name],
                mask=combined_mask(theirs, ours),
                temperature=batch.temperature,
            )
            if teacher is not None and teacher.members:
                one = one._replace(
                    members=[m.get(self._pairs[name]) for m in teacher.members],
                    member_weights=teacher.member_weights,
                )
            if labels[name] is not None:
                meaning = meanings.get(name) or Meaning(AS_GIVEN)
                one = _with_labels(one, labels[name], meaning, needs_classes)
            found[name] = one
        return found

    def _labels(self, batch, names):
        """`{output: labels}`, as they were given."""
        if self._lone_name is not None and tf.is_tensor(batch.labels):
            return {self._lone_name: batch.labels}
        return match_to_outputs("y", batch.labels, names, shared=False)

    def with_logits(self, examples):
        """`Examples` in which a student's probabilities over classes are log p."""
        found = dict(examples)
        for name, one in examples.items():
            if self._kinds.get(name) == CLASS_PROBABILITIES:
                found[name] = one._replace(student=log_of(one.student))
        return found

    def weighed_by_class(self, batch, class_weight, label_loss):
        """The batch, each label of its single output weighed by its class."""
        names = self.student_names() or ["output"]
        if batch.sample_weight is not None or not ops.is_tensor(batch.labels):
            raise ValueError(
                "`class_weight` needs batches `(x, y)` with labels of one output and "
                "no weights of their own. Multiply the factors into `sample_weight` in "
                "the pipeline instead."
            )
        meaning = Meaning(AS_GIVEN)
        if label_loss and len(names) == 1:
            meaning = label_loss.meanings(names)[names[0]]
        weights = weights_by_class(class_weight, batch.labels, meaning)
        return batch._replace(sample_weight=weights)

    def _symbolic(self):
        """Symbolic outputs of the live teacher, or None."""
        if self.teacher is None:
            return None
        return symbolic_outputs(self.teacher.members[0])

    def _named_teacher(self, structure):
        model = self.teacher and self.teacher.members[0]
        return named_outputs(model, structure)

    def _pair(self, theirs, ours):
        """`{student's output: teacher's or None}` from both structures."""
        model = self.teacher and self.teacher.members[0]
        by_name = have_names(model, theirs) and have_names(self._student, ours)
        teacher = self._named_teacher(theirs)
        student = named_outputs(self._student, ours)
        return pair_outputs(teacher, student, by_name=by_name)

    def _stored(self, batch):
        """A batch's own answers as logits."""
        if batch.teacher_probs is not None:
            structure = keras.tree.map_structure(_log_of_stored, batch.teacher_probs)
        else:
            structure = batch.teacher_logits
            structure = keras.tree.map_structure(ops.convert_to_tensor, structure)
        outputs = self._named_teacher(structure)
        return Forward(outputs, as_float32(structure), {}, is_stored=True)

    def _as_logits(self, answers):
        """Stored answers; where losses take logits, those of distributions."""
        rows = self._terms.on_outputs(list(answers))
        as_features = {output for *_, output, kind in rows if kind == "features"}
        as_features -= {output for *_, output, kind in rows if kind != "features"}
        found = dict(answers)
        for name, stored in answers.items():
            if stored is not None and name not in as_features:
                stored = logits_of_stored(stored)
            found[name] = as_float32(stored) if stored is not None else None
        return found

    def _kinds_of_student(self, x):
        """`{output: kind}`; of a model that does not say, on a batch of inputs."""
        spec = None
        if x is not None:
            spec = keras.tree.map_structure(
                lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x
            )
        elif not self._student.built:
            return {}
        kinds = output_kinds(self._student, spec)
        return {} if kinds is None else named_outputs(self._student, kinds)

    def _is_multi_label(self, name):
        return self.teacher is not None and self.teacher.is_multi_label(name)

    def _meet(self, batch, teacher, student):
        """At the first batch: which outputs belong together, and whether they fit.

        Stored answers may come in another structure in each kind of set.
        """
        self._pairs = self._pair(teacher.structure, student.structure)
        self._met_stored = teacher.is_stored
        names = list(student.outputs)
        compared = {output for _, output, _ in self._terms.compared(names)}
        if any(self._kinds.get(name) is None for name in compared):
            self._kinds = self._kinds_of_student(batch.x)
            self.has_probabilities = CLASS_PROBABILITIES in self._kinds.values()
        self._in_doubt = {n for n in compared if self._kinds.get(n) is None}
        self._check_kinds(self._pairs)
        for name in compared:
            theirs = teacher.outputs[self._pairs[name]]
            if theirs.shape.rank is not None:
                check_same_shape(theirs, student.outputs[name], classes=1)

    def _check_compared(self, theirs, ours):
        """Before any batch: outputs that losses compare exist, and fit."""
        pairs = self._pair(theirs, ours)
        self._check_kinds(pairs)
        teacher = self._named_teacher(theirs)
        student = named_outputs(self._student, ours)
        for _, output, _ in self._terms.compared(list(student)):
            classes = teacher[pairs[output]].shape[-1], student[output].shape[-1]
            if None not in classes and classes[0] != classes[1]:
                arguments.raise_unequal_classes(
                    self.teacher.members[0], self._student, output, *classes
                )

    def _check_kinds(self, pairs):
        """Losses on logits get logits, each from an output of its own."""
        for loss, output, compares in self._terms.on_outputs(list(pairs)):
            if pairs[output] is None:
                arguments.raise_unpaired(loss, output, self._teacher_names())
            takes_logits = compares != "features" or (
                self.teacher is not None
                and self.teacher.is_of_probabilities(pairs[output])
            )
            if takes_logits and self._kinds.get(output) in PROBABILITIES:
                arguments.raise_probabilities(self._student)
            if compares == "class_logits" and self._is_multi_label(pairs[output]):
                arguments.raise_multi_label(loss, output)

    def _teacher_names(self):
        theirs = self._symbolic()
        return None if theirs is None else list(self._named_teacher(theirs))


def _log_of_stored(probs):
    probs = ops.convert_to_tensor(probs)
    message = (
        "`teacher_probs` of a batch must be probabilities over classes, each row with "
        "a sum of 1. Of classes that are independent (a sigmoid each), store "
        "`teacher_logits`, log(p / (1 - p)), instead."
    )
    return log_of(check_probabilities(probs, message, of_classes=True))


def _alike(theirs, shape):
    """Whether a teacher's output has the positions and classes of a student's."""
    return theirs is not None and may_equal(theirs.shape, shape)


def _with_labels(examples, labels, meaning, needs_classes):
    """`Examples` with labels as given, and as classes where something reads those."""
    labels = ops.convert_to_tensor(labels)
    labelled = labelled_by(meaning, labels)
    examples = examples._replace(labels=labels, labelled=labelled)
    if not needs_classes:
        return examples
    classes, known = sparse_labels(labels, examples.student, meaning.ignore_class)
    if meaning.kind == AS_GIVEN:  # the label loss knows of no missing label
        return examples._replace(classes=ops.where(known == 0, -1, classes))
    return examples._replace(classes=classes, labelled=known)
