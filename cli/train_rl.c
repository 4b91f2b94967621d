/* Reinforcement learning against a reward model, with a penalty for leaving the reference: the
 * policy answers each prompt K times, then one update (rloo, reinforce) or several (ppo).
 *   R = r(prompt, answer) - beta sum_t k(delta_t)        (Q1), (Q2)
 *   rloo: (Q4), (Q5) of the whole answer's ratio   reinforce: (Q3), baseline: the step's mean R
 *   ppo: (Q5) of each token's ratio, with rloo's advantages */
#include "cli/train.h"

#include <string.h>

#include "tokenizer/lists.h"

enum { REWARD, KL, LENGTH, ENDED };

/* What is known of one answer. */
typedef struct {
    double score, total, advantage, kl;   /* total: R */
    idx    length;
    bool   ended;
} answer;

typedef struct {
    mr_judge      reference, reward;
    mr_generator  generator;
    int32_t       eos;
    mr_train_data data;         /* the answers of this step, as examples */
    answer       *answer;       /* [answers of a step] */
    double       *old, *frozen; /* log p of each row's target: policy before the step, reference */
    mr_ids       *sequence;     /* [sequences of a call] */
    mr_rng       *rng;          /* likewise */
    double       *number;       /* [2, answers of a step] */
    double        baseline;
} rl;

/* ---- opening --------------------------------------------------------------------------------- */

static void close_rl(mr_trainer *t) {
    rl *r = t->own;
    if (r == NULL) return;
    for (idx b = 0; r->sequence != NULL && b < t->set.batch * t->set.samples; b++)
        mr_ids_free(&r->sequence[b]);
    mr_judge_close(&r->reference);
    mr_judge_close(&r->reward);
    mr_generator_close(&r->generator);
    mr_train_data_free(&r->data);
    mr_free(r->answer);
    mr_free(r->old);
    mr_free(r->frozen);
    mr_free(r->sequence);
    mr_free(r->rng);
    mr_free(r->number);
    mr_free(r);
    t->own = NULL;
}

static mr_status open_memory(mr_trainer *t, rl *r, mr_err *err) {
    const idx call = (idx)(t->set.batch * t->set.samples), all = call * (idx)t->set.accumulate;
    mr_room room;
    if (mr_train_room(t, &room, err)) return MR_BAD;
    r->answer = mr_alloc(all, sizeof *r->answer, err);
    r->number = mr_alloc(2 * all, sizeof *r->number, err);
    r->sequence = mr_alloc(call, sizeof *r->sequence, err);
    r->rng = mr_alloc(call, sizeof *r->rng, err);
    r->old = mr_alloc(room.tokens * (idx)t->set.accumulate, sizeof *r->old, err);
    r->frozen = mr_alloc(room.tokens * (idx)t->set.accumulate, sizeof *r->frozen, err);
    if (r->answer == NULL || r->number == NULL || r->sequence == NULL || r->rng == NULL ||
        r->old == NULL || r->frozen == NULL) return MR_BAD;
    return mr_generator_open(&r->generator, &t->policy, &t->set.run, call,
                             room.longest - (idx)t->set.max_new, (idx)t->set.max_new, err);
}

static mr_status open_rl(mr_trainer *t, mr_err *err) {
    rl *r = mr_alloc(1, sizeof *r, err);
    t->own = r;
    if (r == NULL || open_memory(t, r, err) ||
        mr_judge_open(&r->reference, t->set.reference, &t->source.model, t, err) ||
        mr_judge_open(&r->reward, t->set.reward_model, NULL, t, err)) return MR_BAD;
    r->eos = t->tokenizer != NULL ? mr_tokenizer_eos(t->tokenizer) : t->policy.config.eos_id;
    r->data.sequences = 1;
    if (r->reward.model->config.n_labels == 1) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: expected a reward model (a classifier of one label, as `train "
                   "reward` makes), found %s", t->set.reward_model,
                   r->reward.model->config.n_labels == 0 ? "a language model" : "more labels");
}

/* ---- answering ------------------------------------------------------------------------------- */

