"""The CycleGAN core: networks, methods, objective, training step. Tensors only; read it with the
papers."""

from cyclegan_media.core import methods, terms
from cyclegan_media.core.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from cyclegan_media.core.averaging import MovingAverage
from cyclegan_media.core.cyclegan import CycleGAN
from cyclegan_media.core.history import Histories, History
from cyclegan_media.core.initialise import normal_init
from cyclegan_media.core.objective import (
    TERMS,
    AdversarialTerm,
    Game,
    Objective,
    Term,
    lacks,
    register_term,
)
from cyclegan_media.core.schedules import Weight, learning_rate_factor
from cyclegan_media.core.step import (
    DivergedError,
    Optimisers,
    frozen_parameters,
    training_step,
)
from cyclegan_media.core.translation import (
    METHODS,
    Batch,
    OneSided,
    Part,
    Roster,
    Translation,
    register_method,
)

__all__ = [
    "ADVERSARIAL_LOSSES",
    "METHODS",
    "TERMS",
    "AdversarialLoss",
    "AdversarialTerm",
    "Batch",
    "CycleGAN",
    "DivergedError",
    "Game",
    "Histories",
    "History",
    "MovingAverage",
    "Objective",
    "OneSided",
    "Optimisers",
    "Part",
    "Roster",
    "Term",
    "Translation",
    "Weight",
    "frozen_parameters",
    "lacks",
    "learning_rate_factor",
    "methods",
    "normal_init",
    "register_method",
    "register_term",
    "terms",
    "training_step",
]
