"""The CycleGAN core: networks, objective, training step. Tensors only; read it with the paper."""

from cyclegan_media.core.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from cyclegan_media.core.averaging import MovingAverage
from cyclegan_media.core.cyclegan import CycleGAN, Translation
from cyclegan_media.core.history import History
from cyclegan_media.core.initialise import normal_init
from cyclegan_media.core.objective import TERMS, Objective, Term, register_term
from cyclegan_media.core.schedules import Weight, learning_rate_factor
from cyclegan_media.core.step import DivergedError, Histories, Optimisers, training_step

__all__ = [
    "ADVERSARIAL_LOSSES",
    "TERMS",
    "AdversarialLoss",
    "CycleGAN",
    "DivergedError",
    "Histories",
    "History",
    "MovingAverage",
    "Objective",
    "Optimisers",
    "Term",
    "Translation",
    "Weight",
    "learning_rate_factor",
    "normal_init",
    "register_term",
    "training_step",
]