static mr_status keep_answer(rl *r, const mr_ids *sequence, idx prompt, mr_err *err) {
    mr_train_data *d = &r->data;
    const idx start = d->ids.count, n = sequence->count;
    if (mr_ids_reserve(&d->ids, n, err) || mr_text_reserve(&d->scored, n, err)) return MR_BAD;
    memcpy(d->ids.id + start, sequence->id, (size_t)n * sizeof *sequence->id);
    memset(d->scored.byte + start, 0, (size_t)prompt);
    memset(d->scored.byte + start + prompt, 1, (size_t)(n - prompt));
    d->ids.count = d->scored.count = start + n;
    r->answer[d->count] = (answer){.length = n - prompt, .ended = sequence->id[n - 1] == r->eos};
    return mr_train_data_add(d, &(mr_example){.start = {start}, .count = {n}}, err);
}

/* The prompts of one call, each K times. Answer number n of the whole run has stream n. */
static mr_status answer_call(mr_trainer *t, mr_example **picked, int64_t first, mr_err *err) {
    rl *r = t->own;
    const idx call = r->generator.sequences, K = (idx)t->set.samples;
    for (idx b = 0; b < call; b++) {
        const mr_example *e = picked[b / K];
        r->sequence[b].count = 0;
        if (mr_ids_reserve(&r->sequence[b], e->count[0], err)) return MR_BAD;
        memcpy(r->sequence[b].id, t->data.ids.id + e->start[0],
               (size_t)e->count[0] * sizeof(int32_t));
        r->sequence[b].count = e->count[0];
        r->rng[b] = mr_train_stream(t->set.seed, MR_STREAM_ANSWER, (uint64_t)(first * K + b));
    }
    if (mr_generate(&r->generator, r->sequence, r->rng, r->eos, &t->set.sampling, err))
        return err->code;
    for (idx b = 0; b < call; b++)
        if (keep_answer(r, &r->sequence[b], picked[b / K]->count[0], err)) return MR_BAD;
    return MR_OK;
}

/* ---- judging --------------------------------------------------------------------------------- */

/* log p of every target of a call, where its row stands in the data. */
static void keep_rows(double *out, const mr_run *run, const mr_packed *c) {
    for (idx i = 0, row = 0; i < c->examples; i++)
        for (idx n = 0; n < c->length[i]; n++, row++)
            if (c->targets[row] >= 0)
                out[c->example[i]->start[0] + n] =
                    mr_run_log_probability(run, row, c->targets[row]);
}

/* Score less the penalties, (Q2): R. */
static void judge_answer(const mr_trainer *t, rl *r, idx i) {
    answer *a = &r->answer[i];
    const mr_example *e = &r->data.example[i];
    const idx from = e->start[0] + e->count[0] - a->length - 1;   /* row before the answer */
    for (idx n = 0; n < a->length; n++) a->kl += r->old[from + n] - r->frozen[from + n];
    a->total = a->score - (a->ended ? 0 : t->set.no_eos);
    for (idx n = 0; n < a->length; n++)
        a->total -= t->set.beta * mr_kl(t->set.kl, r->old[from + n] - r->frozen[from + n]).value;
}

static mr_status judge_calls(mr_trainer *t, const mr_packed *all, mr_err *err) {
    rl *r = t->own;
    mr_packed c = {0};
    for (idx done = 0; done < all->examples; done += c.examples) {
        c = mr_packed_call(all, &c, r->generator.sequences);
        if (mr_run_forward(t->run, c.tokens, c.length, err) ||
            mr_judge_forward(&r->reference, &c, err) || mr_judge_forward(&r->reward, &c, err))
            return err->code;
        keep_rows(r->old, t->run, &c);
        keep_rows(r->frozen, r->reference.run, &c);
        for (idx b = 0; b < c.examples; b++) {
            mr_run_logits(r->reward.run, mr_score_row(c.length, b), &r->answer[done + b].score);
            judge_answer(t, r, done + b);
        }
    }
    return MR_OK;
}

