"""Waveform ↔ spectral features: WORLD, mel-cepstra, F0, speaker statistics, corpora, conversion."""

from cyclegan_media.speech.analysis import (
    AnalysisConfig,
    Features,
    analyse,
    find_aperiodicity,
    synthesise,
)
from cyclegan_media.speech.conversion import apply_to_frames, convert_features
from cyclegan_media.speech.corpus import analyse_corpus
from cyclegan_media.speech.f0 import transform_f0
from cyclegan_media.speech.statistics import SpeakerStatistics, active_frames, has_speech
from cyclegan_media.speech.vocode import convert_signal, limit, synthesise_converted

__all__ = [
    "AnalysisConfig",
    "Features",
    "SpeakerStatistics",
    "active_frames",
    "analyse",
    "analyse_corpus",
    "apply_to_frames",
    "convert_features",
    "convert_signal",
    "find_aperiodicity",
    "has_speech",
    "limit",
    "synthesise",
    "synthesise_converted",
    "transform_f0",
]
