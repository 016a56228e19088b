"""CycleGAN: the networks of a training, by name, on the two sides of the game.

    generator_a2b  G: A → B        discriminator_b  tells B from G(A)
    generator_b2a  F: B → A        discriminator_a  tells A from F(B)

(Zhu, Park, Isola & Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", figure 3.) Methods that came later add networks to either side, or leave
out two. Tensors only: the same code serves pictures ``(batch, 3, height, width)`` and spectra
``(batch, coefficients, frames)``.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


class CycleGAN(nn.Module):
    """The networks, each an attribute. Each may be wrapped (data parallel, compiled).

    Args:
        generator_a2b, …: the four of the paper; a method for one direction leaves two out.
        further: what else the method and the objective ask for. A name that starts with
            ``discriminator`` is on the discriminators' side, every other (an encoder, a
            predictor, a projection) is trained together with the generators.
    """

    generator_a2b: nn.Module
    generator_b2a: nn.Module
    discriminator_a: nn.Module
    discriminator_b: nn.Module

    def __init__(
        self,
        generator_a2b: nn.Module | None = None,
        generator_b2a: nn.Module | None = None,
        discriminator_a: nn.Module | None = None,
        discriminator_b: nn.Module | None = None,
        **further: nn.Module,
    ) -> None:
        super().__init__()
        classic = {
            "generator_a2b": generator_a2b,
            "generator_b2a": generator_b2a,
            "discriminator_a": discriminator_a,
            "discriminator_b": discriminator_b,
        }
        for name, network in {**classic, **further}.items():
            if network is not None:
                self.add_module(name, network)

    def __getitem__(self, name: str) -> nn.Module:
        """``networks["discriminator_b"]`` is ``networks.discriminator_b``."""
        return self.get_submodule(name)

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Of all that is trained together with the generators."""
        for name, network in self.named_children():
            if not name.startswith("discriminator"):
                yield from network.parameters()

    def discriminator_parameters(self) -> Iterator[nn.Parameter]:
        for name, network in self.named_children():
            if name.startswith("discriminator"):
                yield from network.parameters()
