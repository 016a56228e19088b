"""Which files train, and which samples a training sees: repeatable, complete, never paired."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cyclegan_media.datasets.discover import find_files
from cyclegan_media.datasets.unpaired import Unpaired, random_generator, unpaired_batches
from cyclegan_media.errors import RunError, UserError

IMAGES = ("image", "video")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"not looked into")
    return folder


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_plain_folders_hold_out_a_tenth_evenly_spaced(tmp_path: Path) -> None:
    a = touch(tmp_path / "a", *(f"{k}.png" for k in range(1, 41)), "notes.txt", "voice.wav")
    b = touch(tmp_path / "b", *(f"clip{k}.mp4" for k in range(9)))
    files = find_files(a, b, IMAGES)
    assert names(files.held_out_a) == ["6.png", "16.png", "26.png", "36.png"]
    assert len(files.train_a) == 36
    assert not set(files.train_a) & set(files.held_out_a)
    assert (len(files.train_b), files.held_out_b) == (9, [])  # too few to spare one


def test_a_recipe_may_hold_out_more_or_nothing(tmp_path: Path) -> None:
    a, b = (touch(tmp_path / side, *(f"{k}.wav" for k in range(15))) for side in "ab")
    none = find_files(a, b, ("audio",), hold_out=0)
    assert (len(none.train_a), none.held_out_a) == (15, [])
    third = find_files(a, b, ("audio",), hold_out=1 / 3)
    assert (len(third.train_b), len(third.held_out_b)) == (10, 5)


def test_natural_order(tmp_path: Path) -> None:
    a, b = touch(tmp_path / "a", "10.png", "9.png", "2.png"), touch(tmp_path / "b", "x.png")
    assert names(find_files(a, b, IMAGES).train_a) == ["2.png", "9.png", "10.png"]


def test_the_usual_layout_in_one_folder(tmp_path: Path) -> None:
    for part in ("trainA", "trainB", "testA", "testB"):
        touch(tmp_path / part, *(f"{part}{k}.jpg" for k in range(12)))
    files = find_files(tmp_path, tmp_path, IMAGES)
    assert [len(part) for part in (files.train_a, files.train_b)] == [12, 12]
    assert {path.parent.name for path in files.train_a} == {"trainA"}
    assert {path.parent.name for path in files.train_b} == {"trainB"}
    assert {path.parent.name for path in files.held_out_a} == {"testA"}
    assert {path.parent.name for path in files.held_out_b} == {"testB"}


def test_train_and_test_in_each_folder(tmp_path: Path) -> None:
    for side in "ab":
        touch(tmp_path / side / "train", *(f"{k}.wav" for k in range(12)))
        touch(tmp_path / side / "test", "held.flac")
    files = find_files(tmp_path / "a", tmp_path / "b", ("audio",))
    assert (len(files.train_a), names(files.held_out_b)) == (12, ["held.flac"])


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path: Path) -> None:
    a, empty = touch(tmp_path / "a", "1.png"), touch(tmp_path / "empty", "1.wav")
    with pytest.raises(UserError, match="none: no such folder; domain B needs a folder of images"):
        find_files(a, tmp_path / "none", IMAGES)
    with pytest.raises(UserError, match=r"1\.png: is a file, not a folder; domain A needs"):
        find_files(a / "1.png", a, IMAGES)
    with pytest.raises(UserError, match="empty: holds no images or videos for domain B"):
        find_files(a, empty, IMAGES)
    with pytest.raises(UserError, match="a: holds no recordings for domain A"):
        find_files(a, empty, ("audio",))
    with pytest.raises(UserError, match="a: is given for both domains"):
        find_files(a, tmp_path / "empty" / ".." / "a", IMAGES)


def test_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    a, b = touch(tmp_path / "a", "1.png", "2.png"), touch(tmp_path / "b", "1.png")
    seen = {find_files(a, b, IMAGES).fingerprint()}
    assert find_files(a, b, IMAGES).fingerprint() in seen
    for change in (
        lambda: (a / "1.png").write_bytes(b"resized"),
        lambda: (a / "1.png").rename(a / "3.png"),
        lambda: touch(b, "2.png"),
        lambda: (a / "2.png").rename(b / "3.png"),
    ):
        change()
        seen.add(find_files(a, b, IMAGES).fingerprint())
    assert len(seen) == 5


class Numbers:
    """A domain whose samples say which item they are, and what was drawn for them."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        return torch.tensor([float(index), torch.rand((), generator=rng).item()])


