"""The networks of the papers: functional models that give logits."""

__all__ = []
