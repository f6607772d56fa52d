"""The built site: links and anchors lead somewhere, nothing comes from elsewhere, every public name has its place."""

import importlib
import inspect
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

from .pages import DOCS, ROOT

ROOMS = sorted(".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mbrl_split").rglob("__init__.py"))


class Page(HTMLParser):
    """What a page refers to, what can be referred to, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loads, self.duplicates = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            if given["id"] in self.ids:
                self.duplicates.append(given["id"])
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.loads.append(given["href"])


@pytest.fixture(scope="session")
def pages(site):
    found = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    return {path: page for path, page in found.items() if path.name != "404.html"}


def broken(path, page, pages):
    """Links of a page that lead nowhere on the site."""
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target = target / "index.html"
        if target not in pages:
            if not target.is_file():
                yield f"{path.name}: {link}: no such page"
        elif parts.fragment and unquote(parts.fragment) not in pages[target].ids and parts.fragment != "__codelineno":
            yield f"{path.name}: {link}: no such anchor"


def test_links_and_anchors_lead_somewhere(pages):
    assert len(pages) > 25
    assert [problem for path, page in pages.items() for problem in broken(path, page, pages)] == []


def test_a_broken_link_is_noticed(pages):
    path = next(iter(pages))
    page = Page('<a href="nowhere.html">x</a> <a href="#nothing">y</a>')
    assert len(list(broken(path, page, {**pages, path: page}))) == 2


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loads = [load for page in pages.values() for load in page.loads]
    assert loads
    assert [load for load in loads if urlsplit(load).scheme not in ("", "data") or load.startswith("//")] == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?https?:[^)\"']*", sheet.read_text(encoding="utf-8")) == []


def test_roles_and_plain_tables_do_not_show(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r":(?:class|func|meth|attr|data|mod):<code>", text), path
        assert not re.search(r"={9,}", text), path


def broken_drawings(text):
    """Drawings inlined in a page that are not whole: Markdown has put its own elements into them."""
    for drawing in re.findall(r"<svg\b.*?</svg>", text, re.DOTALL):
        try:
            ElementTree.fromstring(drawing)
        except ElementTree.ParseError as error:
            yield str(error)


def test_inlined_drawings_are_whole(site):
    for path in site.rglob("*.html"):
        assert list(broken_drawings(path.read_text(encoding="utf-8"))) == [], path


def test_a_broken_drawing_is_noticed():
    assert len(list(broken_drawings("<svg><defs><br /><style></style></p>\n<p></defs><g></g></svg> <svg></svg>"))) == 1


def public_names():
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", []):
            yield room, name, getattr(module, name)


def paths_of(room, name, thing):
    """The names under which a public thing may stand in the API."""
    if inspect.ismodule(sys.modules.get(f"{room}.{name}")):  # a function that its module is called after
        return {f"{room}.{name}.{name}"}
    return {f"{other}.{name}" for other, same, found in public_names() if same == name and found is thing}


def test_every_public_name_has_one_place_in_the_api(pages):
    shown = Counter(i for path, page in pages.items() if path.parent.name == "api" for i in page.ids)
    places = {
        f"{room}.{name}": sum(shown[p] for p in paths_of(room, name, thing)) for room, name, thing in public_names()
    }
    assert len(places) > 200
    assert {path: n for path, n in places.items() if n != 1} == {}


def test_every_public_class_and_function_says_what_it_is():
    for room, name, thing in public_names():
        if callable(thing) and getattr(thing, "__module__", "").startswith("mbrl_split"):
            assert (thing.__doc__ or "").strip(), f"{room}.{name}"


def test_the_drawings_are_those_of_the_script():
    spec = importlib.util.spec_from_file_location("draw", DOCS / "tools" / "draw.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert {path.name for path in (DOCS / "figures").iterdir()} == set(draw.DRAWINGS)
    for name, drawing in draw.DRAWINGS.items():
        assert (DOCS / "figures" / name).read_text(encoding="utf-8") == drawing()
