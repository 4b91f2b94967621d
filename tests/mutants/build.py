"""A copy of the tree whose tests can be given one changed object without linking them again.

The library is a shared object here, and every program looks into libmutant.so first, which is empty
until a mutant is put there. A second copy of the library counts lines; it tells which test runs which
line."""

import glob
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time

FOLDERS = ('ref', 'tokenizer', 'weights', 'golden')
# Mistakes of types are for the compiler to find: such mutants do not count.
TYPES = ['-Werror=' + w for w in ('format', 'int-conversion', 'incompatible-pointer-types',
                                  'discarded-qualifiers', 'implicit-function-declaration')]
VARIANTS = {'plain': 'OPT=-O1', 'lines': 'OPT=-O1 COV=1'}
SANITIZE = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-g']
PRINT = '''
print-objects: ; @echo $(OBJ)
print-flags:   ; @echo $(FLAGS)
print-libs:    ; @echo $(LIBS)
print-twice:   ; @echo $(TWICE)
tests-linked:  $(TESTS) $(BUILD)/mistral-ref
'''


def copy_tree(source, tree):
    """The files git knows or would, without looking at what is built."""
    names = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=source, text=True,
                           capture_output=True, check=True).stdout.split('\n')
    for name in names:
        old, new = os.path.join(source, name), os.path.join(tree, name)
        if name == '' or not os.path.isfile(old):
            continue
        a = os.stat(old)
        b = os.stat(new) if os.path.exists(new) else None
        if b is None or (a.st_size, a.st_mtime_ns) != (b.st_size, b.st_mtime_ns):
            os.makedirs(os.path.dirname(new), exist_ok=True)
            shutil.copy2(old, new)


class Build:
    """One variant of the library in tree/NAME, and for `plain` the programs."""

    def __init__(self, tree, name, jobs):
        self.tree, self.name, self.at = tree, name, os.path.join(tree, name)
        os.makedirs(os.path.join(tree, 'build'), exist_ok=True)
        with open(os.path.join(tree, 'build/print.mk'), 'w') as f:
            f.write(PRINT)
        self.jobs = jobs
        self.library()
        if name != 'lines':
            self.programs()

    def make(self, goal, *more):
        command = ['make', '-s', f'-j{self.jobs}', '-f', 'Makefile', '-f', 'build/print.mk',
                   'CC=gcc', 'CLONES=0', f'BUILD={self.name}', 'CFLAGS=-fPIC -w',
                   *VARIANTS[self.name].split(), *more, goal]
        r = subprocess.run(command, cwd=self.tree, text=True, capture_output=True)
        if r.returncode != 0:
            raise SystemExit(f'mutants: make {goal} failed:\n{r.stderr}')
        return r.stdout.split()

    def library(self):
        script = os.path.join(self.at, 'libmistral-ref.a')
        self.make(f'{self.name}/libmistral-ref.a')
        self.flags = [f for f in self.make('print-flags') if f[:2] not in ('-M', '-W', '-w')]
        self.twice = {f'ref/{n}.c' for n in self.make('print-twice')}
        with open(script, 'rb') as f:
            if f.read(5) == b'INPUT':
                return      # linked already, and nothing changed since
        self.link('libmistral-ref.so', self.make('print-objects'), self.make('print-libs'))
        self.link('libmutant.so', [], [])
        with open(script, 'w') as f:
            f.write(f'INPUT({self.at}/libmutant.so {self.at}/libmistral-ref.so)\n')

    def link(self, name, objects, libs):
        special = [f for f in self.flags if f.startswith(('-fsanitize', '--coverage', '-fopenmp'))]
        subprocess.run(['gcc', '-shared', *special, f'-Wl,-soname,{name}', '-o',
                        os.path.join(self.at, name), *objects, *libs], cwd=self.tree, check=True)

    def programs(self):
        port = os.path.join(self.tree, 'build/port')
        if os.path.lexists(port):   # the link of the last time: make copies a file there
            os.remove(port)
        self.make('tests-linked', 'LDFLAGS=-Wl,--no-as-needed')
        self.make(f'{self.name}/port', 'LDFLAGS=-Wl,--no-as-needed')
        self.use()

    def use(self):
        """Tests look for ./mistral-ref and build/port."""
        for old, new in ((f'{self.at}/mistral-ref', 'mistral-ref'), (f'{self.at}/port', 'build/port')):
            new = os.path.join(self.tree, new)
            if os.path.lexists(new):
                os.remove(new)
            os.symlink(old, new)

    def tests(self):
        """Name and command of every test program, and of the golden cases."""
        found = {os.path.basename(p): [p] for p in glob.glob(f'{self.at}/tests/test_*')
                 if '.' not in os.path.basename(p)}
        found['selftest'] = ['./mistral-ref', 'selftest']
        return found

    def compile(self, folder, path, source, more=('-O0',)):
        """The bytes of the mutant's objects, one per precision; None where it does not compile."""
        os.makedirs(os.path.join(folder, os.path.dirname(path)), exist_ok=True)
        changed = os.path.join(folder, path)
        with open(changed, 'w') as f:
            f.write(source)
        objects = []
        for bits in (32, 64) if path in self.twice else (0,):
            made = os.path.join(folder, f'{bits}.o')
            command = ['gcc', '-pipe', *self.flags, *TYPES, *more,
                       *([f'-DMR_BITS={bits}'] if bits else []), '-c', '-o', made,
                       os.path.relpath(changed, self.tree)]
            if subprocess.run(command, cwd=self.tree, stderr=subprocess.DEVNULL).returncode != 0:
                return None
            with open(made, 'rb') as f:
                objects.append(f.read())
        return objects

    def place(self, folder, path, more=()):
        """libmutant.so of the objects compiled last."""
        objects = [f'{folder}/{b}.o' for b in ((32, 64) if path in self.twice else (0,))]
        command = ['gcc', *more, '-Wl,-soname,libmutant.so'] if more else ['ld', '-soname', 'libmutant.so']
        subprocess.run([*command, '-shared', '-o', f'{folder}/libmutant.so', *objects], check=True)