static void set_advantages(const mr_trainer *t, rl *r, idx prompts) {
    const idx K = (idx)t->set.samples, n = prompts * K;
    double *total = r->number, *advantage = r->number + n;
    r->baseline = 0;
    for (idx i = 0; i < n; i++) {
        total[i] = r->answer[i].total;
        r->baseline += total[i] / (double)n;
    }
    mr_rloo(advantage, total, prompts, K, t->set.normalise);
    for (idx i = 0; i < n; i++) r->answer[i].advantage = advantage[i];
}

static mr_status roll(mr_trainer *t, mr_example **picked, idx count, const mr_train_data **data,
                      mr_err *err) {
    rl *r = t->own;
    mr_packed all = {0};
    const idx answers = count * (idx)t->set.samples;
    r->data.ids.count = r->data.scored.count = r->data.count = 0;
    for (idx done = 0; done < count; done += (idx)t->set.batch)
        if (answer_call(t, picked + done, t->at.examples + done, err)) return err->code;
    mr_example **example = mr_alloc(answers, sizeof *example, err);
    if (example == NULL) return MR_BAD;
    for (idx i = 0; i < answers; i++) example[i] = &r->data.example[i];
    mr_status status = mr_packed_fill(&all, &r->data, example, answers, r->generator.sequences,
                                     MR_LOSS_TOKEN, err);
    if (status == MR_OK) status = judge_calls(t, &all, err);
    if (status == MR_OK) set_advantages(t, r, count);
    mr_packed_free(&all);
    mr_free(example);
    *data = &r->data;
    return status;
}

/* ---- learning -------------------------------------------------------------------------------- */

static void seed_rows(mr_trainer *t, const mr_packed *c, idx row, idx rows, double slope) {
    for (idx end = row + rows; row < end; row++)
        if (c->targets[row] >= 0)
            mr_run_log_probability_backward(t->run, row, c->targets[row], slope);
}

static double learn_tokens(mr_trainer *t, const mr_packed *c, idx b, idx row, const answer *a) {
    const rl *r = t->own;
    double loss = 0;
    for (idx n = 0; n < c->length[b]; n++, row++) {
        if (c->targets[row] < 0) continue;
        const double logp = mr_run_log_probability(t->run, row, c->targets[row]);
        const mr_term term = mr_ppo_clip(logp - r->old[c->example[b]->start[0] + n], a->advantage,
                                         t->set.ppo_clip);
        loss += c->weight[row] * term.value;
        mr_run_log_probability_backward(t->run, row, c->targets[row],
                                        c->weight[row] * term.slope);
    }
    return loss;
}

static double learn_answer(mr_trainer *t, const mr_packed *c, idx b, idx row, const answer *a) {
    const rl *r = t->own;
    idx scored;
    const double logp = mr_answer_log_probability(t->run, c, b, &scored);
    double old = 0;
    for (idx n = 0; n < c->length[b]; n++)
        if (c->targets[row + n] >= 0) old += r->old[c->example[b]->start[0] + n];
    const mr_term term = t->set.method == MR_RL_RLOO
                             ? mr_ppo_clip(logp - old, a->advantage, t->set.ppo_clip)
                             : mr_reinforce(logp, a->total, r->baseline);
    seed_rows(t, c, row, c->length[b], c->share * term.slope);
    return c->share * term.value;
}

static mr_status call(mr_trainer *t, const mr_packed *c, bool train, double *loss, double *metric,
                      mr_err *err) {
    const rl *r = t->own;
    (void)train;   /* there is no validation in rl */
    (void)err;
    for (idx b = 0, row = 0; b < c->examples; row += c->length[b], b++) {
        const answer *a = &r->answer[c->example[b] - r->data.example];
        *loss += t->set.method == MR_RL_PPO ? learn_tokens(t, c, b, row, a)
                                            : learn_answer(t, c, b, row, a);
        metric[REWARD] += c->share * a->score;
        metric[KL] += c->share * a->kl;
        metric[LENGTH] += c->share * (double)a->length;
        metric[ENDED] += a->ended ? c->share : 0;
    }
    return MR_OK;
}

const mr_objective mr_objective_rl = {
    .name = "rl", .sequences = 1, .call = call, .open = open_rl, .close = close_rl, .roll = roll,
    .metric = {"reward", "kl", "length", "ended"}};
