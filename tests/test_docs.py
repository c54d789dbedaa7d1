"""Commands, settings, options and files in the documentation exist."""

import ast
import dataclasses
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT
from weaver.utils.import_tools import import_module

from kd_trainer import supervised
from kd_trainer.__main__ import COMMANDS, TRUST
from kd_trainer.distill.losses import LOSSES
from kd_trainer.distill.options import Options as Distillation
from kd_trainer.errors import InputError
from kd_trainer.files import si
from kd_trainer.pretrain import finetune, options
from kd_trainer.weaver_hooks import HookOptions

sys.path.append(str(ROOT / "docs" / "_extensions"))
import commands_and_settings as made  # noqa: E402

DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted(path for path in DOCS.rglob("*") if path.suffix in (".md", ".ipynb")
                        and "_build" not in path.parts)]  # fmt: skip
SHELL = {"", "bash", "sh", "shell", "console"}
HOOKS = {"distill.py": Distillation, "supervised.py": supervised.Options, "contrastive.py": options.Options,
         "finetune.py": finetune.Options}  # fmt: skip
OPTIONS = {field.name for kind in HOOKS.values() for field in dataclasses.fields(kind)}
PREFIXES = tuple(prefix for kind in HOOKS.values() for prefix in kind.PREFIXES)
OTHERS = {"CUDA_VISIBLE_DEVICES", "HYPOTHESIS", "FUZZ", "KD_TRUST", "OMP_NUM_THREADS", "PATH"}  # variables
SETTINGS = {script: {one.name for one in made.settings(script)} for script in made.SCRIPTS}
EVERY = OTHERS.union(*SETTINGS.values())


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, content) of the fenced blocks of a Markdown text."""
    for found in re.finditer(r"^( *)(```+)[{]?([\w-]*)[}]?[^\n]*\n(.*?)^\1\2 *$", text, re.MULTILINE | re.DOTALL):
        yield found[3], found[4]


def commands(content: str) -> Iterator[list[str]]:
    """The words of each command in lines for the shell; what stands for something, as <run>, is `X`."""
    for line in content.replace("\\\n", " ").splitlines():
        line = re.sub(r"<[\w, -]+>", "X", line.strip().removeprefix("$ "))
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quote that another line closes: no command of ours
            continue
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();|&"):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def text_of(page: Path) -> str:
    """The text of a page; of a notebook in Markdown, with the cells for the shell as blocks."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            lines = [line[1:] for line in source.splitlines() if line.startswith("!")]
            source = source.partition("\n")[2] if source.startswith("%%bash") else "\n".join(lines)
            source = f"```bash\n{source}\n```"
        parts.append(source)
    return "\n\n".join(parts)


def commands_of(page: Path) -> list[list[str]]:
    """The commands in the blocks of a page that are for the shell."""
    found = [content for language, content in blocks(text_of(page)) if language in SHELL]
    return [words for content in found for words in commands(content)]


def split_assignments(words: list[str]) -> tuple[list[str], list[str]]:
    """Names of the variables that a command line sets, and the command without them."""
    names = []
    while words and (match := re.match(r"([A-Z_]+)=", words[0])):
        names.append(match[1])
        words = words[1:]
    return names, words


def trouble(words: list[str]) -> str:
    """What is wrong with a command; '' if it is correct, or not one of ours."""
    if words[0] == "export":
        wrong = [name for name in split_assignments(words[1:])[0] if name not in EVERY]
        return f"no script has the setting {wrong[0]}" if wrong else ""
    names, command = split_assignments(words)
    for at, word in enumerate(command):
        if word == "weaver-kd" and at == 0:
            return trouble_of_trainer(command[1:])
        if word == "kd_trainer" and command[at - 1] == "-m":
            return trouble_of_trainer(command[at + 1 :])
        if "/" in word and Path(word).name in SETTINGS and at == 0:
            return trouble_of_script(Path(word).name, names, command[1:])
        if word.startswith("./") and at == 0 and not (ROOT / word).exists():
            return f"there is no {word}"
        if word == "weaver":
            return trouble_of_options(command[at + 1 :])
    return ""


