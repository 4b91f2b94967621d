/* The words that all reports share: verdicts, operations, what to do, where an element is. */
#include "cli/compare.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *tag, *what;
} operations[] = {
    {"tok_embeddings", "E1", "rows of the embedding table"},
    {"attention_norm", "N1", "RMSNorm before attention"},
    {"q", "L1", "projection of queries (wq)"},
    {"k", "L1", "projection of keys (wk)"},
    {"v", "L1", "projection of values (wv)"},
    {"q_rope", "R1", "rotation of queries by their positions"},
    {"k_rope", "R1", "rotation of keys by their positions"},
    {"scores", "A2", "query times key over sqrt(head_dim), under the mask"},
    {"probs", "A2", "softmax over the keys that the row sees"},
    {"attention", "A2", "values weighted by the probabilities"},
    {"attention_out", "L1", "output projection of attention (wo)"},
    {"h_mid", "B1", "residual addition after attention"},
    {"ffn_norm", "N1", "RMSNorm before the feed-forward block"},
    {"w1", "L1", "gate projection (w1)"},
    {"w3", "L1", "up projection (w3)"},
    {"act", "F1", "silu(w1 x) * w3 x"},
    {"router_logits", "L1", "projection of the router (gate)"},
    {"router_experts", "M1", "choice of the largest router logits"},
    {"router_weights", "M1", "softmax over the chosen router logits"},
    {"out", "F1", "feed-forward block of one expert"},
    {"ffn_out", "M3", "output of the feed-forward block"},
    {"h", "B2", "residual addition after the feed-forward block"},
    {"norm", "N1", "RMSNorm before the logits"},
    {"logits", "L1", "projection to the logits (output; score in a reward model)"},
};

const char *mr_operation(const char *name, const char **tag) {
    if (mr_is_gradient(name)) return mr_backward_operation(name, tag);
    const char *dot = strrchr(name, '.'), *last = dot != NULL ? dot + 1 : name;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(last, operations[i].name) == 0) {
            *tag = operations[i].tag;
            return operations[i].what;
        }
    *tag = "";
    return last;
}

const mr_finding *mr_first_fault(const mr_comparison *c) {
    const mr_verification *v = &c->verification;
    return v->count > 0 && v->first >= 0 && !c->causes.harmless ? &v->list[v->first] : NULL;
}

const mr_profile *mr_profile_of(const mr_comparison *c, const mr_finding *f) {
    return f->slot >= 0 && f->slot < c->report.count ? &c->report.list[f->slot] : NULL;
}

const char *mr_overall(const mr_comparison *c) {
    return c->status == MR_OK         ? "agrees"
           : c->status == MR_DISAGREE ? "disagrees"
                                      : "proves nothing";
}

bool mr_needs_weights(const mr_comparison *c, const mr_finding *f) {
    return c->bare && f->verdict == MR_TELLS_NOTHING && f->open == f->elements;
}

idx mr_count_needing(const mr_comparison *c) {
    idx count = 0;
    for (idx i = 0; i < c->verification.count; i++)
        count += mr_needs_weights(c, &c->verification.list[i]);
    return count;
}

const char *mr_verdict_word(const mr_comparison *c, const mr_finding *f) {
    static const char *const words[] = {"agrees", "fault", "explained", "proves nothing"};
    return mr_needs_weights(c, f) ? "needs weights" : words[f->verdict];
}

/* What comes after the last tensor that is right, where that is another operation's. */
static void advise_place(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    const char *rest, *tag, *what = mr_operation(f->name, &tag);
    const idx layer = mr_name_layer(f->name, &rest), at = c->verification.first;
    mr_writer_add(out, "look at %s%s%s%s%s", what, *tag ? " (" : "", tag, *tag ? ")" : "",
                  *tag ? " of docs/MODEL.md" : "");
    if (layer >= 0) mr_writer_add(out, ", layer %td", layer);
    const bool measured = mr_is_gradient(f->name) && f->worst < 0;
    if (at > 0 && c->args->only == NULL && !measured)
        mr_writer_add(out, "; up to %s everything agrees", c->verification.list[at - 1].name);
}

