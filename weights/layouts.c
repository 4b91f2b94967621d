/* The layouts that exist on disk, as names, shapes and strides: no layout is ever copied into
 * another to be read. */
#include <stdio.h>

#include "weights/bind.h"

mr_status mr_layout_find(const mr_tensors *set, mr_storage_layout *layout, mr_err *err) {
    const bool native = mr_tensors_find(set, "tok_embeddings.weight") != NULL;
    const bool hf = mr_tensors_find(set, "model.embed_tokens.weight") != NULL;
    if (native && hf)
        return mr_fail(err, MR_BAD, "%s: holds tok_embeddings.weight (native names) and "
                       "model.embed_tokens.weight (Hugging Face names); keep one set", set->source);
    if (!native && !hf)
        return mr_fail(err, MR_BAD, "%s: tensor 'tok_embeddings.weight' (or "
                       "'model.embed_tokens.weight') is missing; is this a whole checkpoint of the "
                       "family?", set->source);
    layout->names = native ? MR_LAYOUT_NATIVE : MR_LAYOUT_HF;
    layout->experts = MR_EXPERTS_SINGLE;
    if (native && mr_tensors_find(set, "layers.0.block_sparse_moe.w1") != NULL)
        layout->experts = MR_EXPERTS_STACKED;
    if (hf && mr_tensors_find(set, "model.layers.0.mlp.experts.gate_up_proj") != NULL)
        layout->experts = MR_EXPERTS_FUSED;
    return MR_OK;
}

/* First element of an expert. Called before the shape was compared with the file: where the product
 * overflows, no tensor has that shape, and the comparison will say so. */
static idx offset_of(idx blocks, idx rows, idx cols) {
    idx elements;
    return mr_mul(blocks, rows, &elements) && mr_mul(elements, cols, &elements) ? elements : 0;
}

/* Transformers 5: expert e of gate_up_proj [E,2F,d] has w1 in rows 0..F-1 and w3 in rows
 * F..2F-1. */
static void place_fused(mr_place *p, const mr_config *c, mr_param param) {
    const idx d = c->dim, F = c->hidden_dim, E = c->n_experts, e = param.expert;
    const bool down = param.kind->offset == offsetof(mr_ffn, w2);
    const bool up = param.kind->offset == offsetof(mr_ffn, w3);
    snprintf(p->name, sizeof p->name, "model.layers.%td.mlp.experts.%s", param.layer,
             down ? "down_proj" : "gate_up_proj");
    p->rank = 3;
    p->dim[0] = E;
    p->dim[1] = down ? d : 2 * F;
    p->dim[2] = down ? F : d;
    p->start = offset_of(down ? e : 2 * e + (up ? 1 : 0), F, d);
    p->row_stride = p->dim[2];
}

/* First release: expert e has rows e*F..(e+1)*F-1 of [E*F,d], and W2[r][c] is row c, column r of
 * them. */
static void place_stacked(mr_place *p, const mr_config *c, mr_param param) {
    const idx d = c->dim, F = c->hidden_dim, E = c->n_experts;
    const bool transposed = param.kind->offset == offsetof(mr_ffn, w2);
    snprintf(p->name, sizeof p->name, "layers.%td.block_sparse_moe.w%d", param.layer,
             param.kind->row + 1);
    p->rank = 2;
    p->dim[0] = E * F;
    p->dim[1] = d;
    p->start = offset_of(param.expert, F, d);
    p->row_stride = transposed ? 1 : d;
    p->col_stride = transposed ? d : 1;
}

/* The plain layouts follow from the table; the other two move router and experts. */
mr_place mr_place_of(mr_storage_layout layout, const mr_config *config, mr_param param) {
    const mr_kind *k = param.kind;
    mr_place p = {.rank = k->rank, .row_stride = k->cols, .col_stride = 1};
    p.dim[0] = k->rank == 1 ? k->cols : k->rows;
    p.dim[1] = k->cols;
    mr_param_name(param, layout.names, p.name);
    if (layout.experts == MR_EXPERTS_FUSED) {
        if (k->scope == MR_IN_EXPERT) place_fused(&p, config, param);
        if (k->scope == MR_IN_MOE)      /* the router moved with its experts */
            snprintf(p.name, sizeof p.name, "model.layers.%td.mlp.gate.weight", param.layer);
    }
    if (layout.experts == MR_EXPERTS_STACKED) {
        if (k->scope == MR_IN_EXPERT) place_stacked(&p, config, param);
        if (k->scope == MR_IN_MOE)
            snprintf(p.name, sizeof p.name, "layers.%td.block_sparse_moe.gate.weight", param.layer);
    }
    return p;
}
