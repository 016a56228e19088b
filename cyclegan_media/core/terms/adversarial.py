"""Terms that bring games: who is judged, by which discriminator, against what."""

from __future__ import annotations

from dataclasses import dataclass

from cyclegan_media.core.methods import Augmented
from cyclegan_media.core.objective import AdversarialTerm, Game, register_term
from cyclegan_media.core.translation import Batch, Part, Roster, Translation


@register_term("adversarial")
@dataclass(frozen=True)
class Adversarial(AdversarialTerm):
    """``L_adv(G, D_B) + L_adv(F, D_A)`` (Zhu 2017, eq. 1), by default with least squares."""

    def roster(self, method: type[Batch]) -> Roster:
        targets = sorted(way.target for way in method.directions)
        return {f"discriminator_{domain}": Part("discriminator") for domain in targets}

    def games(self, t: Batch) -> dict[str, Game]:
        return {
            f"adversarial_{way.name}": Game(
                f"discriminator_{way.target}", t.of("real", way.target), t.of("fake", way.target)
            )
            for way in t.directions
        }


@register_term("second_adversarial")
@dataclass(frozen=True)
class SecondAdversarial(AdversarialTerm):
    """A second discriminator on each domain, usually of another patch size.

    Jin, Qi, Wu 2017, "CycleGAN Face-off", arXiv 1712.03451: one judges detail and the other
    layout. A recipe states it as ``model.second_discriminator``.
    """

    def roster(self, method: type[Batch]) -> Roster:
        part = Part("discriminator", "second_discriminator")
        targets = sorted(way.target for way in method.directions)
        return {f"discriminator_second_{domain}": part for domain in targets}

    def games(self, t: Batch) -> dict[str, Game]:
        return {
            f"second_adversarial_{way.name}": Game(
                f"discriminator_second_{way.target}",
                t.of("real", way.target),
                t.of("fake", way.target),
            )
            for way in t.directions
        }


@register_term("two_step_adversarial")
@dataclass(frozen=True)
class TwoStepAdversarial(AdversarialTerm):
    """``L_adv2(G, F, D'_A) + L_adv2(F, G, D'_B)``: the cycled examples, too, must look real.

    Kaneko, Kameoka, Tanaka, Hojo 2019, "CycleGAN-VC2", arXiv 1904.04631, eq. 4: it opposes the
    over-smoothing that the cycle's L1 loss brings. The discriminators D' are others than those
    of the one-step game; a recipe may state them as ``model.cycle_discriminator``.
    """

    reads = frozenset({"cycle_a", "cycle_b"})

    def roster(self, method: type[Batch]) -> Roster:
        part = Part("discriminator", "cycle_discriminator")
        return {"discriminator_cycle_a": part, "discriminator_cycle_b": part}

    def games(self, t: Translation) -> dict[str, Game]:
        return {
            "two_step_adversarial_a": Game("discriminator_cycle_a", t.real_a, t.cycle_a),
            "two_step_adversarial_b": Game("discriminator_cycle_b", t.real_b, t.cycle_b),
        }


@register_term("latent_adversarial")
@dataclass(frozen=True)
class LatentAdversarial(AdversarialTerm):
    """The encoded codes must be distributed as the prior.

    Almahairi 2018, arXiv 1802.10151, section 3: the marginal matching loss on Z_A (and Z_B).
    """

    reads = frozenset({"latent_a", "encoded_a", "latent_b", "encoded_b"})

    def roster(self, method: type[Batch]) -> Roster:
        part = Part("latent_discriminator")
        return {"discriminator_latent_a": part, "discriminator_latent_b": part}

    def games(self, t: Augmented) -> dict[str, Game]:
        return {
            "latent_adversarial_a": Game("discriminator_latent_a", t.latent_a, t.encoded_a),
            "latent_adversarial_b": Game("discriminator_latent_b", t.latent_b, t.encoded_b),
        }
