"""The history of generated examples that discriminators train on (Shrivastava 2017, section 2.3).

CycleGAN keeps the last 50 generated images (Zhu 2017, section 4) "to reduce model oscillation".
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor


class History:
    """A buffer of generated examples with a random state of its own.

    Until it is full it stores and returns what comes in. Then, for each example, with
    probability ½ it returns a stored one and keeps the new one in its place, otherwise it
    returns the new one.

    Args:
        size: how many examples to hold; 0 returns every batch unchanged.
        seed: of the buffer's own random generator.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        self.size = size
        self._examples: list[Tensor] = []
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._examples)

    def __call__(self, batch: Tensor) -> Tensor:
        """Exchange a detached batch ``(batch, …)`` for one of the same shape."""
        if self.size == 0:
            return batch
        out = []
        for example in batch.detach():
            if len(self._examples) < self.size:
                self._examples.append(example.clone())
                out.append(example)
            elif torch.rand((), generator=self._generator).item() < 0.5:
                place = int(torch.randint(self.size, (), generator=self._generator))
                out.append(self._examples[place])
                self._examples[place] = example.clone()
            else:
                out.append(example)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs."""
        return {"examples": list(self._examples), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        self._examples = [example.to(device) for example in state["examples"]]
        self._generator.set_state(state["generator"].cpu())


class Histories:
    """One history for each game, made when the game is first played.

    Args:
        size: of each.
        seed: each history draws from a random state of its own that follows from this and from
            the game's name.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self._histories: dict[str, History] = {}

    def __getitem__(self, game: str) -> History:
        """The history of the game with the discriminator of that name."""
        if game not in self._histories:
            seed = zlib.crc32(f"{self.seed}/{game}".encode())
            self._histories[game] = History(self.size, seed)
        return self._histories[game]

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs."""
        return {name: history.state_dict() for name, history in self._histories.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        self._histories = {}
        for name, content in state.items():
            self[name].load_state_dict(content, device)
