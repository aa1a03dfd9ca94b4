"""Procedures of several trainings, each a small object with `fit`."""

from keras_kd.procedures.born_again import BornAgain
from keras_kd.procedures.deep_mutual_learning import DeepMutualLearning
from keras_kd.procedures.self_distillation import SelfDistillation
from keras_kd.procedures.teacher_assistant import TeacherAssistant

__all__ = [
    "BornAgain",
    "DeepMutualLearning",
    "SelfDistillation",
    "TeacherAssistant",
]
