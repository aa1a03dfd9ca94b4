"""One or more trained models as one frozen teacher."""

from keras_kd.teacher_ensemble.teacher_ensemble import TeacherEnsemble

__all__ = ["TeacherEnsemble"]
