"""A language model of characters: the model, the text that it reads, and its training."""

from rnncore.language_model.files import CELLS
from rnncore.language_model.model import KIND, FrozenModel, LanguageModel
from rnncore.language_model.text import as_streams
from rnncore.language_model.trainer import Step, Trainer

__all__ = ["CELLS", "KIND", "FrozenModel", "LanguageModel", "Step", "Trainer", "as_streams"]
