"""Estimators of scikit-learn that train recurrent networks on sequences."""

from rnncore.sklearn.classifier import SequenceClassifier
from rnncore.sklearn.forecaster import Forecaster
from rnncore.sklearn.regressor import SequenceRegressor
from rnncore.sklearn.tagger import SequenceTagger

__all__ = ["Forecaster", "SequenceClassifier", "SequenceRegressor", "SequenceTagger"]
