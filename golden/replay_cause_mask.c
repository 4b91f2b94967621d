/* Which keys a row sees, by the rule or by a fault's. Keys are columns of the trace. */
#include "golden/replay_state.h"
#include "ref/mask.h"

static idx most(idx a, idx b) { return a > b ? a : b; }

/* Places [*from, *to) of the row's own sequence; negative ones belong to sequences before it. */
static void range(const mr_walk *w, idx window, idx t, idx *from, idx *to) {
    const idx p = w->place[t], call = w->call[t], end = w->call_end[t];
    switch (w->fault->sees) {
    case MR_SEES_LATER: *to = end; break;
    case MR_SEES_OTHERS: *from = window > 0 ? p - window + 1 : -w->column[t]; break;
    case MR_SEES_FROM_FIRST: *to = p - call + 1; break;
    case MR_SEES_LAST: if (window > 0) *from = most(*from, end - window); break;
    case MR_SEES_RING: if (window > 0 && call > 0) *from = most(*from, end - window); break;
    case MR_SEES_POINTER:
        if (window > 0) *from = p - (idx)(w->position_k[t] % window);
        break;
    default: break;
    }
    *from = most(*from, -w->column[t]);
    if (w->fault->sees != MR_SEES_OTHERS) *from = most(*from, 0);
}

idx mr_walk_keys(mr_walk *w, idx layer, idx t) {
    const mr_fault *f = w->fault;
    const bool wrong = f->calls == 0 || (f->calls & w->kind[t]) != 0;
    const mr_config *c = wrong ? w->c : &w->model->config;
    const idx window = mr_config_window(c, layer), base = w->column[t];
    idx from, to, length = w->place[t] + 1, n = 0;
    for (idx u = t + 1; u < w->T && w->column[u] == base; u++) length++;
    mr_mask_range(c->window_rule, window, w->place[t], length, &from, &to);
    if (wrong && f->sees != MR_SEES_RULE) range(w, window, t, &from, &to);
    for (idx j = from; j < to; j++) {
        if (wrong && f->sees == MR_SEES_NO_END && w->meta->tokens[base + j] == w->c->eos_id)
            continue;
        w->keys[n++] = base + j;
    }
    return n;
}
