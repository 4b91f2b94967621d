#!/usr/bin/env python3
"""Opens reports of `mistral-ref compare` in headless Chromium, and reads its JSON and JUnit as other programs do.

    tests/report_check.py [--program ./mistral-ref] [--port build/port] [--keep DIR]

Standard library only. Checks, for a fault, a clean run and an explained choice:
* HTML: the page opens without a message on the console; the parts are there; nothing is wider than a window of 1280 or of 400 pixels,
  in light and in dark; the arrow keys move through the map; a chosen cell opens its tensor; the filter filters; below 5 MB.
* JSON: the fields are those of docs/FORMATS.md, "compare --json", no more and no fewer.
* JUnit: the elements and attributes of the common schema, and counts that are those of the cases.
Exit status 1 if anything is wrong; 77 when there is no Chromium, after the other checks."""

import argparse, html, json, os, re, shutil, subprocess, sys, tempfile
import xml.etree.ElementTree as xml

MODEL = "golden/cases/mixtral_e7k2_w5"
TOKENS = "5,17,3,29,11,23,8,2,31,7,13,19,4"
CASES = {"fault": (["--bug", "M01"], 1), "rotary": (["--bug", "R01"], 1), "experts": (["--bug", "E07"], 1),
         "clean": ([], 0), "bf16": (["--dtype", "bf16"], 0)}
wrong = []


def check(good, what):
    if not good:
        wrong.append(what)
        print("WRONG:", what)


# What is asked of the page; the answers go to the page around it, which is there because a window of Chromium has at least 500 pixels.
PROBE = """<script>
addEventListener('load', function () {
  var answer = {width: innerWidth, page: document.documentElement.scrollWidth, parts: {}, dark: matchMedia('(prefers-color-scheme:dark)').matches};
  ['verdict', 'map', 'inside', 'masks', 'all'].forEach(function (id) {
    var e = document.getElementById(id);
    answer.parts[id] = !!e && e.getBoundingClientRect().height > 0;
  });
  var seen = function () {
    return Array.prototype.filter.call(document.querySelectorAll('.panel'), function (p) { return p.offsetHeight > 0; })
      .map(function (p) { return p.id; });
  };
  answer.first = seen();
  var cells = document.querySelectorAll('.map td a');
  answer.stops = Array.prototype.filter.call(cells, function (a) { return a.tabIndex === 0; }).length;
  cells[0].focus();
  cells[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
  answer.moved = document.activeElement === cells[1];
  cells[1].click();
  document.getElementById('filter').value = 'layers.1.q_rope';
  document.getElementById('filter').dispatchEvent(new Event('input'));
  answer.rows = Array.prototype.filter.call(document.querySelectorAll('#all tbody tr'), function (r) { return r.offsetHeight > 0; }).length;
  setTimeout(function () {
    answer.target = cells[1].getAttribute('href').slice(1);
    answer.then = seen();
    parent.postMessage(JSON.stringify(answer), '*');
  }, 50);
});
</script></body>"""

FRAME = """<!doctype html><body style="margin:0"><iframe src="probed.html" style="border:0" width="%d" height="800"></iframe><script>
addEventListener('message', function (e) { document.title = e.data; });
</script></body>"""


def browse(chromium, page, width, dark, folder):
    """The page's answers and what it said on the console."""
    probed = os.path.join(folder, "probed.html")
    with open(page, encoding="utf-8") as file: text = file.read()
    with open(probed, "w", encoding="utf-8") as file: file.write(text.replace("</body>", PROBE))
    with open(os.path.join(folder, "frame.html"), "w", encoding="utf-8") as file: file.write(FRAME % width)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000",
               "--window-size=1280,800", "--enable-logging=stderr", "--user-data-dir=" + os.path.join(folder, "profile"),
               "--blink-settings=preferredColorScheme=%d" % (0 if dark else 1), "--dump-dom", "file://" + os.path.join(folder, "frame.html")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\{.*?)</title>", run.stdout, re.S)
    said = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return (json.loads(html.unescape(title.group(1))) if title else None), said


def check_page(chromium, name, page, folder):
    check(os.path.getsize(page) < 5000000, name + ": page of 5 MB or more")
    for width in (1280, 400):
        for dark in (False, True) if name == "fault" else (False,):
            where = "%s, %d px, %s" % (name, width, "dark" if dark else "light")
            answer, said = browse(chromium, page, width, dark, folder)
            check(not said, where + ": console: " + "; ".join(said))
            if answer is None:
                check(False, where + ": the page gave no answer")
                continue
            check(answer["width"] == width and answer["dark"] == dark, where + ": window is %r" % answer)
            check(answer["page"] <= answer["width"], where + ": %(page)d pixels wide in %(width)d" % answer)
            check(all(answer["parts"].values()), where + ": parts missing: %r" % answer["parts"])
            check(len(answer["first"]) == 1 and answer["then"] == [answer["target"]], where + ": panels: %r" % answer)
            check(answer["stops"] == 1 and answer["moved"], where + ": the arrow keys do not move")
            check(answer["rows"] == 1, where + ": the filter left %d rows" % answer["rows"])


