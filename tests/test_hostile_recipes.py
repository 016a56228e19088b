"""Recipes made to harm who reads them: they are data, of a bounded size, and nothing else."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from cyclegan_media.cli import main
from cyclegan_media.errors import UserError, one_line
from cyclegan_media.plain_yaml import MOST_CHARACTERS, MOST_VALUES, read_yaml
from cyclegan_media.recipe import load_recipe

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 10)}]\n" for k in range(12)
)
RECIPE = """\
name: tiny
modality: image
model:
  generator: {name: resnet, width: 2, blocks: 1}
  discriminator: {name: patchgan, width: 2, layers: 1}
objective:
  adversarial: {loss: lsgan}
  cycle: {weight: 10}
data: {load_size: 18, crop_size: 16}
trainer: {steps: 2, checkpoint_every: 2, workers: 0}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!python/object/apply:os.mkdir [executed]", "python/object/apply"),
        ("a: !!python/name:os.system ''", "python/name"),
        ("a: !!python/module:os ''", "python/module"),
        ("!!python/object/new:os.mkdir [executed]", "python/object/new"),
        (f"name: {'!'}os.system x", "could not determine a constructor"),
        (LAUGHS, f"more than {MOST_VALUES} values"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: {c: *a}}", "holds itself"),
        ("a: &a {<<: *a}", "holds itself"),
        ("[" * 2_000, "nested too deeply"),
        ("{a: " * 2_000, "nested too deeply"),
        ("x: " + "9" * 5000, "digits"),
        ("x: 2001-99-99", "month"),
        ("x: !!int many", "invalid literal"),
        ("x: !!float many", "could not convert"),
        ("x: !!binary 'a'", "base64"),
        ("x" * (MOST_CHARACTERS + 1), f"longer than {MOST_CHARACTERS} characters"),
        ("a: b\n---\nc: d\n", "document"),
        ("{[a]: b}", "unhashable"),
        ("a: \x00", "unacceptable character"),
    ],
)
def test_what_is_not_plain_data_is_refused(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "executed").exists()


def test_anchors_and_aliases_are_read_where_they_are_few() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\n"
    assert read_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}
    assert read_yaml("") is None


@pytest.mark.parametrize("name", ["os.system", "os:system", "cyclegan_media.files", "../resnet"])
@pytest.mark.parametrize("place", ["name: resnet", "name: patchgan", "loss: lsgan"])
def test_components_have_names_not_paths(name: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RECIPE.replace(place, f"{place.partition(':')[0]}: '{name}'"))
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert name in str(caught.value)


def test_values_are_bounded_before_anything_is_built(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for before, after in [
        ("width: 2, blocks", "width: 1000000000, blocks"),
        ("blocks: 1", "blocks: 1000000000"),
        ("layers: 1", "layers: 1000000000"),
    ]:
        path.write_text(RECIPE.replace(before, after))
        begin = time.monotonic()
        with pytest.raises(UserError, match=after.split(":")[0]):
            load_recipe(path)
        assert time.monotonic() - begin < 30  # hours, were it built


def test_a_base_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for named, said in [
        ("folder.yaml", "there is no file"),
        ("pipe.yaml", "there is no file"),
        ("/etc/passwd", "no recipe is called"),
        ("a.yaml", "in a circle"),
    ]:
        (tmp_path / "a.yaml").write_text(f"extends: {named}\nname: x\n")
        with pytest.raises(UserError, match=said):
            load_recipe(tmp_path / "a.yaml")
    for name in ("folder.yaml", "pipe.yaml"):
        with pytest.raises(UserError, match="is not a file"):
            load_recipe(tmp_path / name)


def test_no_override_brings_objects_or_bombs() -> None:
    for value in ("!!python/name:os.system ''", "[" * 2_000, "9" * 5000, "&a [*a]"):
        with pytest.raises(UserError, match="is not valid YAML"):
            load_recipe("cyclegan", [f"trainer.steps={value}"])


def test_what_files_say_commands_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RECIPE + '"\\e[2J\\nerror: call 555": 1\n')
    assert main(["info", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\\x1b[2J\\nerror: call 555: unknown key" in said
    assert len(one_line("x" * 10**6)) < 3000
    assert one_line("naïve – 日本 ‘x’") == "naïve – 日本 ‘x’"
