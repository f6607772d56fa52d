"""The pages in a real browser, as wide as a phone and as a desk: nothing overflows, fails to load, or stays blank."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from functools import partial

import markdown
import pytest
from mkdocs.config import load_config

from .pages import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (390, 1280)
SWITCHES = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
OFFLINE = [f"--{switch}" for switch in (*SWITCHES, "disable-component-update", "disable-sync", "enable-logging=stderr")]

# Loads every page at every width in a frame, one after the other, and sends what it finds.
PROBE = """<!doctype html><body><script>
const found = {}, frame = document.createElement("iframe")
document.body.append(frame)
async function look() {
  for (const width of WIDTHS) for (const page of PAGES) {
    frame.style = `border:0;width:${width}px;height:900px`
    await new Promise(done => { frame.onload = done; frame.src = page })
    await new Promise(done => setTimeout(done, 20))
    const root = frame.contentDocument
    const images = [...root.querySelectorAll("img")].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)
    found[`${page} ${width}`] = {
      overflow: root.documentElement.scrollWidth - width,
      images,
      figures: await Promise.all([...root.querySelectorAll("article :is(svg, img)")].map(figure)),
    }
  }
  const results = await search("ledger")
  console.warn("heard")
  await fetch("/found", { method: "POST", body: JSON.stringify({ found, results }) })
}
// What a figure takes of the page, and the share of its pixels that are told apart from its commonest colour.
async function figure(element) {
  const { width, height } = element.getBoundingClientRect()
  const name = element.id || element.alt || element.querySelector?.("title")?.textContent
  return { name, width, height, ink: width && height ? await ink(element, width, height) : 0 }
}
async function ink(element, width, height) {
  const canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d")
  pen.fillStyle = getComputedStyle(element.ownerDocument.body).backgroundColor
  pen.fillRect(0, 0, width, height)
  try {
    pen.drawImage(element.localName == "svg" ? await picture(element) : element, 0, 0, width, height)
  } catch { return 0 }
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data, counts = new Map()
  for (let i = 0; i < pixels.length; i += 4) {
    const colour = (pixels[i] >> 5 << 10) | (pixels[i + 1] >> 5 << 5) | pixels[i + 2] >> 5
    counts.set(colour, (counts.get(colour) ?? 0) + 1)
  }
  return 1 - Math.max(...counts.values()) / (canvas.width * canvas.height)
}
const LOOK = ["display", "visibility", "opacity", "fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width",
  "stroke-dasharray", "font-family", "font-size", "font-weight", "text-anchor", "marker-end"]
// An inlined drawing as an image of its own, in the styles that the page gives it.
async function picture(svg) {
  const copy = svg.cloneNode(true), { width, height } = svg.getBoundingClientRect()
  const copies = [copy, ...copy.querySelectorAll("*")], drawn = [svg, ...svg.querySelectorAll("*")]
  drawn.forEach((element, i) => {
    const style = getComputedStyle(element)
    if (copies[i].style) for (const name of LOOK) copies[i].style.setProperty(name, style.getPropertyValue(name))
  })
  copy.setAttribute("width", width)
  copy.setAttribute("height", height)
  const image = new Image()
  image.src = "data:image/svg+xml," + encodeURIComponent(new XMLSerializer().serializeToString(copy))
  await image.decode()
  return image
}
async function search(word) {
  await new Promise(done => { frame.onload = done; frame.src = `index.html?q=${word}` })
  for (let i = 0; i < 200; i++) {
    const items = [...frame.contentDocument.querySelectorAll(".md-search-result__item a")]
    if (items.length) return items.map(item => item.getAttribute("href"))
    await new Promise(done => setTimeout(done, 100))
  }
  return []
}
look()
</script>"""


# Figures that anyone can see, and figures that nobody can: what the probe must tell apart.
CONTROL = """<!doctype html><body style="background: #fff"><article>
<img id="seen image" src="benchmarks/surrogates/coverage.svg">
<svg id="seen drawing" viewBox="0 0 300 200" width="300"><path d="M0 0 L300 200" stroke="#07a" stroke-width="9"/></svg>
<svg id="blank: no colour" viewBox="0 0 300 200" width="300"><path d="M0 0 L300 200" fill="none"/></svg>
<svg id="blank: white on white" viewBox="0 0 300 200" width="300"><rect width="200" height="99" fill="#fff"/></svg>
<svg id="blank: defined, not drawn" viewBox="0 0 300 200" width="300"><defs><rect width="99" height="99"/></defs></svg>
<svg id="blank: hidden" viewBox="0 0 300 200" width="300" visibility="hidden"><rect width="99" height="99"/></svg>
<svg id="blank: no room" viewBox="0 0 300 200" style="display: none"><rect width="99" height="99"/></svg>
BROKEN</article>"""


def control() -> str:
    """The control page; its last figure is one of matplotlib's, inlined: Markdown breaks it at its style element."""
    settings = load_config(str(ROOT / "mkdocs.yml"))
    drawing = (ROOT / "benchmarks" / "results" / "surrogates" / "coverage.svg").read_text(encoding="utf-8")
    assert "<style" in drawing
    broken = markdown.markdown(
        drawing.replace("<svg", '<svg id="blank: broken by Markdown"', 1),
        extensions=settings.markdown_extensions,
        extension_configs=settings.mdx_configs,
    )
    return CONTROL.replace("BROKEN", broken)


