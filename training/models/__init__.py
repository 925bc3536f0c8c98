"""The models, by name."""

from typing import NamedTuple

from contract.errors import ConfigError
from contract.schema import Schema
from training.models.dtn import DTN, DTNSettings
from training.models.ple import PLE, PLESettings
from training.models.ranker import ModelSettings, Ranker

__all__ = ["MODELS", "Entry", "ModelSettings", "Ranker", "build_model", "model_entry"]


class Entry(NamedTuple):
    """A model and the class of its settings."""

    settings: type[ModelSettings]
    ranker: type[Ranker]


MODELS = {"dtn": Entry(DTNSettings, DTN), "ple": Entry(PLESettings, PLE)}


def model_entry(name: str) -> Entry:
    """The model of this name; ConfigError names the known ones."""
    if name not in MODELS:
        raise ConfigError(f"model '{name}' is unknown; choose one of {', '.join(MODELS)}")
    return MODELS[name]


def build_model(name: str, schema: Schema, settings: ModelSettings) -> Ranker:
    """A model with fresh weights, drawn from torch's global generator."""
    entry = model_entry(name)
    if not isinstance(settings, entry.settings):
        raise TypeError(f"model '{name}' takes {entry.settings.__name__}, not {type(settings).__name__}")
    return entry.ranker(schema, settings)
