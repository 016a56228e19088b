"""Manifests: what they can say, and that every mistake is one sentence with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_files import picture

from cyclegan_media.batch.manifest import read_manifest
from cyclegan_media.batch.settings import BatchOptions, FileSettings
from cyclegan_media.errors import UserError

OPTIONS = BatchOptions(model="m", settings=FileSettings(crf=20, preset="fast"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b c.png", "é.png"):
        picture(tmp_path / name)
    return tmp_path


def manifest(folder: Path, text: str | bytes, suffix: str = ".csv") -> Path:
    path = folder / f"jobs{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


CSV = (
    "input, output,model,direction,options\r\n"
    'a.png,x/1.png,other,b2a,"{""crf"": 18}"\r\n'
    "\r\n"
    "b c.png,,,,\r\n"
    '"é.png","two lines.png",,,\r\n'
)
JSONL = "\n".join(
    [
        json.dumps(
            {
                "input": "a.png",
                "output": "x/1.png",
                "model": "other",
                "direction": "b2a",
                "options": {"crf": 18},
            }
        ),
        "",
        json.dumps({"input": "b c.png", "output": None}),
        json.dumps({"input": "é.png", "output": "two lines.png"}),
    ]
)


@pytest.mark.parametrize(("text", "suffix"), [(CSV, ".csv"), (JSONL, ".jsonl")])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_both_forms_say_the_same(folder: Path, text: str, suffix: str, mark: bytes) -> None:
    path = manifest(folder, mark + text.encode(), suffix)
    first, second, third = read_manifest(path, OPTIONS)
    assert (first.source, first.output) == (str(folder / "a.png"), "x/1.png")
    assert first.model == str(folder / "other")
    # What the row says replaces the batch's own; the rest of that stays.
    assert first.settings == FileSettings(direction="b2a", crf=18, preset="fast")
    assert first.where == f"{path}: line 2" if suffix == ".csv" else f"{path}: line 1"
    assert (second.source, second.output, second.model) == (str(folder / "b c.png"), None, "m")
    assert second.settings == OPTIONS.settings
    assert (third.source, third.output) == (str(folder / "é.png"), "two lines.png")
    assert third.where.endswith("line 5" if suffix == ".csv" else "line 4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("input\n", "has no rows"),
        ("output\nx.png\n", "line 1: lacks the column 'input'"),
        ("input,colour\na.png,red\n", "line 1: unknown column 'colour'; known are input, output"),
        ("input,input\na.png,a.png\n", "line 1: the column 'input' comes twice"),
        ("input,output\na.png\n", "line 2: has 1 cells, but the header names 2"),
        ("input\na.png\nmissing.png\n", "line 3: input {folder}/missing.png: there is no such"),
        (f"input\n{'x' * 5000}\n", "xxx: there is no such file"),
        ("input\n.\n", "line 2: input {folder}: is a folder"),
        ('input\n"a.png\n', "line 2: is no CSV"),
        ("input,direction\na.png,up\n", "line 2: options: direction: input should be 'a2b'"),
        ("input,options\na.png,crf=18\n", "line 2: options: is no JSON"),
        ("input,options\na.png,18\n", "line 2: options: is no JSON object"),
        ('input,options\na.png,"{""crf"": ""x""}"\n', "line 2: options: crf: input should be"),
        ('input,options\na.png,"{""speed"": 1}"\n', "line 2: options: unknown name 'speed'"),
        (
            'input,options\na.png,"{""detector_model"": ""/x.onnx""}"\n',
            "line 2: options: detector_model cannot stand there",
        ),
        (
            'input,options\na.png,"{""vocoder"": ""/x.pth""}"\n',
            "line 2: options: vocoder cannot stand there",
        ),
        ('input,options\na.png,"{""crf"": 1, ""crf"": 2}"\n', "names 'crf' twice"),
        ('input,options\na.png,"{""crf"": NaN}"\n', "line 2: options: crf: "),
        ("input,output\na.png,/tmp/x.png\n", "line 2: output '/tmp/x.png': is absolute"),
        ("input,output\na.png,C:\\x.png\n", "is absolute"),
        ("input,output\na.png,s3://other/x.png\n", "is absolute"),
        ("input,output\na.png,../x.png\n", "climbs out of the folder of outputs by '..'"),
        ("input,output\na.png,x/../../y.png\n", "climbs out"),
        ("input,output\na.png,x\\..\\..\\y.png\n", "climbs out"),
        ("input,output\na.png,.cyclegan-media-batch.sqlite\n", "that batches use themselves"),
        ("input,output\na.png,x\x07.png\n", "is no file name"),
        (f"input,output\na.png,{'x' * 300}.png\n", "is too long"),
        ("input\nssh://host/a.png\n", "line 2: 'ssh://host/a.png': is a URL of a kind"),
        ("input\nfile:///a.zip::s3://b/x\n", "is a URL of a kind that is not read"),
        (f"input,options\na.png,{'x' * 70_000}\n", "line 2: is longer than 65536 characters"),
        (b"input\na.png\n\xff\xfe.png\n", "line 3: is no UTF-8 text"),
        ("input\na.png\na.png\nb c.png\na.png\n", "line 5: has more than 3 rows"),
    ],
)
def test_mistakes_in_csv(folder: Path, text: str | bytes, said: str) -> None:
    path = manifest(folder, text)
    with pytest.raises(UserError) as caught:
        read_manifest(path, BatchOptions(model="m", max_rows=3))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said.format(folder=folder) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "line 1: is no JSON object"),
        ('{"input": "a.png"', "line 1: is no JSON: "),
        ("[" * 60_000, "line 1: is no JSON"),
        ('{"output": "x.png"}', "line 1: lacks the column 'input'"),
        ('{"input": 3}', "line 1: input: is no text"),
        ('{"input": "a.png", "input": "b.png"}', "line 1: names 'input' twice"),
        ('{"input": "a.png"}\n{"input": "a.png", "size": 1}', "line 2: unknown column 'size'"),
        ('{"input": "a.png", "options": {"crf": true}}', "line 1: options: crf: "),
        ('{"input": "a.png", "options": {"batch_size": 1.5}}', "options: batch_size: "),
        ('{"input": "a\\u0000.png"}', "input: is no file name"),
        ('{"input": "a\\ud800.png"}', "input: is no text"),
        ('{"input": "a.png", "output": "\\udcff.png"}', "output: is no text"),
    ],
)
def test_mistakes_in_json_lines(folder: Path, text: str, said: str) -> None:
    path = manifest(folder, text, ".jsonl")
    with pytest.raises(UserError) as caught:
        read_manifest(path, OPTIONS)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits_can_be_raised_and_a_model_must_be_named(folder: Path) -> None:
    path = manifest(folder, "input\n" + "a.png\n" * 20)
    with pytest.raises(UserError, match=r"is larger than 100 bytes.*--max-manifest-bytes"):
        read_manifest(path, BatchOptions(model="m", max_manifest_bytes=100))
    assert len(read_manifest(path, BatchOptions(model="m", max_manifest_bytes=126))) == 20
    with pytest.raises(UserError, match="line 2: names no model, and neither does -m"):
        read_manifest(path, BatchOptions())
