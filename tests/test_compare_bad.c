/* compare on files that are damaged, mismatched, misnamed, empty or foreign: the table of
 * docs/FORMATS.md, row by row. */
#include "tests/command.h"

#include <math.h>

#include "golden/trace.h"

#define MODEL "golden/cases/dense_gqa"
#define GOOD  MODEL "/t13.f32.npz"
#define TOKENS "\"tokens\":[["
#define OTHER "golden/cases/mixtral_e5k2/t13.f32.npz"

/* ---- copies of a good trace with one change -------------------------------------------------- */

typedef enum {
    AS_IT_IS, NO_META, BROKEN_META, NO_TOKENS, OTHER_TOKEN, TOKEN_PAST_END, ONE_TENSOR,
    ANOTHER_TENSOR, ONLY_FOREIGN, NO_TENSOR, FEWER_ROWS, TWO_DIMENSIONS, INTEGERS, ONE_NAN, ONE_INF,
    ALL_ZERO, ALL_TWO, SOME_ROWS, SOME_ROWS_WRONG, ROWS_PAST_END
} change;

static void change_meta(char *meta, change how) {
    static const char rows[] = "\"rows\":{\"logits\":[2,12]},",
                      past[] = "\"rows\":{\"logits\":[2,13]},";
    if (how == SOME_ROWS || how == SOME_ROWS_WRONG || how == ROWS_PAST_END) {
        memmove(meta + sizeof rows, meta + 1, strlen(meta));
        memcpy(meta + 1, how == ROWS_PAST_END ? past : rows, sizeof rows - 1);
    }
    char *tokens = strstr(meta, TOKENS);
    assert_non_null(tokens);
    char *first = tokens + strlen(TOKENS);
    if (how == NO_TOKENS) memcpy(tokens, "\"tokenz", 7);
    if (how == BROKEN_META) meta[strlen(meta) - 1] = ' ';
    if (how == OTHER_TOKEN) first[0] = first[0] == '1' ? '2' : '1';
    if (how == TOKEN_PAST_END) first[0] = first[1] = '9';
}

static bool changed_tensor(mr_tensor *t, float *x, idx n, change how) {
    const bool q = strcmp(t->name, "layers.0.q") == 0;
    static int32_t whole[1 << 16];
    if (how == ONE_TENSOR && !q) return false;
    if (how == NO_TENSOR || how == ONLY_FOREIGN) return false;
    for (idx i = 0; i < n && (how == ALL_ZERO || how == ALL_TWO); i++)
        x[i] = how == ALL_ZERO ? 0 : 2;
    if (how >= SOME_ROWS && strcmp(t->name, "logits") == 0) {
        memcpy(x, x + 2 * t->dim[1], (size_t)t->dim[1] * sizeof *x);
        memcpy(x + t->dim[1], x + 12 * t->dim[1], (size_t)t->dim[1] * sizeof *x);
        t->dim[0] = 2;
        if (how == SOME_ROWS_WRONG) x[t->dim[1] + 3] += 1;
    }
    if (!q) return true;
    if (how == FEWER_ROWS) t->dim[0]--;
    if (how == TWO_DIMENSIONS) t->rank = 2, t->dim[1] *= t->dim[2];
    if (how == ONE_NAN) x[5] = NAN;
    if (how == ONE_INF) x[5] = INFINITY;
    for (idx i = 0; i < n && how == INTEGERS; i++) whole[i] = (int32_t)x[i];
    if (how == INTEGERS) t->dtype = MR_I32, t->data = whole;
    return true;
}

static void add_foreign(mr_trace_writer *writer, mr_err *e) {
    static const double three[] = {1, 2, 3};
    must(mr_trace_add(writer, &(mr_tensor){"my.tensor", MR_F64, 1, {3}, three}, e), e);
}

static void copy_trace(const char *from, const char *to, change how) {
    mr_trace *trace;
    mr_trace_writer *writer;
    mr_err e = {0};
    must(mr_trace_open(from, &trace, &e), &e);
    must(mr_trace_create(to, 1, &writer, &e), &e);
    for (idx i = 0; i < mr_trace_count(trace); i++) {
        mr_tensor t = *mr_trace_tensor(trace, i);
        char name[128];
        const idx n = mr_count(t.rank, t.dim);
        double *wide = malloc((size_t)(n + 1) * sizeof *wide);
        float *x = malloc((size_t)(n + 1) * sizeof *x);
        must(mr_trace_read(trace, i, wide, &e), &e);
        for (idx k = 0; k < n; k++) x[k] = (float)wide[k];
        snprintf(name, sizeof name, "%s", t.name);
        t.name = name, t.dtype = MR_F32, t.data = x;
        if (changed_tensor(&t, x, n, how)) must(mr_trace_add(writer, &t, &e), &e);
        free(x);
        free(wide);
    }
    if (how == ANOTHER_TENSOR || how == ONLY_FOREIGN) add_foreign(writer, &e);
    char *meta = malloc(strlen(mr_trace_meta(trace)) + 100);
    strcpy(meta, mr_trace_meta(trace));
    change_meta(meta, how);
    must(mr_trace_finish(writer, how == NO_META ? NULL : meta, &e), &e);
    free(meta);
    mr_trace_close(trace);
}

