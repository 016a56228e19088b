"""Methods that translate otherwise than CycleGAN; importing this registers them all."""

from cyclegan_media.core.methods.augmented import Augmented
from cyclegan_media.core.methods.clips import Clips, Recycle
from cyclegan_media.core.methods.masked import Masked

__all__ = ["Augmented", "Clips", "Masked", "Recycle"]
