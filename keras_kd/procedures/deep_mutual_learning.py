"""Students that teach one another while all of them train."""

import keras

from keras_kd._common.calls import input_spec, inputs_for
from keras_kd._common.outputs import symbolic_outputs
from keras_kd._common.saving import architecture
from keras_kd.distiller import Distiller
from keras_kd.distiller.keras_trainer import KerasTrainer
from keras_kd.losses import KnowledgeDistillation, PerTeacher
from keras_kd.procedures._copies import copy_of
from keras_kd.procedures._stages import check_all_unlike
from keras_kd.teacher_ensemble import TeacherEnsemble


@keras.saving.register_keras_serializable(package="keras_kd")
class DeepMutualLearning(KerasTrainer, keras.Model):
    """Trains several students at once, each on the labels and on what its peers say.

    In every step each student in turn is updated on
    `w * label_loss + (1 - w) * mean_k distillation_loss(peer k, student)`; those after
    it see it as it then is, as in the paper's algorithm. Nobody is trained beforehand.

    It is a `keras.Model`: `fit`, `evaluate`, callbacks and strategies work as usual. A
    `.keras` file of it holds all students with their optimizers, and training goes on
    from there. Labels may be missing as in `keras_kd.Distiller`. Logs are those of a
    Distiller, under the name of each student. Peers answer in inference mode, as
    teachers do elsewhere in keras_kd; the paper's code reads them off in training mode.

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

    teacher = None  # no one else's; each student's are its peers

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
        losses, weights = distillation_losses, student_loss_weight
        if not isinstance(losses, _OfEach):
            losses = [copy_of(losses) for _ in students]
        if not isinstance(weights, _OfEach):
            weights = [weights] * len(students)
        self.distillers = [
            Distiller(
                Peers([peer for peer in students if peer is not student]),
                student,
                own_losses,
                student_loss_weight=own_weight,
                name=f"{student.name}_distiller",
            )
            for student, own_losses, own_weight in zip(
                students, losses, weights, strict=True
            )
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
        for_keras = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        of_each = {"optimizer": optimizer, "loss": loss, "metrics": metrics, **kwargs}
        for distiller in self.distillers:
            distiller.compile(**copy_of(of_each), jit_compile=False)
            distiller.optimizer.build(distiller.trainable_variables)
        super().compile(
            optimizer=self.distillers[0].optimizer, auto_scale_loss=False, **for_keras
        )
        for distiller in self.distillers:
            distiller.jit_compile = self.jit_compile  # their steps run in this one's
        # Written to __dict__: Keras must not track what is in it.
        vars(self)["_compiled_with"] = {**of_each, **for_keras}

    def call(self, inputs, training=None):
        """Logits of each student, a dict by name."""
        return {
            s.name: s(inputs_for(s, inputs), training=training) for s in self.students
        }

    def train_step(self, data):
        return self._each(lambda distiller: distiller.train_step(data))

    def test_step(self, data):
        return self._each(lambda distiller: distiller.test_step(data))

    @property
    def metrics(self):
        return [m for distiller in self.distillers for m in distiller.metrics]

    def get_metrics_result(self):
        """Logs of all students, as a step gives them."""
        return self._each(lambda distiller: distiller.get_metrics_result())

    def export(self, filepath, *args, **kwargs):
        """Export all students as one: it gives what `predict` does, a dict by name.

        For a single one export that student, `procedure.students[0].export(path)`.

        Args:
            filepath, *args, **kwargs: See `keras.Model.export`. The `input_signature`
                is known from the students.
        """
        if kwargs.get("input_signature") is None and len(args) < 3:
            kwargs["input_signature"] = [self._inputs_of_all()]
        keras.Model.export(self, filepath, *args, **kwargs)  # of no single student

    def get_config(self):
        of_each = [distiller.get_config() for distiller in self.distillers]
        names = (
            "distillation_losses",
            "distillation_loss_weights",
            "student_loss_weight",
        )
        return {
            "name": self.name,
            "students": [architecture(student) for student in self.students],
            **{name: [config[name] for config in of_each] for name in names},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = {
            name: keras.saving.deserialize_keras_object(
                value, custom_objects=custom_objects
            )
            for name, value in config.items()
        }
        factors = config.pop("distillation_loss_weights")
        for name in ("distillation_losses", "student_loss_weight"):
            config[name] = _OfEach(config[name])
        procedure = cls(**config)
        for distiller, own_factors in zip(procedure.distillers, factors, strict=True):
            distiller.distillation_loss_weights = own_factors
        return procedure

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _inputs_of_all(self):
        """What all students take together: the entries of a dict may differ."""
        specs = [input_spec(student) for student in self.students]
        if not all(isinstance(spec, dict) for spec in specs):
            return specs[0]
        return {name: tensor for spec in specs for name, tensor in spec.items()}

    def _parts(self):
        return self.distillers

    def _scheduled(self):
        return [s for distiller in self.distillers for s in distiller._scheduled()]

    def _has_all_variables(self):
        return True  # but those of its parts

    def _each(self, step):
        return {
            f"{distiller.student.name}_{key}": value
            for distiller in self.distillers
            for key, value in step(distiller).items()
        }


@keras.saving.register_keras_serializable(package="keras_kd")
class Peers(TeacherEnsemble):
    """The other students, of which files hold one copy: that of the students."""

    def save_assets(self, inner_path):
        """Save nothing: the weights of peers are saved with the students."""

    def load_assets(self, inner_path):
        """Load nothing."""


class _OfEach(list):
    """A setting of each student, as a file has them; they may have been set apart."""


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
