"""Float64 NumPy written from the papers' formulas. Imports nothing of keras_kd."""
