"""keras_kd: distil teachers into a student, and see what the student learnt."""

from keras_kd import (
    callbacks,
    data,
    losses,
    metrics,
    models,
    probes,
    procedures,
    report,
    schedules,
)
from keras_kd._common.batch import UNLABELED
from keras_kd.distiller import Distiller
from keras_kd.fidelity import FidelityResult, evaluate_fidelity
from keras_kd.teacher_ensemble import TeacherEnsemble

__version__ = "0.1.0"

__all__ = [
    "UNLABELED",
    "Distiller",
    "FidelityResult",
    "TeacherEnsemble",
    "callbacks",
    "data",
    "evaluate_fidelity",
    "losses",
    "metrics",
    "models",
    "probes",
    "procedures",
    "report",
    "schedules",
]
