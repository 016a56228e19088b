"""Training: recipe and files in, model folder out."""

from cyclegan_media.training.trainer import TrainingResult, train
from cyclegan_media.training.wandb_log import Wandb

__all__ = ["TrainingResult", "Wandb", "train"]
