"""Many visitors of the web page at once: does memory stay, and is nothing of theirs left?

python scripts/soak_web.py --rounds 3 --visitors 50

Serves a page, and lets so many visitors convert a picture, a clip or a recording in parallel, each
with a session of its own, a fifth of whom leave before theirs is done. After each round all are
gone; then resident memory and open files of the server and its workers are read from /proc. Exit
code 1: memory grew by more than 5 % from the second round to the last, an output was missing or
not one's own, or a file was left behind three minutes later, or a process at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import gradio_client
import numpy as np
from batch_files import picture, processes, tiny_model
from video_files import moving, write_video
from web_pages import Server, served, speech, voice_model, wait_for

from cyclegan_media import load
from cyclegan_media.media import read_image

MOST_GROWTH = 0.05
_TIDY = 180
"""Seconds within which everything of those who left is removed."""
_LEAVES_EARLY = 5
"""Every so manieth visitor."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--visitors", type=int, default=50, help="in parallel (default: 50)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return soak(Path(name), args.visitors, args.rounds)


def soak(folder: Path, visitors: int, rounds: int) -> int:
    """See the module; prints a line a round."""
    model = tiny_model(folder / "models" / "horses", both=True)
    voice_model(folder / "models" / "anna2ben")
    write_video(folder / "clip.mp4", moving(25))
    speech(folder / "said.wav")
    translator = load(model, device="cpu")
    expected = {}
    for k in range(visitors):
        (folder / str(k)).mkdir()
        source = picture(folder / str(k) / "in.png", k)
        expected[k] = translator.translate(read_image(source).pixels)
    options = ("-m", folder / "models", "--device", "cpu", "--max-waiting", str(visitors))
    wrong: list[str] = []
    memory: list[int] = []
    with served(folder / "scratch", *options) as server:
        for number in range(1, rounds + 1):
            start = time.monotonic()
            with ThreadPoolExecutor(visitors) as pool:
                for problem in pool.map(
                    lambda k: visit(server, folder, k, expected[k]), range(visitors)
                ):
                    wrong += [problem] if problem else []
            seconds = time.monotonic() - start
            time.sleep(2)
            each = server.resident()
            memory.append(sum(each))
            print(
                f"round {number}: {visitors} visitors in {seconds:.0f} s, then"
                f" {memory[-1] / 2**20:.0f} MiB in {len(each)} processes"
                f" ({', '.join(f'{size / 2**20:.0f}' for size in each)}),"
                f" {open_files(server)} files open, {len(server.files)} files of visitors",
                flush=True,
            )
        try:
            wait_for(lambda: not server.files, _TIDY)
        except AssertionError:
            wrong.append(f"{len(server.files)} files are left of visitors who have gone")
        print(f"{len(server.files)} files of visitors after tidying")
    # The first round loads models and libraries.
    growth = memory[-1] / memory[min(1, rounds - 1)] - 1
    print(f"growth from the second round to the last: {100 * growth:+.1f} %")
    if growth > MOST_GROWTH:
        wrong.append(f"memory grew by {100 * growth:.1f} %")
    for problem in wrong:
        print(f"wrong: {problem}")
    return int(bool(wrong))


def visit(server: Server, folder: Path, k: int, expected: np.ndarray) -> str | None:
    """Convert something; what went wrong, if something did."""
    client = gradio_client.Client(
        server.url, verbose=False, download_files=str(folder / str(k)), analytics_enabled=False
    )
    kind = k % 4
    source = [folder / str(k) / "in.png"] * 2 + [folder / "clip.mp4", folder / "said.wav"]
    job = client.submit(
        "anna2ben" if kind == 3 else "horses",
        "a2b",
        gradio_client.handle_file(str(source[kind])),
        None,
        *(0, "", 0, 0, 0, "gaussian", "vocoder", ""),
        api_name="/convert",
    )
    try:
        if k % _LEAVES_EARLY == 0:
            time.sleep(0.5)
            return None
        answer = job.result(timeout=600)
        if "done" not in answer[0]:
            return f"visitor {k}: {answer[0]}"
        made = Path(answer[3]["value"])
        if kind < 2 and not np.array_equal(read_image(made).pixels, expected):
            return f"visitor {k}: got another picture than its own"
        return None if made.stat().st_size else f"visitor {k}: got an empty file"
    finally:
        job.cancel()
        client.close()


def open_files(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes(server.mark))


if __name__ == "__main__":
    sys.exit(main())
