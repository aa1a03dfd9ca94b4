"""Students that teach one another while all of them train."""

import keras

from keras_kd._common.outputs import symbolic_outputs
from keras_kd.distiller import Distiller
from keras_kd.losses import KnowledgeDistillation, PerTeacher
from keras_kd.procedures._stages import check_all_unlike, copy_of
from keras_kd.teacher_ensemble import TeacherEnsemble


class DeepMutualLearning(keras.Model):
    """Trains several students at once, each on the labels and on what its peers say.

    In every step each student in turn is updated on
    `w * label_loss + (1 - w) * mean_k distillation_loss(peer k, student)`; those after
    it see it as it then is, as in the paper's algorithm. Nobody is trained beforehand.

    It is a `keras.Model`: `fit`, `evaluate`, callbacks and strategies work as usual.
    Logs are those of `keras_kd.Distiller`, under the name of each student. Peers answer
    in inference mode, as teachers do elsewhere in keras_kd; the paper's code reads them
    off in training mode.

    Args:
        students: Two or more built functional or Sequential `keras.Model`s with names
            of their own; they give logits and are trained in place.
        distillation_losses: See `keras_kd.Distiller`; each student gets a copy.
            Defaults to `PerTeacher(KnowledgeDistillation(temperature=1.0))`, the mean
            over the peers (the released code sums over them).
        student_loss_weight: Weight w of the labels. Defaults to 0.5, the paper's
            equal weights.
        name: Name of the model. Defaults to `"deep_mutual_learning"`.

    Raises:
        ValueError: For less than two students, equal names, or models without static
            outputs.

    Example:

    >>> def mlp(units, name):
    ...     return keras.Sequential(
    ...         [keras.Input((4,)), keras.layers.Dense(units, activation="relu"),
    ...          keras.layers.Dense(3)], name=name)
    >>> procedure = keras_kd.procedures.DeepMutualLearning(
    ...     [mlp(16, "wide"), mlp(4, "narrow")])
    >>> procedure.compile(
    ...     "adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> history = procedure.fit(x, y, epochs=1, verbose=0)
    >>> [name for name in sorted(history.history) if "loss" in name and "wide" in name]
    ['wide_distillation_loss', 'wide_loss', 'wide_student_loss']

    Reference: Zhang et al. 2018, Deep Mutual Learning, equations 4 to 8.
    """

    def __init__(
        self,
        students,
        distillation_losses=None,
        student_loss_weight=0.5,
        name="deep_mutual_learning",
        **kwargs,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        students = _check_students(students)
        if distillation_losses is None:
            distillation_losses = PerTeacher(KnowledgeDistillation(temperature=1.0))
        self.distillers = [
            Distiller(
                TeacherEnsemble([peer for peer in students if peer is not student]),
                student,
                copy_of(distillation_losses),
                student_loss_weight=student_loss_weight,
                name=f"{student.name}_distiller",
            )
            for student in students
        ]
        self.built = True

    @property
    def students(self):
        """The models that are trained, in the order of their updates."""
        return [distiller.student for distiller in self.distillers]

    def compile(
        self,
        optimizer="adam",
        loss=None,
        metrics=None,
        *,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile=False,
        **kwargs,
    ):
        """Configure training.

        Args:
            optimizer: Each student gets a copy, with a step count of its own. For a
                learning rate that changes, give it a schedule: callbacks that set one
                see the first student's optimizer alone.
            loss, metrics, **kwargs: Of each student; see `keras_kd.Distiller.compile`.
            run_eagerly, steps_per_execution, jit_compile: See `keras.Model.compile`.
        """
        for distiller in self.distillers:
            arguments = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
            distiller.compile(**copy_of({**arguments, **kwargs}), jit_compile=False)
            distiller.optimizer.build(distiller.trainable_variables)
        super().compile(
            optimizer=self.distillers[0].optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=False,
        )

    def call(self, inputs, training=None):
        """Logits of each student, a dict by name."""
        return {s.name: s(inputs, training=training) for s in self.students}

    def train_step(self, data):
        return self._each(lambda distiller: distiller.train_step(data))

    def test_step(self, data):
        return self._each(lambda distiller: distiller.test_step(data))

    @property
    def metrics(self):
        return [m for distiller in self.distillers for m in distiller.metrics]

    def _each(self, step):
        return {
            f"{distiller.student.name}_{key}": value
            for distiller in self.distillers
            for key, value in step(distiller).items()
        }


def _check_students(students):
    students = list(students)
    check_all_unlike(students)
    names = [getattr(student, "name", student) for student in students]
    if len(students) < 2 or len(set(names)) < len(names):
        raise ValueError(
            "`students` must be two or more models with names of their own. Received: "
            f"{names}."
        )
    for student in students:
        if not isinstance(student, keras.Model) or symbolic_outputs(student) is None:
            raise ValueError(
                "Each student must be a functional or a built Sequential keras.Model. "
                f"Received: {student!r}. Give a Sequential model a keras.Input."
            )
    return students
