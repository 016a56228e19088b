"""Training: recipe and files in, model folder out."""

from cyclegan_media.training.trainer import TrainingResult, train

__all__ = ["TrainingResult", "train"]
