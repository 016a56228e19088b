"""``cyclegan-media completion``: what a shell needs to complete command lines."""

from __future__ import annotations

import argparse
import os
from typing import Any

from cyclegan_media.commands.options import add_parser

_EXAMPLES = """\
examples, to be put into the file that the shell reads when it starts:
  eval "$(cyclegan-media completion bash)"            # ~/.bashrc
  eval "$(cyclegan-media completion zsh)"             # ~/.zshrc, after compinit
  cyclegan-media completion fish | source             # ~/.config/fish/config.fish

Commands, options, their choices, the names of recipes, and files are completed.
"""
_PROGRAM = "cyclegan-media"


def add(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = add_parser(
        subparsers,
        common,
        "completion",
        "print what makes a shell complete this command",
        _EXAMPLES,
        run,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish")


def run(args: argparse.Namespace) -> int:
    import argcomplete

    print(argcomplete.shellcode([_PROGRAM], shell=args.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end; do nothing for everybody else."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options="long")


def recipe_names(prefix: str, **_: Any) -> list[str]:
    """The recipes that can be named, and files of recipes."""
    return _named(prefix, ("yaml", "yml"))


def names_and_files(prefix: str, **_: Any) -> list[str]:
    """The recipes that can be named, and all files."""
    return _named(prefix, ())


def _named(prefix: str, suffixes: tuple[str, ...]) -> list[str]:
    from argcomplete.completers import FilesCompleter

    from cyclegan_media.recipe.files import known_recipes

    return [*known_recipes(), *FilesCompleter(suffixes)(prefix)]


def completed_by(action: argparse.Action, completer: Any) -> None:
    """Have an argument completed by ``completer``; argcomplete looks for this attribute."""
    action.completer = completer  # type: ignore[attr-defined]
