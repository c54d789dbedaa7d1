"""Reference pages from what they describe: the parsers of the commands, the settings of the scripts.

A page says where, in a line `<!-- commands -->` or `<!-- settings -->`. tests/test_docs.py uses the same functions.
"""

import argparse
import functools
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from kd_trainer.__main__ import COMMANDS, TRUST, WITHOUT_CONFIGS
from kd_trainer.bench.command import BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("train_kd.sh", "train_ssl.sh", "train_sophon.sh", "study.sh")
CALLS = {"train_kd.sh": "./train_kd.sh"}  # the others are called by their path
SETTING = re.compile(r"^(?:export )?([A-Z_]+)=\$\{[A-Z_]+:-(.*)\} +# (.*)$", re.MULTILINE)  # as help() of common.sh
STANDARD_GROUPS = {"positional arguments", "options"}


class Setting(NamedTuple):
    """A setting of a script: an environment variable."""

    name: str
    default: str
    meaning: str


class _Made(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(module: str, arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser that the `main` of a module makes for arguments, taken where it is about to parse."""

    def stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        raise _Made(self)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(argparse.ArgumentParser, "parse_intermixed_args", stop),
    ):
        try:
            importlib.import_module(module).main(list(arguments))
        except _Made as made:
            return made.parser
    raise RuntimeError(f"{module}.main has made no parser")


def modules() -> dict[str, tuple[str, str]]:
    """{command: (module, what it does)}; the benchmarks are `bench network` and so on."""
    found = {}
    for name, entry in COMMANDS.items():
        found |= {f"bench {which}": of for which, of in BENCHMARKS.items()} if name == "bench" else {name: entry}
    return found


def modes(script: str) -> dict[str, str]:
    """{mode: what it does} of a script of train_scripts, from the comments at its top."""
    block = _read(script).partition("# modes\n")[2].partition("\n#\n")[0]
    found = (re.fullmatch(r"#   (\w+) +(.*)", line) for line in block.splitlines())
    return {match[1]: match[2] for match in found if match}


def settings(script: str) -> list[Setting]:
    """The settings of a script of train_scripts."""
    return [Setting(*found) for found in SETTING.findall(_read(script))]


def _read(script: str) -> str:
    return (ROOT / "train_scripts" / script).read_text(encoding="utf-8")


def escaped(text: str) -> str:
    """Text as Markdown that shows it; options and what is between backticks is code."""
    parts = re.split(r"(`[^`]*`|(?<![\w/-])--?[a-zA-Z][\w-]*)", text)
    return "".join(_code(part.strip("`")) if i % 2 else re.sub(r"([\\*_{}\[\]<>|$~^#])", r"\\\1", part)
                   for i, part in enumerate(parts))  # fmt: skip


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def table(*rows: tuple[str, ...]) -> str:
    """A table in Markdown, of rows of Markdown; the first is the heading."""
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])


def commands_text() -> str:
    """A section for each command."""
    return "\n\n".join(part for name in COMMANDS for part in _sections(name))


def _sections(command: str) -> Iterator[str]:
    if command != "bench":
        yield f"## {command}\n\n{_described(command, *COMMANDS[command])}"
        return
    yield f"## bench\n\n{_sentence(COMMANDS['bench'][1])}"
    for name, entry in BENCHMARKS.items():
        yield f"### bench {name}\n\n{_described(f'bench {name}', *entry)}"


def _sentence(text: str) -> str:
    text = escaped(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _described(command: str, module: str, summary: str) -> str:
    parser = parser_of(module)
    parser.prog, parser.color = f"python -m kd_trainer {command}", False  # type: ignore[attr-defined]
    parser.formatter_class = functools.partial(argparse.HelpFormatter, width=76)  # type: ignore[assignment]
    text = (parser.description or summary).removeprefix("weaver-kd init: ")
    parts = [_sentence(" ".join(text.split())), f"```text\n{parser.format_usage()}```"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in STANDARD_GROUPS:
            parts.append(f"Only with {escaped(str(group.title))}:")
        kind = "argument" if group.title == "positional arguments" else "option"
        parts.append(table((kind, "meaning"), *(_row(parser, action) for action in actions)))
    if command not in WITHOUT_CONFIGS and not command.startswith("bench "):
        parts.append(f"`{TRUST}` lets its data configs hold any expression.")
    return "\n\n".join(parts)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    formatter = parser._get_formatter()
    metavar = formatter._get_default_metavar_for_optional(action)
    values = formatter._format_args(action, metavar) if action.nargs != 0 else ""
    if action.option_strings:
        name = ", ".join(map(_code, action.option_strings)) + (f" {_code(values)}" if values else "")
    else:
        name = _code(str(action.metavar or action.dest))
    meaning = formatter._expand_help(action) if action.help else ""
    notes = []
    if action.choices and action.metavar is None and not action.option_strings:
        notes.append(f"one of {', '.join(map(str, action.choices))}")
    if action.required and action.option_strings:
        notes.append("required")
    if action.default not in (None, False, [], argparse.SUPPRESS) and "default" not in meaning:
        notes.append(f"default: {action.default}")
    return name, escaped("; ".join(filter(None, [meaning, *notes])))


def settings_text() -> str:
    """A section for each script."""
    return "\n\n".join(map(_script_text, SCRIPTS))


def _script_text(script: str) -> str:
    call = CALLS.get(script, f"train_scripts/{script}")
    (usage,) = re.findall(r"^# usage: (.*)$", _read(script), re.MULTILINE)
    rows = [(_code(one.name), escaped(one.meaning), _code(one.default)) for one in settings(script)]
    return "\n\n".join([
        f"## {call.removeprefix('./')}",
        f"```text\n{usage}\n```",
        table(("mode", "what it does"), *((_code(name), escaped(text)) for name, text in modes(script).items())),
        table(("setting", "meaning", "default"), *rows),
    ])  # fmt: skip


MARKS: dict[str, Callable[[], str]] = {"<!-- commands -->": commands_text, "<!-- settings -->": settings_text}


def fill_in(app: Any, docname: str, source: list[str]) -> None:
    """Put what a page asks for into it; `source` is a list of one text, as Sphinx has it."""
    for mark, text in MARKS.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, text())


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
