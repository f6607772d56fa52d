"""The pages in a real browser, as wide as a phone and as a desk: nothing overflows, nothing fails to load."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (390, 1280)
SWITCHES = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
OFFLINE = [f"--{switch}" for switch in (*SWITCHES, "disable-component-update", "disable-sync", "enable-logging=stderr")]

# Loads every page at every width in a frame, one after the other, and writes down what it finds.
PROBE = """<!doctype html><pre id="found"></pre><script>
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
  console.warn("heard")
  document.getElementById("found").textContent = JSON.stringify(found)
  document.title = "done"
}
look()
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
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
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        profile = f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"
        address = f"http://127.0.0.1:{server.server_port}/probe.html"
        command = [CHROMIUM, *OFFLINE, profile, "--virtual-time-budget=120000", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        server.shutdown()
    (site / "probe.html").unlink()
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    assert found.group(1), "the browser did not finish"
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(found.group(1)), len(pages), complaints


def test_no_page_is_wider_than_its_window(seen):
    found, pages, _ = seen
    assert len(found) == pages * len(WIDTHS)
    assert {name: page["overflow"] for name, page in found.items() if page["overflow"] > 0} == {}


def test_drawings_and_images_are_there(seen):
    found, _, _ = seen
    assert {name: page["images"] for name, page in found.items() if page["images"]} == {}
    for page in ("index.html", "concepts.html"):
        for width in WIDTHS:
            (height,) = found[f"{page} {width}"]["drawings"]
            assert height > 150


def test_the_console_is_quiet(seen):
    (heard,) = seen[2]  # the probe's own word, which shows that complaints would be heard
    assert "heard" in heard
