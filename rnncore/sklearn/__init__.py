"""Estimators of scikit-learn that train recurrent networks on sequences."""

from rnncore.sklearn.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger

__all__ = ["SequenceClassifier", "SequenceRegressor", "SequenceTagger"]