def test_random_generators_follow_from_their_whole_key() -> None:
    draws = [
        torch.rand((), generator=random_generator(*key)).item()
        for key in ((0, "a", "sample", 1), (0, "a", "sample", 2), (0, "b", "sample", 1), (1,))
    ]
    assert len(set(draws)) == 4
    again = torch.rand((), generator=random_generator(0, "a", "sample", 1)).item()
    assert again == draws[0]


def test_every_item_is_seen_equally_often_in_ever_new_order() -> None:
    data = Unpaired(Numbers(7), Numbers(5), seed=3)
    samples = [data[n] for n in range(70)]
    items = [int(a[0]) for a, _, _ in samples]
    rounds = [items[start : start + 7] for start in range(0, 70, 7)]
    assert all(sorted(round_) == list(range(7)) for round_ in rounds)
    assert len({tuple(round_) for round_ in rounds}) > 5
    assert Counter(int(b[0]) for _, b, _ in samples) == dict.fromkeys(range(5), 14)
    draws = [float(x[1]) for a, b, _ in samples for x in (a, b)]
    assert len(set(draws)) == len(draws)


def test_no_pair_is_favoured_even_between_equal_domains() -> None:
    data = Unpaired(Numbers(10), Numbers(10), seed=0)
    pairs = [(int(a[0]), int(b[0])) for a, b, _ in (data[n] for n in range(10_000))]
    # Independent orders put an item beside its namesake once in ten times.
    same = sum(a == b for a, b in pairs)
    assert 800 < same < 1200
    assert len(set(pairs)) == 100


def batches(first: int, last: int, **options: int) -> list[tuple[Tensor, Tensor]]:
    loaded = unpaired_batches(
        Numbers(7),
        Numbers(5),
        seed=1,
        **{"batch_size": 2, **options},
        first_step=first,
        last_step=last,
    )
    return [(a, b) for a, b, _ in loaded]


def equal(ours: list[tuple[Tensor, Tensor]], theirs: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True))


def test_a_position_is_one_number_whatever_came_before() -> None:
    everything = batches(0, 20)
    assert [tuple(x.shape) for x in everything[0]] == [(2, 2), (2, 2)]
    assert equal(batches(13, 20), everything[13:])


def test_loading_processes_change_nothing() -> None:
    assert equal(batches(3, 9, workers=2), batches(3, 9))


def test_loading_draws_nothing_from_the_global_random_state() -> None:
    before = torch.get_rng_state()
    batches(0, 3)
    batches(0, 3, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_train_together_share_the_samples() -> None:
    alone = batches(0, 6, batch_size=4)
    ranks = [batches(0, 6, rank=rank, ranks=2) for rank in range(2)]
    for together, *parts in zip(alone, *ranks, strict=True):
        for side in (0, 1):
            assert torch.equal(together[side], torch.cat([part[side] for part in parts]))


class Broken(Numbers):
    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        if index == 2:
            raise UserError("two.png: is damaged; copy it again")
        return super().sample(index, rng)


class Deadly(Numbers):
    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Interrupted(Numbers):
    def sample(self, index: int, rng: torch.Generator) -> Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return super().sample(index, rng)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_said_in_one_sentence(workers: int) -> None:
    loaded = unpaired_batches(
        Broken(7), Numbers(5), seed=1, batch_size=2, first_step=0, last_step=9, workers=workers
    )
    with pytest.raises(UserError) as caught:
        list(loaded)
    assert str(caught.value) == "two.png: is damaged; copy it again"


def test_a_killed_loading_process_is_said_in_one_sentence() -> None:
    loaded = unpaired_batches(
        Deadly(7), Numbers(5), seed=1, batch_size=2, first_step=0, last_step=9, workers=1
    )
    with pytest.raises(RunError, match=r"^a process that loads data was killed"):
        list(loaded)


def test_interrupts_of_the_process_group_leave_loading_to_the_trainer() -> None:
    loaded = unpaired_batches(
        Interrupted(7), Numbers(5), seed=1, batch_size=2, first_step=0, last_step=4, workers=2
    )
    assert equal([(a, b) for a, b, _ in loaded], batches(0, 4))