def wants_to_run(pid):
    """Whether a thread of the process or of what it started runs, or waits for a processor or a disk."""
    parent, running = {}, []
    for path in glob.glob('/proc/[0-9]*/task/*/stat'):
        try:
            with open(path) as f:
                state, above = f.read().rpartition(')')[2].split()[:2]
        except OSError:     # ended meanwhile
            continue
        process = int(path.split('/')[2])
        parent[process] = int(above)
        if state in 'RD':
            running.append(process)
    for process in running:
        while process not in (pid, 0, None):
            process = parent.get(process)
        if process == pid:
            return True
    return False


class Runner:
    """Runs one test program after the other, each under limits of processor time and of patience."""

    def __init__(self, tree, folder, temporary):
        self.tree, self.folder = tree, folder
        self.temporary = temporary
        os.makedirs(temporary, exist_ok=True)
        self.process, self.ticks = None, 0
        self.sanitizer = subprocess.run(['gcc', '-print-file-name=libasan.so'], text=True,
                                        capture_output=True, check=True).stdout.strip()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        """Counts seconds in which the test waits for something else than a processor or a disk, so that
        a busy or paused machine does not look like a hang."""
        while True:
            time.sleep(1)
            self.ticks += self.process is not None and not wants_to_run(self.process.pid)
            if self.process is not None and self.ticks > self.patience:
                self.process.kill()

    def run(self, build, command, cpu, patience, sanitized=False):
        """True where the program ends with status 0. sanitized: libmutant.so is, and nothing else."""
        def limits():
            signal.setitimer(signal.ITIMER_PROF, 0.5 + 8 * cpu)
            resource.setrlimit(resource.RLIMIT_CPU, (int(2 + 8 * cpu), int(3 + 8 * cpu)))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 31, 1 << 31))
            if not sanitized:
                resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        env = dict(os.environ, LD_LIBRARY_PATH=f'{self.folder}:{build.at}', TMPDIR=self.temporary,
                   OMP_NUM_THREADS='2', OMP_WAIT_POLICY='passive', CMOCKA_TEST_ABORT='1',
                   ASAN_OPTIONS='detect_leaks=1')
        if sanitized:
            env['LD_PRELOAD'] = self.sanitizer
        self.ticks, self.patience = 0, patience
        self.process = subprocess.Popen(command, cwd=self.tree, env=env, preexec_fn=limits,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        status = self.process.wait()
        self.process = None
        if os.listdir(self.temporary):
            shutil.rmtree(self.temporary, ignore_errors=True)
            os.makedirs(self.temporary, exist_ok=True)
        return status == 0


def baseline(plain, lines, runner, known, most):
    """Processor seconds of every test that takes no more than `most`, and the lines of every file that
    it runs. `known` are those of the last time: only programs that changed run again, all if the library
    did, and those that took too long then."""
    library = os.stat(f'{plain.at}/libmistral-ref.so').st_mtime_ns
    for name, command in sorted(plain.tests().items()):
        stamp = [library, os.stat(os.path.join(plain.tree, command[0])).st_mtime_ns]
        if name in known and known[name]['stamp'] == stamp and most <= known[name]['most']:
            continue
        for counters in glob.glob(f'{lines.at}/*/*.gcda'):
            os.remove(counters)
        a, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        good = runner.run(lines, command, most / 8, 900)
        b, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - wall
        cost = b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime
        known[name] = {'stamp': stamp, 'good': good, 'most': 1e9 if good else most, 'cost': cost, 'wall': wall, 'lines': ran(lines)}
        print(f'  {name}: {cost:.2f} s{"" if good else ", more than that, or it fails: not used"}', flush=True)
    return known


def ran(lines):
    """File -> [lines that ran, lines that could have]."""
    found = {}
    counters = [os.path.relpath(p, lines.tree) for d in FOLDERS
                for p in glob.glob(f'{lines.at}/{d}/*.gcda')]
    text = subprocess.run(['gcov', '--json-format', '--stdout', *counters], cwd=lines.tree, text=True,
                          capture_output=True).stdout
    for document in text.splitlines():
        for file in json.loads(document)['files']:
            if not file['file'].endswith('.c'):
                continue
            ran_here, all_here = found.setdefault(file['file'], [set(), set()])
            for line in file['lines']:
                all_here.add(line['line_number'])
                if line['count'] > 0:
                    ran_here.add(line['line_number'])
    return {file: [sorted(a), sorted(b)] for file, (a, b) in found.items()}
