#!/usr/bin/env python3
"""docs/MUTANTS.md from the results of run.py and equivalent.txt. Status 1 when a survivor has no explanation.

report.py [--scratch FOLDER] [--least 1000]: with fewer results than that only the table is printed."""

import argparse
import glob
import json
import os
import sys

import mutate
from build import FOLDERS

HERE = os.path.dirname(os.path.abspath(__file__))
GOALS = {'ref': 98, 'tokenizer': 92, 'weights': 92, 'golden': 92}
HEAD = '''# Mutants: do the tests notice a changed line?

Written by `make mutants`; the explanations are those of `tests/mutants/equivalent.txt`.

A mutant is the program with one change: another operator or comparison, a constant plus or minus one, `&&` for `||`, a negated condition, a statement left out, two arguments
or indices exchanged. It is killed when a test program that runs the changed line (or the golden cases of `mistral-ref selftest`) fails, crashes or does not end; what survives is run again with the
changed file under AddressSanitizer with LeakSanitizer and UndefinedBehaviorSanitizer. Mutants are the first of each folder, and some of every file, in the order of a hash, so a run can be repeated and extended. Headers are not changed, nor is what only decides how many
threads share a loop. The tests of `weights/pages.c` skip themselves where temporary files are kept in memory: its mutants want `TMPDIR` on a disk.

* *no compile*: refused by gcc, also for types of pointers and of formats. Not counted.
* *same code*: gcc makes the same object of it (-O1 or -O2), so no test can tell. Not counted.
* *explained*: survives, and is said below to change nothing that a test could ask for.
* *open*: survived the quick tests; those of more than 0.7 s have not run on it yet.
* *of all* and *of the others*: killed of those counted, and of those counted less the explained ones, which is what the goal is about.
'''


def read_log(path):
    """key -> the last record of it"""
    records = {}
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                r = json.loads(line)
                records[tuple(r['key'])] = r
    return records


def explanations():
    """(file, before, after) -> why; the file is made of blocks: path, `- before`, `+ after`, `= why`."""
    found, path, before, after = {}, '', '', ''
    with open(os.path.join(HERE, 'equivalent.txt')) as f:
        for line in f:
            line = line.rstrip('\n')
            if line.startswith('- '):
                before = line[2:]
            elif line.startswith('+ '):
                after = line[2:]
            elif line.startswith('= '):
                found[path, before, after] = line[2:]
            elif line != '' and not line.startswith('#'):
                path = line
    return found


def present(records):
    """The results whose mutant can still be made, with its line of today."""
    found, made = [], {}
    for key, r in records.items():
        path = key[0]
        if path not in made:
            made[path] = {}
            if os.path.exists(path):
                with open(path) as f:
                    made[path] = {m.key(): m for m in mutate.mutants(path, f.read())}
        if key in made[path]:
            r['line'] = made[path][key].line
            found.append(r)
    return found


def is_explained(r, why):
    return r['status'] == 'survived' and tuple(r['key'][:3]) in why


def is_open(r, why):
    """Whether the slow tests have not seen the mutant yet."""
    return r['status'] == 'survived' and not is_explained(r, why) and 2 not in r.get('passes', [])


def percent(part, whole):
    return f'{100 * part / whole:.1f} %' if whole else '-'


def table(names, groups, why, goals=None):
    lines = ['| | mutants | no compile | same code | counted | killed | explained | not explained | open | of all | of the others |'
             + (' goal |' if goals else ''), '|---' * (12 if goals else 11) + '|']
    for name in names:
        rs = groups(name)
        count = {s: sum(r['status'] == s for r in rs) for s in ('no compile', 'same', 'killed', 'survived')}
        explained = sum(is_explained(r, why) for r in rs)
        left = sum(is_open(r, why) for r in rs)
        counted = count['killed'] + count['survived']
        lines.append(f'| {name} | {len(rs)} | {count["no compile"]} | {count["same"]} | {counted} | '
                     f'{count["killed"]} | {explained} | {count["survived"] - explained - left} | {left} | '
                     f'{percent(count["killed"], counted)} | {percent(count["killed"], counted - explained)} |'
                     + (f' {goals[name]} % |' if goals and name in goals else ' |' if goals else ''))
    return lines


def code(text):
    """A span of code that may hold backquotes and bars."""
    mark = '``' if '`' in text else '`'
    return f'{mark}{text}{mark}'


def survivor(r, why):
    path, before, after, _ = r['key']
    reason = why.get((path, before, after), '**not explained**')
    return f'* {path}:{r["line"]} {code(before)} -> {code(after) if after else "nothing"}\n  {reason}'


def untouched(results):
    """A score says nothing of files that no mutant is of."""
    seen = {r['key'][0] for r in results}
    files = [p for folder in FOLDERS for p in sorted(glob.glob(f'{folder}/*.c')) if p not in seen]
    return f'Files without a mutant in this sample: {", ".join(files) or "none"}.'


def report(scratch, least=1000):
    why = explanations()
    results = present(read_log(os.path.join(scratch, 'log.jsonl')))
    kinds = sorted({r['kind'] for r in results})
    by_folder = table([*FOLDERS, 'all'], lambda n: [r for r in results if n in ('all', r['key'][0].split('/')[0])],
                      why, GOALS)
    by_kind = table(kinds, lambda k: [r for r in results if r['kind'] == k], why)
    alive = sorted((r for r in results if r['status'] == 'survived'), key=lambda r: (r['key'][0], r['line']))
    print('\n'.join(by_folder))
    if len(results) >= least:
        with open('docs/MUTANTS.md', 'w') as f:
            f.write('\n'.join([HEAD, *by_folder, '', untouched(results), '', '## By kind', '', *by_kind, '',
                               '## Survivors', '']
                              + [survivor(r, why) for r in alive if not is_open(r, why)]) + '\n')
    unexplained = [r for r in alive if tuple(r['key'][:3]) not in why]
    for r in unexplained:
        print(survivor(r, why))
    return 1 if unexplained else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--scratch', default='build/mutants')
    p.add_argument('--least', type=int, default=1000)
    o = p.parse_args()
    return report(o.scratch, o.least)


if __name__ == '__main__':
    sys.exit(main())
