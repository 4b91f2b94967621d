/* The commands that tests/io breaks: everything that reads or writes a file. */
#ifndef MR_TESTS_IO_COMMANDS_H
#define MR_TESTS_IO_COMMANDS_H

#include <stddef.h>

/* @ is the folder of outputs. `shell` and then `before` (a command of ours) leave the older files
 * that `run` writes over. */
typedef struct {
    const char *run, *before, *shell;
} io_command;

#define MODEL "golden/cases/mixtral_e5k2"
#define TOKENS " --tokens 1,5,3 "
#define TRACE "golden/cases/dense_gqa/t1.f32.npz "
#define SFT " --data golden/trajectories/sft.jsonl --batch 1 --save-every 1 --steps "
#define SETUP "mkdir @/model && cp " MODEL "/config.json " MODEL "/model.safetensors @/model && " \
              "cp golden/chat/small.model @/model/tokenizer.model"

static const io_command commands[] = {
    {.run = "run " MODEL TOKENS "-n 8 --json"},
    {.run = "run weights/tiny -p and -n 2"},
    {.run = "logits " MODEL TOKENS "--json"},
    {.run = "score weights/tiny tests/fuzz/targets.def"},
    {.run = "tokenize golden/chat/small.model"},
    {.run = "tokenize golden/chat/tekken.json hello,w\xC3\xB6rld --json"},
    {.run = "tokenize golden/tokenizers/hf_spm.json hello"},
    {.run = "chat-template golden/chat/small.model tests/fuzz/oom.json --json"},
    {.run = "routing " MODEL TOKENS},
    {.run = "info " MODEL " --json"},
    {.run = "info " TRACE},
    {.run = "selftest golden/cases/dense_mha"},
    {.run = "trace " MODEL TOKENS "-o @/t.npz", .before = "trace " MODEL " --tokens 2 -o @/t.npz"},
    {.run = "trace " MODEL TOKENS "-o @/t.safetensors --decode 1 --only layers.0.*",
     .before = "trace " MODEL " --tokens 2 -o @/t.safetensors"},
    {.run = "trace " MODEL MANY_TOKENS "-o @/t.safetensors",
     .before = "trace " MODEL " --tokens 2 -o @/t.safetensors"},
    {.run = "compare " TRACE TRACE "--model golden/cases/dense_gqa --json"},
    {.run = "compare " TRACE TRACE "--html @/r.html --junit @/r.xml",
     .before = "compare " TRACE TRACE "--only layers.0.* --html @/r.html --junit @/r.xml"},
    {.run = "compare " TRACE "golden/cases/dense_gqa/t13.f32.npz --html @/r.html"},
    {.run = "init " MODEL "/config.json -o @/made --seed 3"},
    {.run = "init " MODEL "/config.json -o @/made --seed 3",
     .before = "init " MODEL "/config.json -o @/made --seed 4"},
    {.run = "convert " MODEL " -o @/native --to native"},
    {.run = "convert " MODEL " -o @/hf --to hf --dtype f16",
     .before = "convert " MODEL " -o @/hf --to hf --dtype f32"},
    {.run = "train sft @/model -o @/run --curve @/c.svg" SFT "1", .shell = SETUP},
    {.run = "train sft @/model --resume @/run" SFT "2 --schedule constant",
     .before = "train sft @/model -o @/run" SFT "1 --schedule constant", .shell = SETUP},
    {.run = "train dpo golden/cases/dense_gqa --data golden/trajectories/dpo.jsonl -o @/run "
            "--steps 1 --batch 1 --to native"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

#endif
