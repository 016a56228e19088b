"""Which of its many translations a many-to-many model gives: drawn from a seed, or borrowed.

Almahairi, Rajeswar, Sordoni, Bachman, Courville 2018: "Augmented CycleGAN: Learning Many-to-Many
Mappings from Unpaired Data", arXiv 1802.10151, section 3. A generator takes a latent code beside
its input, ``b~ = G_AB(a, z_b)`` with ``z_b ~ N(0, 1)``. The paper's cycle from b finds the code
of a real example:

    a~ = G_BA(b, z_a),    z~_b = E_B(b, a~)

so ``G_AB(a, z~_b)`` is a in the style of b. What a~ has that b does not show is free there, and
the paper draws z_a from the prior; here it is the prior's mean, z_a = 0, so that one example gives
one style.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan_media.backbones.registry import Backbone
from cyclegan_media.errors import UserError
from cyclegan_media.media.image import read_image
from cyclegan_media.pretrained import Direction, PretrainedModel
from cyclegan_media.translate.image import Apply, as_batch

if TYPE_CHECKING:
    from cyclegan_media.translate.options import Example, Options

Make = Callable[[Backbone], Apply]
"""Makes a function for pictures of any size of a generator."""

DEFAULT_SEED = 0

_BACK: Mapping[Direction, Direction] = {"a2b": "b2a", "b2a": "a2b"}


def draw_code(length: int, seed: int, sample: int = 1) -> Tensor:
    """The code ``(length,)`` of a sample, counted from 1: z ~ N(0, 1).

    It depends on these three numbers alone, so the first samples are the same however many follow.
    """
    random = torch.Generator().manual_seed(seed)
    # One by one: what torch draws at once is, from 16 numbers on, another sequence.
    codes = [torch.randn(length, generator=random) for _ in range(sample)]
    return codes[-1]


class WithCode(Backbone):
    """A generator with one code for all it translates: an ordinary generator.

    Args:
        generator: one that takes codes.
        code: ``(latent,)``, or one for each of a batch, ``(batch, latent)``.
    """

    modality = "any"
    role = "generator"

    def __init__(self, generator: Backbone, code: Tensor) -> None:
        super().__init__(generator.config)
        self.generator = generator
        self.code = code
        self.multiple, self.minimum = generator.multiple, generator.minimum

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(x, self.code.to(x).expand(len(x), -1))


class Codes:
    """The codes that a model's translations are made with, as :class:`.options.Options` ask."""

    def __init__(self, model: PretrainedModel) -> None:
        self.model = model
        self._borrowed: tuple[Options, Tensor] | None = None

    def check(self, options: Options, where: str) -> None:
        """Refuse what the model's generator or encoder cannot do.

        Args:
            where: what the model is called in messages.

        Raises:
            UserError: codes are asked for and the generator takes none, or an example's and the
                model lacks a network that finds its code.
        """
        direction, back = options.direction, _BACK[options.direction]
        latent = self.model.generators[direction].latent
        asked = (options.samples, options.seed, options.latent_from)
        if any(one is not None for one in asked) and not latent:
            raise UserError(
                f"{where}: has one translation of each input, so samples, seed and latent_from are"
                " not for it; they need a many-to-many model (recipe augmented)"
            )
        if options.latent_from is None:
            return
        name = _encoder(direction)
        encoder = self.model.networks.get(name)
        if encoder is None or encoder.role != "encoder" or back not in self.model.generators:
            raise UserError(
                f"{where}: latent_from needs its networks {name} and generator_{back}, and it does"
                " not have both"
            )
        if encoder.latent != latent:
            raise UserError(
                f"{where}: its {name} gives codes of {encoder.latent} numbers, but its"
                f" generator_{direction} takes {latent}; it cannot borrow a style"
            )

    def generator(self, options: Options, sample: int, make: Make) -> Backbone:
        """The generator for ``options``, with the code of this sample (from 1) if it takes one."""
        network = self.model.generators[options.direction]
        if not network.latent:
            return network
        if options.latent_from is None:
            seed = DEFAULT_SEED if options.seed is None else options.seed
            return WithCode(network, draw_code(network.latent, seed, sample))
        # Found once for all the files that these options are for.
        if self._borrowed is None or self._borrowed[0] is not options:
            code = borrow_code(self.model, options.direction, options.latent_from, make)
            self._borrowed = (options, code)
        return WithCode(network, self._borrowed[1])


def borrow_code(
    model: PretrainedModel,
    direction: Direction,
    example: Example,
    make: Make,
) -> Tensor:
    """The code ``(latent,)`` of an example of the domain that ``direction`` leads to.

    ``z~_b = E_B(b, G_BA(b, 0))`` for a2b, and likewise with A and B exchanged. The example is taken
    at its own size, as inputs are.

    Args:
        example: a picture file, or a single picture in memory.

    Raises:
        UserError: the file cannot be read, or this is not one picture.
    """
    if isinstance(example, str | os.PathLike):
        example = read_image(example).pixels
    own = as_batch(example)
    if len(own) != 1:
        raise UserError(f"latent_from: takes the style of one picture, not of {len(own)}")
    return _encode(model, direction, own, make(model.generators[_BACK[direction]])(own))[0]


def reconstruct(
    model: PretrainedModel,
    direction: Direction,
    pictures: Tensor,
    translated: Tensor,
    make: Make,
) -> Tensor:
    """``a' = G_BA(b~, E_A(a, b~))``: pictures found again from their translations (for a2b).

    Args:
        pictures, translated: a and b~, ``(n, 3, height, width)`` in −1…1 each.

    Returns:
        ``(n, 3, height, width)`` in −1…1.

    Raises:
        UserError: the model lacks the way back.
    """
    back = _BACK[direction]
    if back not in model.generators or _encoder(back) not in model.networks:
        raise UserError(f"the model lacks the way back: generator_{back} and {_encoder(back)}")
    codes = _encode(model, back, pictures, translated)
    generator = model.generators[back]
    each = zip(translated, codes, strict=True)
    return torch.cat([make(WithCode(generator, code))(one[None]) for one, code in each])


@torch.inference_mode()
def _encode(model: PretrainedModel, direction: Direction, own: Tensor, other: Tensor) -> Tensor:
    """Codes ``(n, latent)`` for the generator of ``direction``, on the CPU."""
    encoder = model.networks[_encoder(direction)]
    device = next(encoder.parameters()).device
    parts = zip(own.split(1), other.split(1), strict=True)
    return torch.cat([encoder(x.to(device), y.to(device)).float().cpu() for x, y in parts])


def _encoder(direction: Direction) -> str:
    """The network that finds the codes of the domain that ``direction`` leads to."""
    return f"encoder_{direction[-1]}"
