"""Waveform ↔ spectral features: WORLD and log-mel analysis, speaker statistics, conversion."""

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
from cyclegan_media.speech.griffin_lim import GriffinLim
from cyclegan_media.speech.interface import VoiceFeatures
from cyclegan_media.speech.kinds import VoiceAnalysis, parse_analysis
from cyclegan_media.speech.log_mel import LogMel, LogMelConfig
from cyclegan_media.speech.statistics import SpeakerStatistics, active_frames, has_speech
from cyclegan_media.speech.vocode import convert_signal, limit, synthesise_converted
from cyclegan_media.speech.vocoder import Vocoder, check_vocoder

__all__ = [
    "AnalysisConfig",
    "Features",
    "GriffinLim",
    "LogMel",
    "LogMelConfig",
    "SpeakerStatistics",
    "Vocoder",
    "VoiceAnalysis",
    "VoiceFeatures",
    "active_frames",
    "analyse",
    "analyse_corpus",
    "apply_to_frames",
    "check_vocoder",
    "convert_features",
    "convert_signal",
    "find_aperiodicity",
    "has_speech",
    "limit",
    "parse_analysis",
    "synthesise",
    "synthesise_converted",
    "transform_f0",
]
