# mistral-ref. `make` builds, `make help` lists the targets. Libraries go to build/, the program to ./mistral-ref.

# == settings: change here or on the command line (make CC=clang BLAS=0) ==============================================
CC      = gcc
OPT     = -O3 -g
OMP     = 1# threads; 0: one
BLAS    = 1# the blas engine; 0: plain C loops only
CLONES  = 1# loops compiled for AVX-512 and AVX2 as well, chosen at run time; 0: the base instruction set only
SAN     = 0# 1: AddressSanitizer and UndefinedBehaviorSanitizer
COV     = 0# 1: coverage counters
WERROR  = 0# 1: warnings are errors
V       = 0# 1: show every command
PREFIX  = /usr/local
JOBS   := $(shell nproc 2>/dev/null || echo 1)
# == end of settings ==================================================================================================

# -ffp-contract=off: a fused multiply-add would change bits. Never -ffast-math, never -march=native.
# -fno-math-errno: nobody reads errno after a root, which then fits into vectors; its bits are the same.
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wmissing-prototypes -Wstrict-prototypes \
          -Wvla -Wundef -Wwrite-strings $(if $(filter 1,$(WERROR)),-Werror)
FLAGS   = -std=c99 -ffp-contract=off -fno-math-errno -fopenmp-simd $(OPT) $(WARN) -I. -MMD -MP $(CFLAGS)
LIBS    = -lz -ljansson -lutf8proc -lm -pthread
ifeq ($(strip $(OMP)),1)
FLAGS  += -fopenmp
endif
ifeq ($(strip $(BLAS)),1)
FLAGS  += -DMR_BLAS
# Where several builds of OpenBLAS are installed: the one whose threads are OpenMP's, like ours.
OPENBLAS := $(firstword $(wildcard /usr/lib/$(shell uname -m)-linux-gnu/openblas-openmp))
ifneq ($(OPENBLAS),)
LIBS   += -L$(OPENBLAS) -Wl,-rpath,$(OPENBLAS)
endif
LIBS   += -lopenblas
endif
ifeq ($(strip $(CLONES))-$(shell uname -m),1-x86_64)
FLAGS  += -DMR_CLONES
endif
ifeq ($(strip $(SAN)),1)
FLAGS  += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifeq ($(strip $(COV)),1)
FLAGS  += --coverage -fprofile-update=atomic -D'INLINE=static inline'
endif
BUILD  := build/$(CC)-omp$(strip $(OMP))-blas$(strip $(BLAS))-clones$(strip $(CLONES))-san$(strip $(SAN))-cov$(strip $(COV))$(subst $() ,,$(OPT))

# The equations: each of these files is compiled once per precision. The rest of ref/ is compiled once.
TWICE  := embedding rmsnorm linear products products_backward widen rope exponential attention attention_blocks cache swiglu moe loss_cross_entropy loss_kl_exact \
          loss_balance loss_importance loss_load loss_router_z router_losses adamw show block ffn model arena
