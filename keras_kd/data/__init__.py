"""Data that a student is shown: sources, splits, augmentation, mixing, synthesis."""

__all__ = []
