#!/usr/bin/env python3
"""Mutation testing: changes one place of the sources at a time and asks whether a test fails.

run.py [-n 1500] [--each 0] [--folders ref,tokenizer] [--skip PATTERN] [--passes 123] [--scratch FOLDER]
Results go to SCRATCH/log.jsonl and are kept: a second call goes on. report.py writes the table."""

import argparse
import glob
import json
import os
import re
import shutil
import sys
import threading

import mutate
import report
from build import FOLDERS, SANITIZE, Build, Runner, baseline, copy_tree

SEED = 20261122
SHARE = {'ref': 0.4, 'tokenizer': 0.2, 'weights': 0.2, 'golden': 0.2}
CHEAP = 0.7     # seconds of a test that pass 1 runs; pass 2 runs the others, pass 3 under sanitizers


def options():
    p = argparse.ArgumentParser()
    p.add_argument('-n', type=int, default=1500, help='mutants of all folders, 40 %% of them of ref/')
    p.add_argument('--each', type=int, default=0, help='mutants of every file at least')
    p.add_argument('--folders', default=','.join(FOLDERS))
    p.add_argument('--skip', default='^$', help='files left out (a regular expression)')
    p.add_argument('--passes', default='123')
    p.add_argument('--scratch', default='build/mutants')
    p.add_argument('--source', default='.', help='the tree, or a copy of it')
    p.add_argument('--slow', type=float, default=60, help='seconds of a test above which it is left out')
    p.add_argument('--jobs', type=int, default=1)
    return p.parse_args()


def sample(tree, o):
    """The same mutants for the same sources: the first of each folder, and of each file, in the order of a hash."""
    chosen = []
    for folder in o.folders.split(','):
        found = []
        for path in sorted(glob.glob(f'{tree}/{folder}/*.c')):
            path = os.path.relpath(path, tree)
            if re.search(o.skip, path):
                continue
            with open(os.path.join(tree, path)) as f:
                found += mutate.mutants(path, f.read())
        found.sort(key=lambda m: m.order(SEED))
        seen = {}
        for i, m in enumerate(found):
            seen[m.path] = seen.get(m.path, 0) + 1
            if i < round(o.n * SHARE[folder]) or seen[m.path] <= o.each:
                chosen.append(m)
    return chosen


def fingerprint(tree):
    """Of what tests read: a mutant must not change it for the next one."""
    found = []
    for folder, _, files in os.walk(f'{tree}/golden'):
        for name in files:
            s = os.stat(os.path.join(folder, name))
            found.append((folder, name, s.st_size, s.st_mtime_ns))
    return hash(tuple(sorted(found)))


class Tester:
    def __init__(self, build, tests):
        self.build, self.tests = build, tests
        self.tree, self.commands = build.tree, build.tests()
        self.lock = threading.Lock()
        self.tries, self.kills = {}, {}
        self.original, self.broken = {}, None

    def learn(self, path, test, killed):
        self.tries[path, test] = self.tries.get((path, test), 0) + 1
        self.kills[path, test] = self.kills.get((path, test), 0) + killed

    def worth(self, path, test):
        """Expected kills per second: what the test did to this file's mutants so far."""
        same = os.path.basename(path)[:-2] == test[5:]
        rate = (self.kills.get((path, test), 0) + 1 + 3 * same) / (self.tries.get((path, test), 0) + 4)
        return rate / (0.02 + self.tests[test]['cost'])

    def covering(self, m):
        """Tests that run a line of the mutant; of the file, where those lines are no code."""
        found, near, code = [], [], False
        for name, test in self.tests.items():
            if not test['good'] or m.path not in test['lines']:
                continue
            ran, could = test['lines'][m.path]
            here = range(m.line, m.last + 1)
            code = code or any(x in here for x in could)
            if ran:
                near.append(name)
            if any(x in here for x in ran):
                found.append(name)
        return found if code else near

    def unchanged(self, folder, path, more):
        key = (path, more)
        if key not in self.original:
            with open(os.path.join(self.tree, path)) as f:
                self.original[key] = self.build.compile(folder, path, f.read(), more)
        return self.original[key]

    def tag(self, mode, name):
        """A test that was changed and built again is another one."""
        return f'{mode}:{name}:{self.tests[name]["stamp"][1] // 1000000}'

    def fails(self, m, name, runner, sanitized):
        cost = self.tests[name]['cost'] * (4 if sanitized else 1)
        return not runner.run(self.build, self.commands[name], cost, 60 + 20 * cost, sanitized)

    def test(self, m, record, number, runner, folder):
        """One mutant in one pass."""
        mode = 'san' if number == 3 else 'plain'
        flags = ('-O1', *SANITIZE) if number == 3 else ('-O0',)
        tried = record.setdefault('tried', [])
        names = [n for n in self.covering(m) if self.tag(mode, n) not in tried
                 and (number == 2 or self.tests[n]['cost'] <= CHEAP)]
        if tried and not names:
            return
        with open(os.path.join(self.tree, m.path)) as f:
            source = f.read()
        original = self.unchanged(folder, m.path, flags)
        objects = self.build.compile(folder, m.path, m.apply(source), flags)
        if objects is None or objects == original:
            record['status'] = 'no compile' if objects is None else 'same'
            return
        self.build.place(folder, m.path, SANITIZE if number == 3 else ())
        record['status'] = 'survived'
        for name in sorted(names, key=lambda n: -self.worth(m.path, n)):
            killed = self.fails(m, name, runner, number == 3)
            if killed and number == 3:      # only if the original passes under the same conditions
                self.build.compile(folder, m.path, source, flags)
                self.build.place(folder, m.path, SANITIZE)
                killed = not self.fails(m, name, runner, True)
                self.build.compile(folder, m.path, m.apply(source), flags)
                self.build.place(folder, m.path, SANITIZE)
            tried.append(self.tag(mode, name))
            self.learn(m.path, name, killed)
            if killed:
                record['status'], record['by'] = 'killed', f'{mode}:{name}'
                return

    def same_code(self, m, record, folder):
        """Survivors that gcc compiles to the object of the original with more effort."""
        original = self.unchanged(folder, m.path, ('-O2',))
        with open(os.path.join(self.tree, m.path)) as f:
            if self.build.compile(folder, m.path, m.apply(f.read()), ('-O2',)) == original:
                record['status'] = 'same'


