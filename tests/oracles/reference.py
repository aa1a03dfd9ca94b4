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
ECE_OF_10_BINS_UNWEIGHTED = 0.10291661  # Guo et al. 2024
REVERSE_KL = 1.85908389
JENSEN_SHANNON = 0.29512643
TEACHER_PHI = np.array([1.288609, 1.843441, 0.336672, 0.539529])
STUDENT_PHI = np.array([-0.328500, -3.740484, -0.044050, -3.651803])
PHI_SLOPE, PHI_INTERCEPT = -1.05266517, -0.88637275

# Embeddings e_s[i, d] = sin(i + d (i + 1)), d < 3; e_t[i, d] = cos(i d + 2 i), d < 6.
STUDENT_EMBEDDINGS = np.sin(_I + np.arange(3.0) * (_I + 1))
TEACHER_EMBEDDINGS = np.cos(_I * np.arange(6.0) + 2 * _I)

BIASED_LINEAR_CKA = 0.78519015
HSIC_1 = {"st": 0.34721055, "ss": 1.54335152, "tt": 0.12572598}
