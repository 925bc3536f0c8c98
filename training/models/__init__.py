"""The models, by name."""

from typing import NamedTuple

from contract.errors import ConfigError
from contract.schema import Schema
from training.models.aitm import AITM, AITMSettings
from training.models.dtn import DTN, DTNSettings
from training.models.esmm import ESMM, ESMMSettings
from training.models.htlnet import HTLNet, HTLNetSettings
from training.models.mmoe import MMoE, MMoESettings
from training.models.ple import PLE, PLESettings
from training.models.ranker import ModelSettings, Ranker
from training.models.shared_bottom import SharedBottom, SharedBottomSettings
from training.models.single_task import SingleTask, SingleTaskSettings
from training.models.stem import STEM, STEMSettings

__all__ = ["MODELS", "Entry", "ModelSettings", "Ranker", "build_model", "model_entry"]


class Entry(NamedTuple):
    """A model and the class of its settings."""

    settings: type[ModelSettings]
    ranker: type[Ranker]


MODELS = {
    "single_task": Entry(SingleTaskSettings, SingleTask),
    "shared_bottom": Entry(SharedBottomSettings, SharedBottom),
    "mmoe": Entry(MMoESettings, MMoE),
    "ple": Entry(PLESettings, PLE),
    "esmm": Entry(ESMMSettings, ESMM),
    "aitm": Entry(AITMSettings, AITM),
    "stem": Entry(STEMSettings, STEM),
    "htlnet": Entry(HTLNetSettings, HTLNet),
    "dtn": Entry(DTNSettings, DTN),
}


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
