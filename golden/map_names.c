/* Names: ours, Hugging Face's module paths, mistral-inference's; how far two names are apart. */
#include "golden/map.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path, *name;
} pair;

/* Ours; what follows layers.{N}. is listed after the first five. */
static const char *const ours[] = {
    "mask", "tok_embeddings", "norm", "logits", "layers.{N}.mask",
    "layers.{N}.attention_norm", "layers.{N}.q", "layers.{N}.k", "layers.{N}.v",
    "layers.{N}.q_rope", "layers.{N}.k_rope", "layers.{N}.scores", "layers.{N}.probs",
    "layers.{N}.attention", "layers.{N}.attention_out", "layers.{N}.h_mid", "layers.{N}.ffn_norm",
    "layers.{N}.w1", "layers.{N}.w3", "layers.{N}.act", "layers.{N}.router_logits",
    "layers.{N}.router_experts", "layers.{N}.router_weights", "layers.{N}.experts.{E}.out",
    "layers.{N}.ffn_out", "layers.{N}.h", "layers.{N}.cache_k", "layers.{N}.cache_v",
    "layers.{N}.cache_pos",
};

/* Outputs of modules, and with < their inputs. */
static const pair hf[] = {
    {"embed_tokens", "tok_embeddings"},
    {"layers.{N}.input_layernorm", "layers.{N}.attention_norm"},
    {"layers.{N}.self_attn.q_proj", "layers.{N}.q"},
    {"layers.{N}.self_attn.k_proj", "layers.{N}.k"},
    {"layers.{N}.self_attn.v_proj", "layers.{N}.v"},
    {"layers.{N}.self_attn.qkv_proj", "layers.{N}.qkv"},
    {"<layers.{N}.self_attn.o_proj", "layers.{N}.attention"},
    {"layers.{N}.self_attn.o_proj", "layers.{N}.attention_out"},
    {"layers.{N}.self_attn", "layers.{N}.attention_out"},
    {"<layers.{N}.post_attention_layernorm", "layers.{N}.h_mid"},
    {"layers.{N}.post_attention_layernorm", "layers.{N}.ffn_norm"},
    {"layers.{N}.mlp.gate_proj", "layers.{N}.w1"},
    {"layers.{N}.mlp.up_proj", "layers.{N}.w3"},
    {"layers.{N}.mlp.gate_up_proj", "layers.{N}.gate_up"},
    {"<layers.{N}.mlp.down_proj", "layers.{N}.act"},
    {"layers.{N}.mlp.down_proj", "layers.{N}.ffn_out"},
    {"layers.{N}.mlp.gate", "layers.{N}.router_logits"},
    {"layers.{N}.mlp.experts.{E}", "layers.{N}.experts.{E}.out"},
    {"layers.{N}.mlp", "layers.{N}.ffn_out"},
    {"layers.{N}.block_sparse_moe.gate", "layers.{N}.router_logits"},
    {"layers.{N}.block_sparse_moe.experts.{E}", "layers.{N}.experts.{E}.out"},
    {"layers.{N}.block_sparse_moe", "layers.{N}.ffn_out"},
    {"layers.{N}", "layers.{N}.h"},
    {"attentions.{N}", "layers.{N}.probs"},
    {"norm", "norm"},
    {"lm_head", "logits"},
    {"logits", "logits"},
};
static const pair native[] = {
    {"tok_embeddings", "tok_embeddings"},
    {"layers.{N}.attention_norm", "layers.{N}.attention_norm"},
    {"layers.{N}.attention.wq", "layers.{N}.q"},
    {"layers.{N}.attention.wk", "layers.{N}.k"},
    {"layers.{N}.attention.wv", "layers.{N}.v"},
    {"<layers.{N}.attention.wo", "layers.{N}.attention"},
    {"layers.{N}.attention.wo", "layers.{N}.attention_out"},
    {"layers.{N}.attention", "layers.{N}.attention_out"},
    {"<layers.{N}.ffn_norm", "layers.{N}.h_mid"},
    {"layers.{N}.ffn_norm", "layers.{N}.ffn_norm"},
    {"layers.{N}.feed_forward.w1", "layers.{N}.w1"},
    {"layers.{N}.feed_forward.w3", "layers.{N}.w3"},
    {"<layers.{N}.feed_forward.w2", "layers.{N}.act"},
    {"layers.{N}.feed_forward.w2", "layers.{N}.ffn_out"},
    {"layers.{N}.feed_forward.gate", "layers.{N}.router_logits"},
    {"layers.{N}.feed_forward.experts.{E}", "layers.{N}.experts.{E}.out"},
    {"layers.{N}.feed_forward", "layers.{N}.ffn_out"},
    {"layers.{N}", "layers.{N}.h"},
    {"norm", "norm"},
    {"output", "logits"},
};

#define COUNT(table) ((idx)(sizeof (table) / sizeof *(table)))

/* Reads digits; a number has at most nine. */
static const char *digits(const char *text, char *out) {
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 9) return NULL;
    memcpy(out, text, n);
    out[n] = '\0';
    return text + n;
}

