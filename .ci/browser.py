"""Opens reports in Chromium and checks what a browser makes of them.

browser.py REPORT.html ...: for each file, nothing but the file is requested, the content security policy is not violated,
no script is there, a phone of 390 pixels needs no scrolling to the side, in light and in dark mode the text differs
enough from what is behind it, and on paper section 4 begins on the second page. Uses a free port of loopback.
"""

import http.server
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

CHROMIUM = [
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr", "--v=0",
]
LIMIT = 120

# A page of ours around the report, which measures it. The report itself runs no script.
AROUND = """<!doctype html><meta charset="utf-8"><iframe id="report" src="/report.html"
style="width:390px;height:844px;border:0"></iframe><pre id="measured"></pre><script>
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (view, element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = view.getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour;
  }
  return "rgb(255, 255, 255)";
};
document.getElementById("report").addEventListener("load", (event) => {
  const { contentDocument: report, contentWindow: view } = event.target;
  let least = 21, where = "";
  for (const element of report.body.querySelectorAll("*")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!says || element.closest("svg") || view.getComputedStyle(element).visibility === "hidden") continue;
    const of = [view.getComputedStyle(element).color, behind(view, element)].map(luminance);
    const contrast = (Math.max(...of) + 0.05) / (Math.min(...of) + 0.05);
    if (contrast < least) { least = contrast; where = element.outerHTML.slice(0, 120); }
  }
  document.getElementById("measured").textContent = JSON.stringify({
    width: report.documentElement.scrollWidth,
    scripts: report.scripts.length,
    handlers: [...report.querySelectorAll("*")].filter((it) =>
      it.getAttributeNames().some((name) => name.startsWith("on") || name === "style")).length,
    frames: report.querySelectorAll("iframe, object, embed, img, image, link, form, use").length,
    sentence: report.querySelector("h1")?.textContent ?? "",
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: behind(view, report.body),
    least, where,
  });
});
</script>"""


class Served(http.server.BaseHTTPRequestHandler):
    """Serves the report and the page around it, and notes what is asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.pages.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


def chromium(*arguments):
    """Runs Chromium; returns what it printed, after a check that the policy was not violated."""
    with tempfile.TemporaryDirectory() as profile:
        ended = subprocess.run(
            [*CHROMIUM, f"--user-data-dir={profile}", *arguments], capture_output=True, text=True, timeout=LIMIT
        )
    said = [line for line in ended.stderr.splitlines() if re.search("Content.Security.Policy|CONSOLE", line)]
    if ended.returncode or said:
        raise AssertionError(f"chromium {arguments[0]}: {said or ended.stderr[-2000:]}")
    return ended.stdout


def measured(around, scheme):
    page = chromium(
        "--dump-dom", "--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={scheme}", around
    )
    return json.loads(re.search(r'<pre id="measured">(.*?)</pre>', page, re.S)[1].replace("&lt;", "<")
                      .replace("&gt;", ">").replace("&amp;", "&"))


def pages(report, folder):
    """The texts of the printed pages."""
    pdf = folder / "report.pdf"
    chromium("--print-to-pdf-no-header", "--no-pdf-header-footer", f"--print-to-pdf={pdf}", report)
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], check=True, capture_output=True, text=True).stdout
    return text.split("\f")


def check(file, server, folder):
    html = file.read_bytes()
    assert len(html) <= 300_000, f"{len(html)} bytes"
    server.pages = {"/report.html": html, "/around.html": AROUND.encode()}
    server.asked = []
    site = f"http://127.0.0.1:{server.server_port}"
    light, dark = (measured(f"{site}/around.html", scheme) for scheme in (1, 0))
    for seen in (light, dark):
        assert seen["width"] <= 390, f"a phone scrolls to the side: {seen}"
        assert seen["scripts"] == seen["handlers"] == seen["frames"] == 0, seen
        assert seen["sentence"].strip() and seen["least"] >= 4.5, f"contrast: {seen}"
    assert (light["dark"], dark["dark"]) == (False, True) and light["paper"] != dark["paper"], (light, dark)
    printed = pages(f"{site}/report.html", folder)
    # A browser asks each site for its icon by itself.
    assert set(server.asked) <= {"/around.html", "/report.html", "/favicon.ico"}, server.asked
    headings = re.findall(rb"<h2[^>]*>(.*?)</h2>", html, re.S)
    headings = [re.sub(r"\s+", "", re.sub("<[^>]*>", "", heading.decode())) for heading in headings]
    first, second = (re.sub(r"\s+", "", page) for page in printed[:2])
    # Section 1 is the sentence, which has no heading of its own.
    assert headings[0] in first and headings[1] in first, f"sections 2 and 3 are not on page 1: {headings[:2]}"
    assert headings[2] not in first and headings[2] in second[:200], f"section 4 does not begin page 2: {headings[2]}"
    print(f"{file.name}: {len(html)} bytes, {len(printed) - 1} pages, least contrast {light['least']:.1f} and "
          f"{dark['least']:.1f}: {light['sentence'].strip()[:100]}")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            check(pathlib.Path(name), server, pathlib.Path(folder))


main()
