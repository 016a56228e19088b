"""Contrastive terms: a patch of the translation must be recognisable among its source's patches.

Park, Efros, Zhang, Zhu 2020: "Contrastive Learning for Unpaired Image-to-Image Translation",
arXiv 2007.15651.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan_media.core.objective import Term, register_term
from cyclegan_media.core.translation import Batch, Direction, Part, Roster


@dataclass(frozen=True)
class Contrastive(Term):
    """Args:
    temperature: τ.
    patches: places that are compared, per layer; all where a layer has fewer.
    layers: of the generator, as its ``encode_features`` numbers them.
    """

    temperature: float = 0.07
    patches: int = 256
    layers: tuple[int, ...] = (0, 4, 7, 10, 14)

    def roster(self, method: type[Batch]) -> Roster:
        return {f"projection_{way.name}": Part("projection") for way in method.directions}

    def _compare(self, t: Batch, way: Direction, source: Tensor, output: Tensor) -> Tensor:
        """``L_PatchNCE`` (eq. 3) of a translation in one direction, averaged over the layers."""
        generator: Any = t.networks[f"generator_{way.name}"]
        projection = t.networks[f"projection_{way.name}"]
        with torch.no_grad():  # the source's patches are what is looked for; they do not move
            features = generator.encode_features(source, self.layers)
            places = [_places(layer, self.patches) for layer in features]
            keys = projection(features, places)
        queries = projection(generator.encode_features(output, self.layers), places)
        losses = [
            patch_nce(query, key, self.temperature)
            for query, key in zip(queries, keys, strict=True)
        ]
        return torch.stack(losses).mean()


def patch_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """The mean of ``−log exp(q·k⁺/τ) / Σ exp(q·k/τ)`` over all queries (Park 2020, eq. 2).

    Args:
        query, key: unit vectors ``(batch, places, dimensions)``. The positive of a query is the
            key at its own place, the negatives are those at the other places of the same example.
    """
    similarity = torch.bmm(query, key.transpose(1, 2)) / temperature
    own = torch.arange(query.shape[1], device=query.device).expand(len(query), -1)
    return F.cross_entropy(similarity.flatten(0, 1), own.flatten())


def _places(layer: Tensor, count: int) -> Tensor:
    size = layer[0, 0].numel()
    return torch.randperm(size, device=layer.device)[:count]


@register_term("patch_nce")
@dataclass(frozen=True)
class PatchNCE(Contrastive):
    """``L_PatchNCE(G, H, A)`` (Park 2020, eq. 3): each patch of G(a) against those of a.

    ``Σ`` over layers and places is a mean here, as in the release. Places are drawn from the
    global random state of torch. Features come from the generator's own first half, projected by
    the network ``projection``; both learn. Gradients do not flow into the keys.
    """

    def __call__(self, t: Batch) -> dict[str, Tensor]:
        return {
            f"patch_nce_{way.name}": self._compare(
                t, way, t.of("real", way.source), t.of("fake", way.target)
            )
            for way in t.directions
        }


@register_term("identity_nce")
@dataclass(frozen=True)
class IdentityNCE(Contrastive):
    """``L_PatchNCE(G, H, B)`` (Park 2020, section 3): each patch of G(b) against those of b.

    It keeps the generator from changing what belongs to the target domain already.
    """

    reads = frozenset({"identity_b"})

    def __call__(self, t: Batch) -> dict[str, Tensor]:
        return {
            f"identity_nce_{way.name}": self._compare(
                t, way, t.of("real", way.target), t.of("identity", way.target)
            )
            for way in t.directions
        }