void mr_advise(const mr_comparison *c, mr_writer *out) {
    const mr_finding *f = mr_first_fault(c);
    if (f != NULL && c->causes.count > 0) {
        mr_writer_add(out, "repair this first: %s", c->causes.proved[0].name);
    } else if (f != NULL && c->reading[0] != '\0') {
        mr_writer_add(out, "repair the order of %s first: %s", f->name, c->reading);
    } else if (f != NULL) {
        advise_place(c, f, out);
    } else if (c->ring.count > 0) {
        mr_writer_add(out, "look at how the cache is written: layer %td, %s", c->ring.list[0].layer,
                      c->ring.list[0].text);
    } else if (c->args->against == NULL && c->layouts.faults > 0) {
        mr_writer_add(out, "an order of elements that no right program has: see below");
    } else if (c->args->against == NULL) {
        mr_advise_bare(c, out);
    } else if (c->verification.count == 0 && c->gradients.count > 0) {
        mr_writer_add(out, "nothing to do: every recorded gradient is as near to the reference's "
                           "as its storage lets expect; record the activations too, and each "
                           "operation is judged for itself");
    } else if (c->verification.count == 0) {
        mr_writer_add(out, "record tensors of the forward pass too; this trace has none of them");
    } else if (c->status == MR_PROVES_NOTHING) {
        mr_writer_add(out, "record with weights that are random or trained: here every expected "
                           "tensor is constant");
    } else {
        mr_writer_add(out, "nothing to do: every recorded operation is within what rounding "
                           "can do");
    }
}

void mr_reproduce(const mr_comparison *c, const mr_finding *f, mr_writer *out) {
    mr_args args = *c->args;
    args.only = f->name;
    args.json = false;
    args.verbose = true;
    args.junit = args.html = NULL;
    mr_say_command(&(mr_command_line){"compare", CMD_COMPARE, &args}, out);
}

/* The file's type, where it holds less than the program did. */
static const char *type_of(const mr_recording *r) {
    return r->tiny == 0 ? "" : r->unit == 0x1p-24 ? "f32" : r->unit == 0x1p-8 ? "bf16" : "f16";
}

void mr_say_recorded(const mr_comparison *c, char *text, size_t size) {
    const mr_verification *v = &c->verification;
    const char *type = "";
    idx count = 0;
    for (idx i = 0; i < v->count; i++) {
        if (v->list[i].recording.tiny == 0) continue;
        type = type_of(&v->list[i].recording);
        count++;
    }
    text[0] = '\0';
    if (count > 0)
        snprintf(text, size, "; %td recorded in %s, whose rounding is in the bounds", count, type);
}

double mr_largest_ratio(const mr_comparison *c) {
    const mr_verification *v = &c->verification;
    double worst = 0;
    for (idx i = 0; i < v->count; i++)
        if (v->list[i].verdict == MR_AGREES && v->list[i].ratio > worst) worst = v->list[i].ratio;
    return worst;
}

/* Token t of the trace: which sequence, and where in it. */
static void place_row(const mr_meta *m, idx t, mr_spot *p) {
    idx base = 0;
    for (idx b = 0; b < m->n_seqs; base += m->length[b++]) {
        if (t >= base + m->length[b]) continue;
        p->sequence = b;
        p->id = m->tokens[t];
        p->position = m->first[b] + (t - base);
        return;
    }
}

mr_spot mr_spot_of(const mr_comparison *c, const mr_finding *f) {
    const char *rest;
    const mr_profile *p = mr_profile_of(c, f);
    mr_spot at = {mr_name_layer(f->name, &rest), -1, -1, -1, -1, -1, -1, -1, -1};
    if (p == NULL || f->worst < 0) return at;
    idx *const into[] = {&at.row, &at.head, &at.pair, &at.channel, &at.key};
    for (mr_axis_kind a = 0; a < MR_AXES; a++)
        *into[a] = mr_coordinate(p, a, f->worst, c->report.layout);
    /* rows of an expert are those routed to it, and logits may be of the last token only */
    const char *dot = strrchr(f->name, '.');
    const bool tokens = at.row >= 0 && (dot == NULL || strcmp(dot, ".weight") != 0);
    if (tokens && p->axis[MR_BY_ROW].size == c->meta.count) place_row(&c->meta, at.row, &at);
    return at;
}