ONCE   := $(filter-out $(TWICE:%=ref/%.c),$(wildcard ref/*.c)) $(wildcard weights/*.c tokenizer/*.c golden/*.c)
OBJ    := $(ONCE:%.c=$(BUILD)/%.o) $(foreach f,$(TWICE),$(BUILD)/ref/$(f)_f32.o $(BUILD)/ref/$(f)_f64.o)
CLI    := $(patsubst %.c,$(BUILD)/%.o,$(wildcard cli/*.c))
LIB    := $(BUILD)/libmistral-ref.a
ONLY    =# make test ONLY="moe rope": these tests alone
TESTS  := $(patsubst %.c,$(BUILD)/%,$(or $(ONLY:%=tests/test_%.c),$(wildcard tests/test_*.c)))
Q      := $(if $(filter 1,$(V)),,@)
SAY     = @echo "  $(CC) $(@:$(BUILD)/%=%)"
PYTHON  = golden/.venv/bin/python

ifeq ($(MAKELEVEL),0)
.NOTPARALLEL:   # `make deps test`: one goal after the other; the builds below them use all cores
endif
.PHONY: mutants abuse abuse-run oom oom-run io io-run fuzz fuzz-build detection report-check false-alarms port all build deps demo test selftest lint san valgrind msan m32 analyze tidy cov determinism machines golden golden-check bench bench-text install clean help kernels docs-check
all:            ## build the library and ./mistral-ref
	@$(MAKE) --no-print-directory -j$(JOBS) build

build: $(BUILD)/mistral-ref
	@cp -f $< mistral-ref.new && mv -f mistral-ref.new mistral-ref && mkdir -p build && cp -f $(LIB) build/

$(BUILD)/mistral-ref: $(CLI) $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(CLI) $(LIB) $(LIBS)

$(LIB): $(OBJ)
	@rm -f $@
	@$(AR) rcs $@ $(OBJ)

# A product of two floats is exact in double: fused with an addition or not, there is one rounding.
$(BUILD)/ref/products_f32.o: FLAGS += -ffp-contract=fast
# The BLAS engine's own exponential: fused it rounds less, and OpenBLAS fuses as well.
$(BUILD)/ref/exponential_f32.o $(BUILD)/ref/exponential_f64.o: FLAGS += -ffp-contract=fast
$(BUILD)/%_f32.o: %.c
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(FLAGS) -DMR_BITS=32 -c -o $@ $<
$(BUILD)/%_f64.o: %.c
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(FLAGS) -DMR_BITS=64 -c -o $@ $<
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(FLAGS) -c -o $@ $<

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(BUILD)/tests/check.o $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/tests/check.o $(LIB) -lcmocka $(LIBS)
.PRECIOUS: $(BUILD)/tests/%.o

# Fuzz targets (tests/fuzz): with libFuzzer one program each; in tests/test_fuzz.c all of them, replaying committed inputs.
SECONDS  = 20# make fuzz: of each target
FUZZING  = 0
FUZZ_BUILD = build/fuzz
FUZZ_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fuzz/*.c))
FUZZ_CLI := $(filter-out %/main.o,$(CLI)) $(BUILD)/tests/fuzz/cli_main.o
FUZZERS  := $(filter-out %/fuzz %/cli_main,$(FUZZ_OBJ:.o=))
$(BUILD)/tests/fuzz/%.o: FLAGS += $(if $(filter 1,$(FUZZING)),,-DLLVMFuzzerTestOneInput=replay_$(*F))
# Unfolding the Unicode table would take nearly all the time of a target that opens a tokenizer.
$(BUILD)/tokenizer/pretoken_classes.o: FLAGS += $(if $(filter 1,$(FUZZING)),-fno-sanitize=fuzzer-no-link -fno-sanitize=address -fno-sanitize=undefined -O2)
# Comparisons of the equations would be half the time of whole commands, and say nothing of their words.
$(BUILD)/ref/%.o: FLAGS += $(if $(filter 1,$(FUZZING)),-fno-sanitize-coverage=trace-cmp)
$(BUILD)/tests/fuzz/cli_main.o: cli/main.c
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(FLAGS) -Dmain=mr_main -Wno-missing-prototypes -c -o $@ $<
$(FUZZERS): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/fuzz.o $(FUZZ_CLI) $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/test_fuzz: $(BUILD)/tests/test_fuzz.o $(FUZZ_OBJ) $(FUZZ_CLI) $(BUILD)/tests/check.o $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
fuzz-build: $(FUZZERS)
$(BUILD)/oom: $(BUILD)/tests/oom.o $(FUZZ_CLI) $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -Wl,--wrap=mr_alloc,--wrap=mr_resize,--wrap=mr_free,--wrap=malloc -o $@ $^ $(LIBS)
$(BUILD)/abuse: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/abuse/*.c)) $(BUILD)/tests/fuzz/fuzz.o $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
abuse:          ## files of every format cut, flipped and bent in every place (OMP=0 BLAS=0; also SAN=1)
	@$(MAKE) --no-print-directory -j$(JOBS) OMP=0 BLAS=0 $(if $(filter file,$(origin BUILD)),,BUILD=$(BUILD)) abuse-run
abuse-run: $(BUILD)/abuse
	@$(if $(wildcard /dev/shm),TMPDIR=/dev/shm) $(BUILD)/abuse
oom:            ## every command with its n-th allocation failing, n = 1, 2, ... (OMP=0 BLAS=0; also SAN=1)
	@$(MAKE) --no-print-directory -j$(JOBS) OMP=0 BLAS=0 $(if $(filter file,$(origin BUILD)),,BUILD=$(BUILD)) oom-run
oom-run: $(BUILD)/oom
	@$(BUILD)/oom
IO_CALLS := open64 close fopen fopen64 stat stat64 fstat64 fchmod mkdir opendir readdir mmap64 pread64 pwrite64 write fsync \
            rename unlink
$(BUILD)/io: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/io/*.c)) $(FUZZ_CLI) $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) $(IO_CALLS:%=-Wl,--wrap=%) -o $@ $^ $(LIBS)
io:             ## every command with its n-th system call failing, n = 1, 2, ...; training killed while it saves (also SAN=1)
	@$(MAKE) --no-print-directory -j$(JOBS) OMP=0 BLAS=0 $(if $(filter file,$(origin BUILD)),,BUILD=$(BUILD)) io-run
io-run: $(BUILD)/io
	@$(BUILD)/io
fuzz:           ## libFuzzer on every parser under ASan and UBSan, SECONDS=20 each, TARGETS="npz chat" for some (clang)
	@$(MAKE) --no-print-directory -j$(JOBS) fuzz-build CC=clang OPT='-O1 -g' OMP=0 BLAS=0 CLONES=0 SAN=1 FUZZING=1 BUILD=$(FUZZ_BUILD) \
	CFLAGS='-fsanitize=fuzzer-no-link -Wno-pass-failed $(CFLAGS)'
	@tests/fuzz/run.sh $(FUZZ_BUILD) $(SECONDS) $(TARGETS)

# A second implementation with seeded bugs, which the verifier is measured on (tests/port/README.md).
DETECT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/port/detect.c tests/port/detect/*.c))
PORT   := $(filter-out $(DETECT),$(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/port/*.c)))
$(BUILD)/port: $(PORT) $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(PORT) $(LIB) $(LIBS)
	@cp -f $@ build/port

port:           ## build/port: an engine with faults as switches, to try compare on (tests/port/README.md)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/port

$(BUILD)/detect: $(DETECT) $(LIB) $(BUILD)/port
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(DETECT) $(LIB) $(LIBS)

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/bench/measure.o $(LIB)
	$(SAY)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

PACKAGES = gcc make pkg-config zlib1g-dev libjansson-dev libutf8proc-dev libopenblas-openmp-dev libgomp1 libcmocka-dev
DEVELOPER_PACKAGES = clang clang-tidy libclang-rt-14-dev libomp-14-dev cppcheck valgrind gcovr python3 python3-venv chromium
deps:           ## install the packages (Debian, Ubuntu); as root or with sudo
	@tests/deps.sh $(PACKAGES)

deps-dev: deps  ## ... and those of lint, san, valgrind, cov
	@tests/deps.sh $(DEVELOPER_PACKAGES)

demo: all       ## the main job on a small model: generate, trace, route, verify
	@./tests/demo.sh

test: all       ## every test; the last line counts them
	@$(MAKE) --no-print-directory -j$(JOBS) $(TESTS) $(BUILD)/port
	@tests/run.sh $(TESTS)

selftest: all   ## every committed golden case against this build
	@./mistral-ref selftest

lint:           ## structure: include order, file and line size, one tag per equation, no leftovers; cppcheck
	@tests/lint.sh

docs-check: all port  ## the documents: their commands run, their options are those of --help, what they name exists
	@tests/docs.sh

san:            ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test SAN=1

# Clang's archer library tells ThreadSanitizer of OpenMP's barriers. Long inputs: small loops stay on one thread.
TSAN_BUILD = build/tsan
ARCHER    := $(firstword $(wildcard /usr/lib/llvm-*/lib/libarcher.so))
TSAN      := OPT='-O1 -g' BLAS=0 CLONES=0 CFLAGS='-fsanitize=thread $(CFLAGS)'
tsan:           ## threads under ThreadSanitizer: ours, and where clang has libarcher OpenMP's loops
	@$(MAKE) --no-print-directory -j$(JOBS) OMP=0 $(TSAN) BUILD=$(TSAN_BUILD)-omp0 tsan-threads
	@$(if $(ARCHER),$(MAKE) --no-print-directory -j$(JOBS) CC=clang OMP=1 $(TSAN) BUILD=$(TSAN_BUILD)-omp1 tsan-loops,echo "OpenMP: skipped (no libarcher)")
