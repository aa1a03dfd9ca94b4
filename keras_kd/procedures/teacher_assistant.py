"""A chain of models between a large teacher and a small student."""

import keras

from keras_kd.procedures._stages import Stages, check_all_unlike
from keras_kd.teacher_ensemble import TeacherEnsemble


class TeacherAssistant(Stages):
    """Distils the teacher into an assistant and that one into the student.

    Mirzadeh et al. find that a student gains less from a teacher that is much larger,
    and that assistants of a size in between help; longer chains may help more. (Their
    soft loss averages over classes too, so that their weights do not carry over.)

    Args:
        teacher: A trained `keras.Model`, a list of them, or a `TeacherEnsemble`.
        assistants: Model or models in between, from large to small.
        student: The last `keras.Model`.
        distillation_losses: See `keras_kd.Distiller`; each stage gets a copy. Defaults
            to `KnowledgeDistillation(temperature=4.0)`.
        student_loss_weight: Weight of the labels. Defaults to 0.5.
        directory: Folder that keeps the finished models and a backup of the present
            one, so that an interrupted run goes on. Defaults to None.

    Example:

    >>> def mlp(units):
    ...     return keras.Sequential(
    ...         [keras.Input((4,)), keras.layers.Dense(units, activation="relu"),
    ...          keras.layers.Dense(3)])
    >>> procedure = keras_kd.procedures.TeacherAssistant(mlp(32), [mlp(16)], mlp(8))
    >>> procedure.compile(
    ...     "adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> len(procedure.fit(x, y, epochs=1, verbose=0))
    2

    Reference: Mirzadeh et al. 2020, Improved Knowledge Distillation via Teacher
    Assistant.
    """

    def __init__(
        self,
        teacher,
        assistants,
        student,
        distillation_losses=None,
        student_loss_weight=0.5,
        directory=None,
    ):
        super().__init__(distillation_losses, student_loss_weight, directory)
        self.teacher = (
            teacher if isinstance(teacher, keras.Model) else TeacherEnsemble(teacher)
        )
        several = isinstance(assistants, (list, tuple))
        self.assistants = list(assistants) if several else [assistants]
        if not self.assistants:
            raise ValueError(
                "`assistants` is empty: without one, use keras_kd.Distiller."
            )
        self.student = student
        check_all_unlike(self._models())

    def _models(self):
        return [self.teacher, *self.assistants, self.student]