def blank(figure: dict) -> bool:
    """Whether a reader would miss it: hardly a pixel of another colour, or hardly any room."""
    return figure["ink"] < 0.005 or figure["width"] < 100 or figure["height"] < 50


class Listener(http.server.SimpleHTTPRequestHandler):
    """Serves the site, and takes the probe's answer."""

    def do_POST(self):
        self.server.answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.answered.set()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def seen(site, tmp_path_factory):
    """What the browser saw on every page at every width, and what it complained about."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if path.name != "404.html")
    probe = PROBE.replace("PAGES", json.dumps([*pages, "control.html"])).replace("WIDTHS", json.dumps(WIDTHS))
    (site / "probe.html").write_text(probe, encoding="utf-8")
    (site / "control.html").write_text(control(), encoding="utf-8")
    folder = tmp_path_factory.mktemp("chromium")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Listener, directory=str(site))) as server:
        server.answer, server.answered = None, threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A debugging port, which nobody uses, keeps the browser open until it is ended.
        switches = [*OFFLINE, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0"]
        with (folder / "log").open("wb") as log:
            browser = subprocess.Popen(
                [CHROMIUM, *switches, f"http://127.0.0.1:{server.server_port}/probe.html"],
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
            server.answered.wait(300)
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait(30)
        server.shutdown()
    (site / "probe.html").unlink()
    (site / "control.html").unlink()
    log = (folder / "log").read_text(errors="replace").splitlines()
    assert server.answer is not None, log[-20:]
    assert len(server.answer["found"]) == (len(pages) + 1) * len(WIDTHS)
    return server.answer["found"], server.answer["results"], [line for line in log if "CONSOLE" in line]


def of_the_site(found):
    return {name: page for name, page in found.items() if not name.startswith("control.html")}


def test_no_page_is_wider_than_its_window(seen):
    found = of_the_site(seen[0])
    assert {name: page["overflow"] for name, page in found.items() if page["overflow"] > 0} == {}


def test_every_figure_draws_something(seen, site):
    found = of_the_site(seen[0])
    assert {name: page["images"] for name, page in found.items() if page["images"]} == {}
    for name, page in found.items():
        source = (site / name.rsplit(" ", 1)[0]).read_text(encoding="utf-8")
        article = source.partition("<article")[2].partition("</article>")[0]
        assert len(page["figures"]) == len(re.findall(r"<(?:svg|img)\b", article)), name
        assert [figure for figure in page["figures"] if blank(figure)] == [], name
    assert sum(len(page["figures"]) for page in found.values()) > 100


def test_a_blank_figure_is_noticed(seen):
    for width in WIDTHS:
        figures = seen[0][f"control.html {width}"]["figures"]
        assert len(figures) == 8
        assert {figure["name"]: blank(figure) for figure in figures} == {
            figure["name"]: figure["name"].startswith("blank") for figure in figures
        }


def test_search_answers_offline(seen):
    assert any("api/oracles.html" in link for link in seen[1])


def test_the_console_is_quiet(seen):
    (heard,) = seen[2]  # the probe's own word, which shows that complaints would be heard
    assert "heard" in heard
