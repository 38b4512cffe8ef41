"""A language model of characters: the model, the text that it reads, and its training."""

from rnncore.language_model.model import CELLS, KIND, LanguageModel, Step, Trainer, as_streams

__all__ = ["CELLS", "KIND", "LanguageModel", "Step", "Trainer", "as_streams"]
