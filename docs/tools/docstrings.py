"""Docstrings are written for `help()`; the site shows them as Markdown. This turns what differs into Markdown.

Roles such as :class:`~mbrl_split.agents.Agent` become links, and plain-text tables become Markdown tables. The fields
of a dataclass get their defaults, and those that it inherits stand before its own.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from griffe import Class, Extension, Object

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([\w.]+)`")
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
FIELDS = re.compile(r"^Attributes:\n(?P<fields>(?: {4}.*(?:\n|$))+)", re.MULTILINE)
FIELD = re.compile(r"^ {4}(?=\w+: )", re.MULTILINE)
RULE = re.compile(r"^=+(?:\s+=+)+\s*$")


class Docstrings(Extension):
    """Loaded by mkdocstrings (see mkdocs.yml)."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}  # docstrings as they stand in the source

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = self.source(obj)
            if isinstance(obj, Class) and is_dataclass(obj):
                text = self.with_fields(text, obj)
            # griffe knows the section that holds code by its plural.
            text = EXAMPLE.sub(r"\1Examples:", text)
            obj.docstring.value = with_tables(with_links(text, obj))

    def source(self, obj: Object) -> str:
        """The docstring of an object as it was written, whether or not it has been turned already."""
        return self._written.setdefault(obj.path, "" if obj.docstring is None else obj.docstring.value)

    def with_fields(self, text: str, cls: Class) -> str:
        """The docstring with all fields of the dataclass, where it lists fields, and their defaults."""
        if not FIELDS.search(text):
            return text
        homes = [h for h in (cls, *cls.mro()) if h.path.startswith("mbrl_split.") and is_dataclass(h)]
        meanings: dict[str, str] = {}
        for home in reversed(homes):
            meanings |= meanings_of(self.source(home), home)
        # A class may give a field that it inherits another default, and say no more of it.
        last = {name: next((home for home in homes if name in home.members), cls) for name in meanings}
        fields = (entry(name, meaning, last[name]) for name, meaning in meanings.items())
        return FIELDS.sub(lambda _: "Attributes:\n" + "".join(fields), text)


def is_dataclass(cls: Class) -> bool:
    """Whether a class is decorated as one, of the standard library or of pydantic."""
    return any(str(d.callable_path).endswith("dataclasses.dataclass") for d in cls.decorators)


def meanings_of(text: str, cls: Class) -> dict[str, str]:
    """What a docstring says of each field, by name, with its links."""
    section = FIELDS.search(text)
    entries = (e.partition(": ") for e in FIELD.split(section["fields"])[1:]) if section else ()
    return {name: with_links(meaning.rstrip(), cls) for name, _, meaning in entries}


def entry(name: str, meaning: str, home: Class) -> str:
    """A line about a field, with the type and the default that it has in the class that writes it last."""
    kind, known = type_of(home, name), default_of(home, name)
    end = "" if known is None else f" Default: ``{known}``."
    return f"    {name}{kind and f' ({kind})'}: {meaning}{end}\n"


def type_of(cls: Class, name: str) -> str:
    """The type of a field whose annotation is a name of the library's for an ``Annotated`` one, else nothing."""
    found = cls.module.members.get(str(getattr(cls.members.get(name), "annotation", "")))
    if found is None or (found.is_alias and not found.target_path.startswith("mbrl_split.")):
        return ""
    value = str(getattr(found, "value", ""))
    if not value.startswith("Annotated["):
        return ""
    annotated: Any = ast.parse(value, mode="eval").body
    return ast.unparse(annotated.slice.elts[0])


def default_of(cls: Class, name: str) -> str | None:
    """The default of a field as it stands in the source; what a factory makes as a call; None for a field without."""
    value = getattr(cls.members.get(name), "value", None)
    if value is None:
        return None
    call = ast.parse(str(value), mode="eval").body
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "field"):
        return str(value)
    given = {k.arg: k.value for k in call.keywords}
    if "default" in given:
        return ast.unparse(given["default"])
    factory = given.get("default_factory")
    if factory is None:
        return None
    return ast.unparse(factory.body) if isinstance(factory, ast.Lambda) else f"{ast.unparse(factory)}()"


def with_links(text: str, obj: Object) -> str:
    """Roles as links that autorefs resolves; where there is no page for the target, plain code is left."""

    def link(match: re.Match[str]) -> str:
        short, target = match.groups()
        return f'<autoref optional identifier="{full_name(target, obj)}"><code>{label(short, target)}</code></autoref>'

    return ROLE.sub(link, text)


def label(short: str, target: str) -> str:
    return target.rpartition(".")[2] if short else target


def full_name(target: str, obj: Object) -> str:
    """The path of a name as it is meant where it stands: a member of the class, of the module, or a full path.

    Raises:
        LookupError: There is no such thing.
    """
    if target.startswith("mbrl_split."):
        try:
            obj.modules_collection[target]
        except KeyError:
            raise LookupError(f"{obj.path}: the docstring refers to {target}, which is not there") from None
        return target
    scope: Any = obj
    while scope is not None:
        members = scope.all_members if scope.is_class else scope.members  # a class has those that it inherits
        if target.partition(".")[0] in members:
            found = members[target.partition(".")[0]]
            rest = target.partition(".")[2]
            home = found.target_path if found.is_alias else found.path
            return f"{home}.{rest}" if rest else home
        scope = scope.parent
    raise LookupError(f"{obj.path}: the docstring refers to {target}, which is not there")


def with_tables(text: str) -> str:
    """Tables ruled by rows of equal signs as Markdown tables; a row whose first cell is empty continues the last."""
    lines, out, i = text.splitlines(), [], 0
    while i < len(lines):
        rules = rules_from(lines, i)
        if len(rules) < 2:
            out.append(lines[i])
            i += 1
            continue
        starts = [m.start() for m in re.finditer(r"=+", lines[i])]
        rows = [] if len(rules) == 3 else [[""] * len(starts)]  # two rules: a table without a head
        for k in range(i + 1, rules[-1]):
            if k in rules:
                continue
            cells = [lines[k][a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
            if cells[0] or not rows:
                rows.append(cells)
            else:
                rows[-1] = [f"{above} {below}".strip() for above, below in zip(rows[-1], cells, strict=True)]
        table = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
        out += ["", table[0], "|" + " --- |" * len(starts), *table[1:], ""]
        i = rules[-1] + 1
    return "\n".join(out)


def rules_from(lines: list[str], first: int) -> list[int]:
    """The rules of the table that begins with line ``first``, up to the one that a blank line follows."""
    rules = []
    for k in range(first, len(lines)):
        if RULE.match(lines[k].strip()):
            rules.append(k)
            if len(rules) > 1 and (k + 1 == len(lines) or not lines[k + 1].strip()):
                return rules
        elif not rules:
            return []
    return []


def escape(cell: str) -> str:
    return cell.replace("\\|", "|").replace("|", "\\|")