def one_pass(o, tester, number, todo, records, log):
    before, done, waiting = fingerprint(tester.tree), [0], []
    todo = list(todo)
    total = len(todo)

    def work(index):
        folder = os.path.join(o.scratch, f'worker{index}')
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(os.environ.get('TMPDIR') or folder, f'mutant{index}-{os.getpid()}')
        runner = Runner(tester.tree, folder, temporary)
        while True:
            with tester.lock:
                if not todo:
                    break
                m = todo.pop(0)
            record = dict(records.get(m.key(), {'key': m.key(), 'kind': m.kind}))
            tester.test(m, record, number, runner, folder)
            if record['status'] == 'survived' and number == 1:
                tester.same_code(m, record, folder)
            record['passes'] = sorted({*record.get('passes', []), number})
            with tester.lock:
                if fingerprint(tester.tree) != before:
                    tester.broken = f'mutants: {m.key()} changed files of golden/; remove {tester.tree}'
                    todo.clear()
                    return
                records[m.key()] = record
                log.write(json.dumps(record) + '\n')
                log.flush()
                done[0] += 1
                if record['status'] == 'survived':
                    print(f'  {m.path}:{m.line} {m.kind}\n    - {m.before}\n    + {m.after}', flush=True)
                if done[0] % 25 == 0:
                    print(f'pass {number}: {done[0]} of {total}', flush=True)
        shutil.rmtree(temporary, ignore_errors=True)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(o.jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if tester.broken:
        raise SystemExit(tester.broken)


def measured(o, plain, lines, most):
    """Cost and lines of the tests that take at most so many seconds, kept for the next time."""
    known, path = {}, os.path.join(o.scratch, 'tests.json')
    if os.path.exists(path):
        with open(path) as f:
            known = json.load(f)
    nothing = os.path.join(o.scratch, 'none')   # no mutant
    os.makedirs(nothing, exist_ok=True)
    temporary = os.path.join(os.environ.get('TMPDIR') or o.scratch, f'baseline-{os.getpid()}')
    baseline(plain, lines, Runner(plain.tree, nothing, temporary), known, most)
    shutil.rmtree(temporary, ignore_errors=True)
    with open(path, 'w') as f:
        json.dump(known, f)
    return known


def main():
    o = options()
    o.scratch = os.path.abspath(o.scratch)
    tree = os.path.join(o.scratch, 'tree')
    os.makedirs(tree, exist_ok=True)
    copy_tree(o.source, tree)
    chosen = sample(tree, o)
    print(f'mutants: {len(chosen)}; building', flush=True)
    plain, lines = Build(tree, 'plain', o.jobs), Build(tree, 'lines', o.jobs)
    tests = measured(o, plain, lines, CHEAP)
    tester = Tester(plain, tests)
    explained = report.explanations()
    records = report.read_log(os.path.join(o.scratch, 'log.jsonl'))
    for r in records.values():
        for name in r.get('tried', []):
            test = name.split(':')[1]
            tester.learn(r['key'][0], test, r.get('by', '').endswith(':' + test))
    with open(os.path.join(o.scratch, 'log.jsonl'), 'a') as log:
        for number in map(int, o.passes):
            todo = [m for m in chosen if (number == 1 and m.key() not in records)
                    or (records.get(m.key(), {}).get('status') == 'survived'
                        and m.key()[:3] not in explained)]
            if number == 2 and todo:
                tester.tests = measured(o, plain, lines, o.slow)
            one_pass(o, tester, number, todo, records, log)
    return report.report(o.scratch)


if __name__ == '__main__':
    sys.exit(main())