tsan-threads: $(BUILD)/tests/test_threads
	@tests/run.sh $<
tsan-loops: export OMP_NUM_THREADS = 4
tsan-loops: export OMP_TOOL_LIBRARIES = $(ARCHER)
tsan-loops: export TSAN_OPTIONS = ignore_noninstrumented_modules=1
tsan-loops: $(BUILD)/mistral-ref
	$< trace weights/tiny -p "$$(head -c 1500 docs/STYLE.md)" --grad --only grad.norm -o $(BUILD)/dense.npz
	$< trace golden/cases/mixtral_e5k2 --tokens $$(seq 1500 | sed 's/.*/3/' | paste -sd,) --grad --only grad.norm -o $(BUILD)/moe.npz

valgrind:       ## the tests under valgrind memcheck (an hour; ONLY="npz moe" for some)
	@MR_WRAP="valgrind -q --error-exitcode=99 --leak-check=full --suppressions=tests/valgrind.supp" $(MAKE) --no-print-directory test OMP=0

msan:           ## the tests under MemorySanitizer (clang; tests/msan.sh says what is not seen)
	@tests/msan.sh

m32:            ## the tests as a 32-bit x86 program (needs libraries of i386)
	@tests/m32.sh

analyze:        ## gcc -fanalyzer
	@tests/analyze.sh

tidy:           ## clang-tidy with the checks of .clang-tidy
	@tests/tidy.sh