def trouble_of_trainer(words: list[str]) -> str:
    """What is wrong with the arguments of `python -m kd_trainer`."""
    words = [word for word in words if word != TRUST]
    if ">" in words:
        words = words[: words.index(">")]
    if not words or words[0] in ("-h", "--help", "COMMAND"):
        return ""
    name = " ".join(words[: 2 if words[0] == "bench" else 1])
    rest = words[len(name.split()) :]
    if name not in made.modules():
        return "" if name == "bench" or rest == ["--help"] else f"there is no command {name}"
    if rest in (["--help"], ["-h"]):
        return ""
    parser = made.parser_of(made.modules()[name][0], rest)
    left_out = [word for word in rest if word in ("...", "$@") or word.endswith("[@]}")]
    if left_out:
        for action in parser._actions:
            action.required = False
            action.nargs = {"+": "*"}.get(action.nargs, action.nargs)
        rest = [word for word in rest if word not in left_out]
    parser.error = refuse  # type: ignore[method-assign]
    try:
        parser.parse_intermixed_args(rest) if name == "simulate" else parser.parse_args(rest)
    except InputError as error:
        return str(error)
    return ""


def refuse(message: str) -> None:
    raise InputError(message)


def trouble_of_script(script: str, names: list[str], words: list[str]) -> str:
    """What is wrong with a call of a script of train_scripts."""
    more = SETTINGS["study.sh"] if script == "train_kd.sh" and words[:1] == ["demo"] else set()
    for name in names:
        if name not in SETTINGS[script] | more | OTHERS:
            return f"{script} has no setting {name}"
    if not words or words[0] in ("-h", "--help", "MODE"):
        return ""
    if not set(words[0].split("|")) <= set(made.modes(script)):
        return f"{script} has no mode {words[0]}"
    if script == "study.sh" and not words[1:2][0].endswith((".yaml", "STUDY")):
        return "" if (ROOT / "train_scripts" / "studies" / f"{words[1]}.yaml").is_file() else f"no study {words[1]}"
    return trouble_of_options(words[1:])