static void test_changed(void **state) {
    static const struct {
        change      how;
        int         status;
        const char *out, *err;
    } table[] = {
        {AS_IT_IS, 0, "AGREES", ""},
        {NO_META, 0, "AGREES", "PORT has no meta"},
        {BROKEN_META, 3, "", "tensor meta: line 1"},
        {NO_TOKENS, 3, "", "meta: expected \"tokens\""},
        {OTHER_TOKEN, 1, "DISAGREES", ""},
        {TOKEN_PAST_END, 3, "", "outside the vocabulary of 41"},
        {ONE_TENSOR, 0, "1 verified", ""},
        {ANOTHER_TENSOR, 0, "AGREES", ""},
        {ONLY_FOREIGN, 4, "", "no tensor of the model is recorded"},
        {NO_TENSOR, 4, "", "no tensor of the model is recorded"},
        {FEWER_ROWS, 1, "[12,6,10], expected [13,6,10]", ""},
        {TWO_DIMENSIONS, 0, "AGREES", ""},
        {INTEGERS, 1, "layers.0.q", ""},
        {ONE_NAN, 1, "layers.0.q", ""},
        {ONE_INF, 1, "layers.0.q", ""},
        {ALL_ZERO, 1, "DISAGREES", ""},
        {ALL_TWO, 1, "DISAGREES", ""},
        {SOME_ROWS, 0, "AGREES", ""},
        {SOME_ROWS_WRONG, 1, "logits", ""},
        {ROWS_PAST_END, 3, "", "rows of logits: number 1 is not a row of 13 tokens"},
    };
    static const char *const endings[] = {"p.npz", "p.safetensors"};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int e = 0; e < 2; e++) {
            char command[256];
            copy_trace(GOOD, scratch(endings[e]), table[i].how);
            snprintf(command, sizeof command, "compare " GOOD " @/%s --model " MODEL, endings[e]);
            const expectation one = {command, table[i].status, table[i].out, table[i].err};
            check_all(&one, 1);
        }
    copy_trace(GOOD, scratch("f.npz"), ONLY_FOREIGN);
    const expectation apart = {"compare " GOOD " @/f.npz", 4, "", "no tensor in common"};
    check_all(&apart, 1);
}

/* ---- files that are no trace ----------------------------------------------------------------- */

static void write_copy(const char *name, const char *from) {
    size_t n;
    unsigned char *data = scratch_read(from, &n);
    scratch_write(name, data, n);
    free(data);
}

