"""The pages in a real browser, as wide as a phone and as a desk: nothing overflows, nothing fails to load."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
from functools import partial

import pytest

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
      drawings: [...root.querySelectorAll("svg.diagram")].map(s => s.getBoundingClientRect().height),
      images,
    }
  }
  const results = await search("ledger")
  console.warn("heard")
  await fetch("/found", { method: "POST", body: JSON.stringify({ found, results }) })
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
    probe = PROBE.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
    (site / "probe.html").write_text(probe, encoding="utf-8")
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
    log = (folder / "log").read_text(errors="replace").splitlines()
    assert server.answer is not None, log[-20:]
    assert len(server.answer["found"]) == len(pages) * len(WIDTHS)
    return server.answer["found"], server.answer["results"], [line for line in log if "CONSOLE" in line]


def test_no_page_is_wider_than_its_window(seen):
    found, _, _ = seen
    assert {name: page["overflow"] for name, page in found.items() if page["overflow"] > 0} == {}


def test_drawings_and_images_are_there(seen):
    found, _, _ = seen
    assert {name: page["images"] for name, page in found.items() if page["images"]} == {}
    for page in ("index.html", "concepts.html"):
        for width in WIDTHS:
            (height,) = found[f"{page} {width}"]["drawings"]
            assert height > 150


def test_search_answers_offline(seen):
    assert any("api/oracles.html" in link for link in seen[1])


def test_the_console_is_quiet(seen):
    (heard,) = seen[2]  # the probe's own word, which shows that complaints would be heard
    assert "heard" in heard