def documented():
    """Field names of docs/FORMATS.md by table: the first words in backquotes of each row."""
    with open("docs/FORMATS.md", encoding="utf-8") as file: text = file.read()
    section = text.split("## compare --json", 1)[1].split("\n## ", 1)[0]
    tables = {}
    for part in re.split(r"\n(?=\*\*)", section):
        name = re.match(r"\*\*(.+?)\*\*", part)
        if name:
            tables[name.group(1)] = {field for row in re.findall(r"^\| (`.*?) \|", part, re.M) for field in re.findall(r"`(\w+)`", row)}
    return tables


def check_json(name, document, tables):
    def same(part, found, optional=()):
        check(set(found) - set(optional) == tables[part] - set(optional), "%s: JSON %s: %s" %
              (name, part, sorted(set(found) ^ tables[part])))
    same("Document", document)
    same("summary", document["summary"])
    for part in ("masks", "margins", "flips", "layouts", "cache", "keys"):
        for one in document[part]: same(part, one)
    for one in document["tensors"]: same("tensors", one, ["reproduce"])
    for one in document["measured"]: same("measured", one, ["against", "relative", "largest", "differ"])
    if document["fault"] is not None:
        check(set(document["fault"]) == tables["fault"] | tables["tensors"], name + ": JSON fault: %s" %
              sorted(set(document["fault"]) ^ (tables["fault"] | tables["tensors"])))
    summary = document["summary"]
    verdicts = [one["verdict"] for one in document["tensors"]]
    check(summary["tensors"] == len(verdicts), name + ": count of tensors")
    for field, verdict in (("agree", "agrees"), ("faults", "fault"), ("explained", "explained"), ("prove_nothing", "proves nothing")):
        check(summary[field] == verdicts.count(verdict), "%s: count of %s" % (name, field))


def check_junit(name, path, document):
    suites = xml.parse(path).getroot()
    check(suites.tag == "testsuites" and [s.tag for s in suites] == ["testsuite"], name + ": JUnit root")
    suite = suites[0]
    cases = suite.findall("testcase")
    tags = [e.tag for e in suite]
    check(tags == ["properties"] + ["testcase"] * len(cases), name + ": JUnit elements")
    for attribute, found in (("tests", len(cases)), ("failures", len(suite.findall("testcase/failure"))),
                             ("errors", len(suite.findall("testcase/error"))), ("skipped", len(suite.findall("testcase/skipped")))):
        for element in (suites, suite): check(int(element.get(attribute)) == found, "%s: JUnit %s" % (name, attribute))
    check(len({c.get("name") for c in cases}) == len(cases), name + ": JUnit names are not unique")
    for case in cases:
        check(set(case.attrib) == {"classname", "name", "time"}, name + ": JUnit attributes of " + str(case.attrib))
        check(len(case) <= 1 and all(e.tag in ("failure", "skipped", "system-out") for e in case), name + ": JUnit " + case.get("name"))
    faults = {one["tensor"] for one in document["tensors"] if one["verdict"] == "fault"}
    check({c.get("name") for c in cases if c.find("failure") is not None} == faults, name + ": JUnit failures")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="./mistral-ref")
    parser.add_argument("--port", default="build/port")
    parser.add_argument("--keep", help="leave the reports in this folder")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    folder = options.keep or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(os.path.abspath(folder), name)
    tables = documented()
    subprocess.run([options.program, "trace", MODEL, "--tokens", TOKENS, "--precision", "f64", "-o", at("golden.npz")], check=True)
    for name, (seed, status) in CASES.items():
        subprocess.run([options.port, MODEL, "--tokens", TOKENS, "-o", at(name + ".npz")] + seed, check=True, stdout=subprocess.DEVNULL)
        run = subprocess.run([options.program, "compare", at("golden.npz"), at(name + ".npz"), "--model", MODEL, "--json",
                              "--junit", at(name + ".xml"), "--html", at(name + ".html")], capture_output=True, text=True)
        check(run.returncode == status, "%s: status %d, want %d: %s" % (name, run.returncode, status, run.stderr))
        document = json.loads(run.stdout)
        check_json(name, document, tables)
        check_junit(name, at(name + ".xml"), document)
        if chromium: check_page(chromium, name, at(name + ".html"), folder)
    if not options.keep: shutil.rmtree(folder)
    print("report: %d cases, %d wrong%s" % (len(CASES), len(wrong), "" if chromium else "; skipped: no Chromium to open the pages"))
    return 1 if wrong else 0 if chromium else 77


if __name__ == "__main__": sys.exit(main())