static void test_foreign(void **state) {
    static const unsigned char zip[] = "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                       "\x0a\0\0\0x/data.pkl";
    (void)state;
    scratch_write("text.npz", "not a trace\n", 12);
    scratch_write("text.safetensors", "not a trace\n", 12);
    scratch_write("notes.txt", "not a trace\n", 12);
    scratch_write("image.npz", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    scratch_write("port.pt", zip, sizeof zip - 1);
    scratch_write("pt.npz", zip, sizeof zip - 1);
    scratch_write("old.npz", "\x80\2}q\1.", 6);
    scratch_write("one.npy", "\x93NUMPY\1\0v\0{'descr'", 18);
    scratch_write("empty.npz", "", 0);
    scratch_write("empty.safetensors", "", 0);
    scratch_write("noise.npz", "\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10", 24);
    scratch_write("byte.npz", "\x80\1\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6", 24);
    write_copy("zip.safetensors", GOOD);
    write_copy("good.txt", GOOD);
    write_copy("model.npz", MODEL "/model.safetensors");
    assert_int_equal(mkdir(scratch("folder.npz"), 0700), 0);
    static const expectation table[] = {
        {"compare " GOOD " @/text.npz", 3, "", "text.npz: is text"},
        {"compare " GOOD " @/text.safetensors", 3, "", "is text"},
        {"compare " GOOD " @/notes.txt", 3, "", "is text"},
        {"compare @/notes.txt " GOOD, 3, "", "notes.txt: is text"},
        {"compare " GOOD " @/image.npz", 3, "", "a PNG image"},
        {"compare " GOOD " @/port.pt", 3, "", "golden/record.py"},
        {"compare " GOOD " @/pt.npz", 3, "", "a PyTorch file (torch.save), which is a pickle"},
        {"compare " GOOD " @/old.npz", 3, "", "a Python pickle"},
        {"compare " GOOD " @/one.npy", 3, "", "a single array (.npy)"},
        {"compare " GOOD " @/empty.npz", 3, "", "is empty (0 bytes)"},
        {"compare " GOOD " @/empty.safetensors", 3, "", "is empty (0 bytes)"},
        {"compare " GOOD " @/noise.npz", 3, "", "no end record in the last 22 bytes"},
        {"compare " GOOD " @/byte.npz", 3, "", "no end record in the last 22 bytes"},
        {"compare " GOOD " @/zip.safetensors", 3, "", "rename it to .npz"},
        {"compare " GOOD " @/model.npz", 3, "", "rename it to .safetensors"},
        {"compare " GOOD " @/good.txt", 3, "", "must end in .npz or .safetensors"},
        {"compare " GOOD " @/folder.npz", 3, "", "is a folder"},
        {"compare " GOOD " @/nowhere.npz", 3, "", "No such file"},
        {"compare " GOOD " " GOOD " --model @/folder.npz", 3, "", "folder.npz"},
        {"compare " GOOD " " MODEL "/model.safetensors --model " MODEL, 4, "",
         "no tensor of the model is recorded"},
        {"compare " GOOD " " OTHER " --model " MODEL, 3, "", "recorded from another model"},
        {"compare " GOOD " " GOOD " --model " MODEL, 0, "AGREES", "are the same file"},
        {"compare " GOOD " " GOOD, 5, "", "are the same file, which agrees with itself"},
        {"compare " GOOD, 2, "", ""},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype f12", 2, "", "--dtype"},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype f32", 0, "AGREES", ""},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype tf32", 0, "AGREES", ""},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype bf16", 0, "AGREES", ""},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype f16", 0, "AGREES", ""},
        {"compare " GOOD " " GOOD " --model " MODEL " --dtype fp8", 0, "sums in fp8", ""},
        {"trace " MODEL " --tokens 1,2,3 -o @/ours.npz", 0, "", ""},
        {"compare " GOOD " @/ours.npz --model " MODEL, 0, "AGREES", "order is compare GOLDEN PORT"},
        {"compare @/ours.npz " GOOD " --model " MODEL, 0, "AGREES", ""},
    };
    CHECK_ALL(table);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* A small trace cut at every length, and each of its bytes changed: refused, or the same tensors
 * (a changed byte may lie in data that carry no checksum, as safetensors' do). */
static void test_damaged(void **state) {
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const char *const names[] = {"s.npz", "s.safetensors"};
    (void)state;
    for (int k = 0; k < 2; k++) {
        mr_trace_writer *writer;
        mr_trace *trace;
        mr_err e = {0};
        size_t n;
        must(mr_trace_create(scratch(names[k]), 1, &writer, &e), &e);
        must(mr_trace_add(writer, &(mr_tensor){"layers.0.h", MR_F32, 2, {2, 3}, x}, &e), &e);
        must(mr_trace_add(writer, &(mr_tensor){"norm", MR_F32, 1, {6}, x}, &e), &e);
        must(mr_trace_finish(writer, "{}", &e), &e);
        unsigned char *data = scratch_read(scratch(names[k]), &n);
        for (size_t length = 0; length < n; length++) {
            mr_err cut = {0};
            const char *path = scratch_write(names[k], data, length);
            assert_int_equal(mr_trace_open(path, &trace, &cut), MR_BAD);
            assert_non_null(strstr(cut.text, names[k]));
            assert_null(trace);
        }
        print_message("%s: %zu lengths refused\n", names[k], n);
        free(data);
    }
}

static void test_damaged_in_compare(void **state) {
    size_t n;
    unsigned char *data = scratch_read(GOOD, &n);
    (void)state;
    for (size_t part = 1; part < 8; part++) {
        scratch_write("cut.npz", data, n * part / 8);
        const expectation one = {"compare " GOOD " @/cut.npz --model " MODEL, 3, "", "cut.npz: "};
        check_all(&one, 1);
    }
    free(data);
    copy_trace(GOOD, scratch("d.npz"), AS_IT_IS);
    data = scratch_read(scratch("d.npz"), &n);
    data[n / 2] ^= 1;
    scratch_write("d.npz", data, n);
    free(data);
    const expectation one = {"compare " GOOD " @/d.npz --model " MODEL, 3, "", "d.npz: "};
    check_all(&one, 1);
}

/* ---- what proves nothing --------------------------------------------------------------------- */

/* A model whose weights are all zero makes nothing but zeros, which any port could give. */
static void test_all_zero(void **state) {
    size_t n;
    uint64_t header;
    (void)state;
    assert_int_equal(run("init " MODEL "/config.json -o @/zero"), 0);
    unsigned char *data = scratch_read(scratch("zero/model.safetensors"), &n);
    memcpy(&header, data, sizeof header);
    memset(data + 8 + header, 0, n - 8 - (size_t)header);
    scratch_write("zero/model.safetensors", data, n);
    free(data);
    static const expectation table[] = {
        {"trace @/zero --tokens 1,2,3,4 --only layers.*.q -o @/zero.npz", 0, "", ""},
        {"compare @/zero.npz @/zero.npz --model @/zero", 5, "", ""},
    };
    CHECK_ALL(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_damaged_in_compare),
        cmocka_unit_test(test_all_zero),
    };
    return cmocka_run_group_tests_name("compare_bad", tests, scratch_open, remove_scratch);
}
