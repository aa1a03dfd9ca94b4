"""Born-again networks: generations of students, each taught by the one before."""

from keras_kd._common.checks import check_whole_number
from keras_kd.losses import KnowledgeDistillation
from keras_kd.procedures._stages import Stages, check_all_unlike
from keras_kd.teacher_ensemble import TeacherEnsemble


class BornAgain(Stages):
    """Distils a teacher into a student of its kind, that one into the next, and so on.

    Furlanello et al. find that students of the teacher's own architecture outdo it for
    a few generations, and that their ensemble is better still. Fidelity is another
    matter: each generation deviates from the one before (Stanton et al., figure 1).

    Args:
        teacher: The first `keras.Model`, trained, or a `keras_kd.TeacherEnsemble`.
        make_student: Function of no arguments that gives a new, untrained student with
            weights of its own. It is called once a generation.
        generations: Students to train. Defaults to 3.
        distillation_losses: See `keras_kd.Distiller`; each generation gets a copy.
            Defaults to `KnowledgeDistillation(temperature=1.0)`, as the paper has no
            temperature.
        student_loss_weight: Weight of the labels. Defaults to 0.5.
        directory: Folder that keeps the finished generations and a backup of the
            present one, so that an interrupted run goes on. Defaults to None.

    Example:

    >>> def make_student():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> procedure = keras_kd.procedures.BornAgain(make_student(), make_student, 2)
    >>> procedure.compile(
    ...     "adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> histories = procedure.fit(x, y, epochs=1, verbose=0)
    >>> len(histories), len(procedure.ensemble().members)
    (2, 2)

    Reference: Furlanello et al. 2018, Born-Again Neural Networks.
    """

    def __init__(
        self,
        teacher,
        make_student,
        generations=3,
        distillation_losses=None,
        student_loss_weight=0.5,
        directory=None,
    ):
        if not callable(make_student):
            raise TypeError(
                "`make_student` must be a function that gives a new student each time. "
                f"Received: {make_student!r} of type {type(make_student).__name__}."
            )
        if distillation_losses is None:
            distillation_losses = KnowledgeDistillation(temperature=1.0)
        super().__init__(distillation_losses, student_loss_weight, directory)
        self.teacher = teacher
        count = check_whole_number("generations", generations, at_least=1)
        self.students = [make_student() for _ in range(count)]
        check_all_unlike([teacher, *self.students])

    def ensemble(self):
        """A `keras_kd.TeacherEnsemble` of all generations (BANE), without the teacher.

        Returns:
            `keras_kd.TeacherEnsemble` of the students.
        """
        return TeacherEnsemble(self.students)

    def _models(self):
        return [self.teacher, *self.students]
