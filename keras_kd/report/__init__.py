"""A page that says, in words and figures, what a student learnt from its teacher."""

from keras_kd.report.compare import Report, compare, compare_files
from keras_kd.report.verdict import Verdict, verdict

__all__ = ["Report", "Verdict", "compare", "compare_files", "verdict"]