ALSO =# make cov: programs besides the tests, as ALSO="oom io"
cov:            ## coverage of lines and branches; MISSING=1 lists the rest, ALSO="oom io" counts failing allocations and system calls too
	@find build/cov -name "*.gcda" -delete 2>/dev/null; $(MAKE) --no-print-directory test COV=1 OPT=-O0 OMP=0 CLONES=0 BUILD=build/cov
	@for also in $(ALSO); do $(MAKE) --no-print-directory -j$(JOBS) $$also-run COV=1 OPT=-O0 OMP=0 CLONES=0 BUILD=build/cov || exit 1; done
	@tests/cov.sh build/cov

report-check: all  ## reports of compare in headless Chromium, their JSON and JUnit read by other programs (python3; chromium)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/port
	@tests/report_check.py --program ./mistral-ref --port $(BUILD)/port || [ $$? -eq 77 ]

detection: all  ## docs/DETECTION.md: what the verifier finds in the seeded port (needs python3; takes minutes)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/detect
	@tests/port/detection.sh $(BUILD)/port $(BUILD)/detect ./mistral-ref

# Examples of golden/check.h: C always, CUDA where nvcc is. Exit status 77: compiled, but no device to run on.
CU      = $(patsubst tests/kernels/%.cu,$(BUILD)/kernels/%,$(wildcard tests/kernels/*.cu))
kernels: all    ## the example tests of kernels (docs/KERNELS.md): C, and CUDA if nvcc is installed
	@mkdir -p $(BUILD)/kernels
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $(BUILD)/kernels/rmsnorm_plain tests/kernels/rmsnorm_plain.c $(LIB) $(LIBS)
	@$(BUILD)/kernels/rmsnorm_plain
	@if command -v nvcc > /dev/null; then $(MAKE) --no-print-directory $(CU) && for k in $(CU); do $$k || [ $$? -eq 77 ] || exit 1; done; \
	else echo "kernels: CUDA examples skipped (nvcc is not installed)"; fi

$(BUILD)/kernels/%: tests/kernels/%.cu tests/kernels/device.cuh golden/check.h $(LIB)
	@echo "  nvcc $(@:$(BUILD)/%=%)"
	$(Q)nvcc -O2 -std=c++17 -I. -Xcompiler -fopenmp -o $@ $< $(LIB) $(LIBS)

false-alarms: all $(PYTHON)  ## 2,400 runs of Hugging Face's classes that must not be called wrong; its table in docs/DETECTION.md
	@OMP_NUM_THREADS=1 $(PYTHON) tests/false_alarms.py --runs 2400 --table docs/DETECTION.md

N = 1500# mutants
mutants:        ## changes one place of the sources at a time: does a test fail? docs/MUTANTS.md (gcc, python3; hours; N=40: minutes)
	@python3 -B tests/mutants/run.py -n $(N) --jobs $(JOBS)

determinism:    ## one hash of traces, generation and training over threads, compilers, levels; LONG=1: over all of them
	@tests/determinism.sh

machines:       ## the same on 64-bit Arm and big-endian s390x under qemu: which hashes are equal (needs cross compilers)
	@tests/machines.sh

$(PYTHON): golden/requirements.txt
	python3 -m venv golden/.venv
	golden/.venv/bin/pip install -q torch==2.13.0
	golden/.venv/bin/pip install -q -r golden/requirements.txt
	@touch $@

golden: $(PYTHON)        ## regenerate golden/cases from Hugging Face's own classes
	$(PYTHON) golden/generate.py golden/cases

golden-check: all $(PYTHON)  ## prove that the committed golden files are what PyTorch gives, and ids what sentencepiece gives
	@PYTHON=$(PYTHON) tests/golden_check.sh

BENCHES = $(patsubst %,$(BUILD)/bench/%,limits decode prefill train growth memory trace experts stream make_model)
FULL = 0# 1: the larger models too
bench: all     ## docs/BENCHMARKS.md and its pictures from one run of 3 minutes; FULL=1: the larger set, 24 GB of disk (python3)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BENCHES)
	python3 bench/report.py --build $(BUILD) $(if $(filter 1,$(FULL)),--full)

bench-text: all $(BUILD)/bench/tokenize $(PYTHON)  ## tokenizers against the originals; asserts nothing
	$(PYTHON) bench/tokenizer_speed.py --program $(BUILD)/bench/tokenize $$(ls golden/.venv/lib/python3*/site-packages/mistral_common/data/*240*)

install: all    ## PREFIX=/usr/local, DESTDIR respected
	install -D -m 755 mistral-ref $(DESTDIR)$(PREFIX)/bin/mistral-ref

clean:          ## remove everything that was built
	rm -rf build mistral-ref

help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

-include $(shell find build $(BUILD) -name '*.d' 2>/dev/null | sort -u)
