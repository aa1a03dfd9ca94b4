"""A network that teaches networks of its own architecture, round by round."""

import keras

from keras_kd._common.checks import check_whole_number
from keras_kd.distiller import Distiller
from keras_kd.losses import KnowledgeDistillation
from keras_kd.procedures._copies import copy_of
from keras_kd.procedures._stages import Stages, check_all_unlike


class SelfDistillation(Stages):
    """Trains a model on labels, then distils it into a fresh copy of itself.

    Capacity and architecture are equal on both sides, so the student could copy its
    teacher exactly; that it does not, and yet often generalises better, is what Stanton
    et al. (figure 1) and Nagarajan et al. start from. More rounds regularise more
    (Mobahi et al.): the student relies on ever fewer directions.

    Args:
        model: The `keras.Model` to begin with, untrained: it is the first teacher. A
            trained one with `train_teacher=False`.
        rounds: Distillations. Defaults to 1.
        distillation_losses: See `keras_kd.Distiller`; each round gets a copy. Defaults
            to `KnowledgeDistillation(temperature=4.0)`.
        student_loss_weight: Weight of the labels in the rounds. Defaults to 0.0, the
            teacher's word alone.
        train_teacher: Whether `fit` first trains `model` on the labels. Defaults to
            True.
        make_student: Function of no arguments that gives a new student. Defaults to
            `keras.models.clone_model(model)`, whose initial weights are new except
            where the layers' initializers have a seed.
        directory: Folder that keeps finished models and a backup of the present one,
            so that an interrupted run goes on. Defaults to None.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> procedure = keras_kd.procedures.SelfDistillation(model)
    >>> procedure.compile(
    ...     "adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> on_labels, distilled = procedure.fit(x, y, epochs=1, verbose=0)
    >>> "agreement" in on_labels, "agreement" in distilled
    (False, True)

    Reference: Mobahi et al. 2020, Self-Distillation Amplifies Regularization in Hilbert
    Space; Stanton et al. 2021, section 4.1.
    """

    def __init__(
        self,
        model,
        rounds=1,
        distillation_losses=None,
        student_loss_weight=0.0,
        train_teacher=True,
        make_student=None,
        directory=None,
    ):
        super().__init__(distillation_losses, student_loss_weight, directory)
        make = make_student or (lambda: keras.models.clone_model(model))
        count = check_whole_number("rounds", rounds, at_least=1)
        self.models = [model, *(make() for _ in range(count))]
        self.train_teacher = train_teacher
        check_all_unlike(self.models)

    def _models(self):
        return self.models

    def _stages(self):
        stages = super()._stages()
        if not self.train_teacher:
            return stages
        model = self.models[0]
        return {0: (self._train_on_labels, model, f"{model.name} on labels"), **stages}

    def _train_on_labels(self, *args, **kwargs):
        """Train the first teacher on the labels alone."""
        arguments = dict(self._compile_arguments)
        arguments.pop("fidelity_metrics", None)  # there is no teacher yet
        with self.models[0].distribute_strategy.scope():
            training = Distiller(
                None,
                self.models[0],
                KnowledgeDistillation(),  # of no teacher: nothing is compared
                student_loss_weight=1.0,
            )
            training.compile(**copy_of(arguments))
        return training.fit(*args, **kwargs)
