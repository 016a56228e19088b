"""Waveform ↔ spectral features: WORLD, mel-cepstra, F0, speaker statistics, corpora."""

from cyclegan_media.speech.analysis import AnalysisConfig, Features, analyse, synthesise
from cyclegan_media.speech.corpus import analyse_corpus
from cyclegan_media.speech.f0 import transform_f0
from cyclegan_media.speech.statistics import SpeakerStatistics, active_frames

__all__ = [
    "AnalysisConfig",
    "Features",
    "SpeakerStatistics",
    "active_frames",
    "analyse",
    "analyse_corpus",
    "synthesise",
    "transform_f0",
]