def trouble_of_options(words: list[str]) -> str:
    """What is wrong with the `-o name value` among arguments of weaver."""
    for at, word in enumerate(words):
        if word not in ("-o", "--network-option"):
            continue
        name, value = (*words[at + 1 : at + 3], "", "")[:2]
        if name.startswith(PREFIXES) and name not in OPTIONS:
            return f"there is no option {name}"
        try:
            if "..." not in value and "$" not in value:
                ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return f"-o {name} {value} is no Python literal"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_run(page):
    wrong = [f"{text}: {shlex.join(words)}" for words in commands_of(page) if (text := trouble(words))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("line, message", [
    ("python -m kd_trainer raport a=b -o c", "there is no command raport"),
    ("A=1 torchrun --nproc-per-node 4 -m kd_trainer cache --blend a=1 --outputs c", "required: --output"),
    ("weaver-kd tag DIR jets.root -o out.root --kept a && ls", "unrecognized arguments: --kept"),
    ("cd x && DATASETS=demo ./train_kd.sh train", "train_kd.sh has no setting DATASETS"),
    ("export DATASET=demo SEEDS=1", "no script has the setting SEEDS"),
    ("./train_kd.sh trian --num-epochs 2", "train_kd.sh has no mode trian"),
    ("./train_kd.sh train -o kd_alfa 0.5", "there is no option kd_alfa"),
    ("weaver -n networks/distill.py -o student networks/PFN.py", "is no Python literal"),
    ("train_scripts/study.sh run tip", "no study tip"),
    ("./run_tests", "there is no ./run_tests"),
])  # fmt: skip
def test_wrong_commands_are_found(line, message):
    assert message in " ".join(map(trouble, commands(line)))


def without_blocks(text: str) -> str:
    """A Markdown text without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    text = page.read_text(encoding="utf-8")
    for mark, text_of in made.MARKS.items():
        text = text.replace(mark, text_of()) if mark in text else text
    headings = re.findall(r"^#+ +(.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page to a file or a heading that is not there."""
    text = re.sub(r"`[^`\n]*`", "", without_blocks(page.read_text(encoding="utf-8")))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        path, _, anchor = "".join(link).partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        target = page.parent / path if path else page
        if not target.exists() or anchor and target.suffix == ".md" and anchor not in anchors(target):
            broken.append("".join(link))
    return broken


@pytest.mark.parametrize("page", FRONT, ids=lambda page: page.name)  # docs/build looks at those of docs
def test_links_lead_somewhere(page):
    assert not broken_links(page)


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One & two\n[a](#one--two) [b](#three) [c](no.md) [d](page.md#one--two)\n```\n[e](no.md)\n```\n")
    assert broken_links(page) == ["#three", "no.md"]


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of the tables in a section of a reference page."""
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert section, f"{page} has no section {heading}"
    return ([cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines()
            if line.startswith("| `"))  # fmt: skip


def documented(heading: str) -> dict[str, object]:
    """{option: default} in a section of options.md."""
    cells = {names.strip("`"): default.strip(" |`") for names, _, default in rows("options.md", heading)}
    return {name: ast.literal_eval(default) if default else None for name, default in cells.items()}


def default_of(field: dataclasses.Field) -> object:
    """The default of an option, None if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


@pytest.mark.parametrize("file", HOOKS)
def test_options_of_the_hooks(file):
    found = documented("All files") | documented(file)
    assert found == {field.name: default_of(field) for field in dataclasses.fields(HOOKS[file])}


def test_options_of_all_hooks_and_of_firmware():
    assert set(documented("All files")) == {field.name for field in dataclasses.fields(HookOptions)}
    parameters = inspect.signature(import_module(str(ROOT / "networks" / "firmware.py")).get_model).parameters.values()
    given = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD and p.default is not p.empty}
    del given["for_inference"]  # of the export
    assert documented("firmware.py") == given


def test_reference_names_all_tiers_models_and_losses():
    tiers = {tuple(path.stem.split("_", 1)) for path in (ROOT / "data").glob("*/*.yaml") if ".auto" not in path.name}
    text = (DOCS / "reference" / "tiers.md").read_text(encoding="utf-8")
    for dataset, tier in tiers:
        assert re.search(rf"^\| {dataset}\b.*`{tier}`", text, re.MULTILINE), f"{dataset} {tier}"
    networks = (DOCS / "reference" / "networks.md").read_text(encoding="utf-8")
    models = {path.stem for path in (ROOT / "train_scripts" / "models").glob("*.sh")}
    assert models <= set(re.findall(r"`([\w-]+)`", networks))
    losses = (DOCS / "reference" / "losses.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\w+)`\]", losses, re.MULTILINE) == list(LOSSES)


def test_generated_pages_name_all_commands_and_settings():
    text = made.commands_text()
    assert all(f"\n## {name}\n" in f"\n{text}" for name in COMMANDS)
    assert "| `-o`, `--output` `DIR` |" in text
    shown = made.settings_text()
    for script in made.SCRIPTS:
        source = (ROOT / "train_scripts" / script).read_text(encoding="utf-8")
        (listed,) = re.findall(r'^start "([a-z_ ]+)" ', source, re.MULTILINE)
        assert list(made.modes(script)) == listed.split()
        wanted = re.findall(r"^(?:export )?([A-Z_]+)=\$\{\1:-", source, re.MULTILINE)
        assert [one.name for one in made.settings(script)] == wanted
        assert all(f"| `{name}` |" in shown for name in wanted)


def shown(figure: dict[str, float], digits: int) -> str:
    return f"{figure['value']:.{digits}f} ± {figure['total']:.{digits}f}"


def test_numbers_of_the_readme_are_those_of_stored_results():
    """The gains in README.md and docs/gain.svg, and the sentence of the demo."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    picture = (DOCS / "gain.svg").read_text(encoding="utf-8")
    stored = json.loads((DOCS / "measurements" / "unlabelled.json").read_text())
    students = [cell for cell in stored["cells"] if cell["role"] == "student" and cell["sample"] == "10k"]
    gains = {cell["student"]: cell["ratio"]["rejection"] for cell in students if cell["arm"].startswith("ensemble")}
    for student, words in (("dense", "a dense network rejects {}"), ("InteractionNet", "an interaction network {}")):
        assert words.format(f"{shown(gains[student], 2)} times") in readme
        assert f"{shown(gains[student], 2)} times its twin" in picture
    demo = json.loads((DOCS / "measurements" / "demo.json").read_text())
    (comparison,) = demo["comparisons"]
    assert f"is {shown(comparison['rejection_ratio'], 2)} times that of the same student" in readme
    for name, words in (("teacher", "The teacher has {} FLOPs"), ("InteractionNet distilled", "the student {} FLOPs")):
        assert words.format(si(demo["models"][name]["flops"])) in readme