bool mr_name_match(const char *pattern, const char *path, const char *target, char *out) {
    char number[2][16] = {"", ""};
    for (; *pattern != '\0'; ) {
        if (strncmp(pattern, "{N}", 3) == 0 || strncmp(pattern, "{E}", 3) == 0) {
            path = digits(path, number[pattern[1] == 'E']);
            if (path == NULL) return false;
            pattern += 3;
        } else if (*pattern++ != *path++) return false;
    }
    if (*path != '\0') return false;
    size_t n = 0;
    for (; *target != '\0' && n + 16 < MR_NAME_LIMIT; ) {
        if (strncmp(target, "{N}", 3) == 0 || strncmp(target, "{E}", 3) == 0) {
            n += (size_t)snprintf(out + n, MR_NAME_LIMIT - n, "%s", number[target[1] == 'E']);
            target += 3;
        } else out[n++] = *target++;
    }
    out[n] = '\0';
    return *target == '\0';
}

bool mr_name_is_ours(const char *name) {
    char ignored[MR_NAME_LIMIT];
    if (strncmp(name, "grad.", 5) == 0 || strncmp(name, "loss.", 5) == 0) return true;
    for (idx i = 0; i < COUNT(ours); i++)
        if (mr_name_match(ours[i], name, "", ignored)) return true;
    return false;
}

/* Removes .input, .output and a .0 after them; true for an input. */
static bool ending(char *path) {
    static const char *const words[] = {".input.0", ".output.0", ".input", ".output"};
    const size_t n = strlen(path);
    for (int i = 0; i < 4; i++) {
        const size_t e = strlen(words[i]);
        if (n <= e || strcmp(path + n - e, words[i]) != 0) continue;
        path[n - e] = '\0';
        return words[i][1] == 'i';
    }
    return false;
}

static bool search(const pair *table, idx count, const char *path, char *name) {
    char own[4096];
    if (snprintf(own, sizeof own, "%s", path) >= (int)sizeof own) return false;
    const bool input = ending(own);
    for (const char *at = own; at != NULL; at = strchr(at, '.')) {   /* any prefix may go before */
        at += at != own;
        for (idx i = 0; i < count; i++) {
            const bool takes = table[i].path[0] == '<';
            if (takes == input && mr_name_match(table[i].path + takes, at, table[i].name, name))
                return true;
        }
        if (strncmp(at, "layers.", 7) == 0) return false;   /* no other prefix may cut into it */
    }
    return false;
}

bool mr_name_of_hf(const char *path, idx layers, char *name) {
    char number[MR_NAME_LIMIT];
    if (mr_name_match("hidden_states.{N}", path, "{N}", number)) {
        idx n = 0;
        for (const char *c = number; *c != '\0'; c++) n = 10 * n + (*c - '0');
        if (n == 0) snprintf(name, MR_NAME_LIMIT, "tok_embeddings");
        else if (n == layers) snprintf(name, MR_NAME_LIMIT, "norm");   /* it is the normed one */
        else snprintf(name, MR_NAME_LIMIT, "layers.%td.h", n - 1);
        return n <= layers;
    }
    return search(hf, COUNT(hf), path, name);
}

bool mr_name_of_native(const char *path, char *name) {
    return search(native, COUNT(native), path, name);
}

/* Row by row of the table of edits (Wagner and Fischer 1974), names longer than it are far. */
idx mr_name_distance(const char *a, const char *b, idx limit) {
    idx row[MR_NAME_LIMIT + 1];
    const idx n = (idx)strlen(a), m = (idx)strlen(b);
    if (m > MR_NAME_LIMIT || n - m > limit || m - n > limit) return limit + 1;
    for (idx j = 0; j <= m; j++) row[j] = j;
    for (idx i = 0; i < n; i++) {
        idx diagonal = row[0];
        row[0] = i + 1;
        for (idx j = 0; j < m; j++) {
            const idx replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            idx best = row[j] + 1 < diagonal + 1 ? row[j] + 1 : diagonal + 1;
            row[j + 1] = replaced < best ? replaced : best;
        }
    }
    return row[m] <= limit ? row[m] : limit + 1;
}

void mr_name_nearest(const char *name, const char *const *names, idx count, char *text,
                     size_t size) {
    const idx limit = (idx)strlen(name) / 3 + 1;
    idx shown = 0;
    for (idx distance = 1; distance <= limit && shown < 3; distance++)
        for (idx i = 0; i < count && shown < 3; i++) {
            if (mr_name_distance(name, names[i], limit) != distance) continue;
            const size_t at = strlen(text);
            snprintf(text + at, size - at, "%s%s", shown == 0 ? " (nearest: " : ", ", names[i]);
            shown++;
        }
    const size_t at = strlen(text);
    if (shown > 0) snprintf(text + at, size - at, ")");
}

void mr_name_nearest_ours(const char *name, char *text, size_t size) {
    char made[COUNT(ours)][MR_NAME_LIMIT], number[2][16] = {"0", "0"};
    const char *names[COUNT(ours)];
    const char *at = name;
    for (int n = 0; n < 2 && *at != '\0'; n++) {
        at += strcspn(at, "0123456789");
        const char *after = digits(at, number[n]);
        if (after == NULL) break;
        at = after;
    }
    for (idx i = 0; i < COUNT(ours); i++) {
        char numbers[40];
        snprintf(numbers, sizeof numbers, "%s,%s", number[0], number[1]);
        names[i] = mr_name_match("{N},{E}", numbers, ours[i], made[i]) ? made[i] : ours[i];
    }
    mr_name_nearest(name, names, COUNT(ours), text, size);
}
