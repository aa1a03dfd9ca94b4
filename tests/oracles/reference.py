"""Inputs with published closed forms, and what released code gives on them in float64.

Computed from the papers' own code, on: z_s[i, k] = 2 sin(i + 2k + 1),
z_t[i, k] = 3 cos(2i + k), i < 4, k < 5, indices from 0.
"""

import numpy as np

_I, _K = np.arange(4.0)[:, None], np.arange(5.0)

TEACHER_LOGITS = 3 * np.cos(2 * _I + _K)
STUDENT_LOGITS = 2 * np.sin(_I + 2 * _K + 1)
LABELS = np.array([0, 3, 1, 4])

KL = {1.0: 1.54706189, 4.0: 2.69885643}  # temperature -> T^2 KL
HALF_CENTRED_SQUARED_DISTANCE = 2.69180288  # limit of T^2 KL: sum over classes / 2K
NLL = 2.18805249
NLL_OF_TEACHER_CLASSES = 2.25690152
AGREEMENT = 0.5
ECE_OF_10_BINS = 0.35636192
