/* A host that owns its model: the trainer says what to do, and here it is done.
 *
 * The model is a table of bigrams: p(token | token before) is the softmax of a row. Its gradient is written by hand, its optimizer
 * is plain gradient descent, its ranks are in ranks.h. A program with a real model keeps the loop in `train` as it stands.
 *
 *   host_model RANKS MICRO_BATCHES [FAILS_AT]
 *
 * The last rank fails once, at its work number FAILS_AT. Rank 0 writes the trained weights: always the same. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halo.h"
#include "ranks.h"

enum { VOCABULARY = 8, WEIGHTS = VOCABULARY * VOCABULARY, RECORDS = 20, BATCH = 12, MOST_VALUES = 1024 };

typedef struct host {
  double policy[WEIGHTS], reference[WEIGHTS], gradient[WEIGHTS];
  int fails_at; /* this rank fails at the forward or backward of this number; -1 = never */
  int works;    /* forwards and backwards so far */
  int failures; /* steps that some rank's failure undid */
} host;

/* ln p(token | before), and where wanted the slopes of the row's weights. */
static double logp(const double *table, int before, int token, double seed, double *gradient) {
  const double *row = table + before * VOCABULARY;
  double total = 0.0;
  int k;
  for (k = 0; k < VOCABULARY; k++) total += exp(row[k]);
  for (k = 0; k < VOCABULARY && gradient != NULL; k++)
    gradient[before * VOCABULARY + k] += seed * ((k == token) - exp(row[k]) / total);
  return row[token] - log(total);
}

/* The log-probability of a row's completion; behind an empty prompt its first token is context. */
static double row_logp(const halo_work *w, size_t row, const double *table, double seed, double *gradient) {
  int64_t at = w->offsets[row] + (w->prompt_tokens[row] > 0 ? w->prompt_tokens[row] : 1);
  double sum = 0.0;
  for (; at < w->offsets[row + 1]; at++) sum += logp(table, w->tokens[at - 1], w->tokens[at], seed, gradient);
  return sum;
}

static int fails(host *h) { return h->works++ == h->fails_at; }

static int forward(host *h, const halo_work *w, double *values) {
  const double *table = (w->flags & HALO_WORK_REFERENCE) ? h->reference : h->policy;
  size_t row;
  if (fails(h)) return 7;
  for (row = 0; row < w->rows; row++) values[row] = row_logp(w, row, table, 0.0, NULL);
  return 0;
}

static int backward(host *h, const halo_work *w) {
  size_t row;
  if (fails(h)) return 7;
  for (row = 0; row < w->grad_rows; row++) row_logp(w, row, h->policy, w->values[row], h->gradient);
  return 0;
}

static int step(host *h, double learning_rate, double *norm) {
  double squares = 0.0;
  int k;
  if (ranks_sum(h->gradient, WEIGHTS) != 0) return 1;
  for (k = 0; k < WEIGHTS; k++) {
    squares += h->gradient[k] * h->gradient[k];
    h->policy[k] -= learning_rate * h->gradient[k];
  }
  memset(h->gradient, 0, sizeof h->gradient);
  *norm = sqrt(squares);
  return 0;
}

/* To the next checkpoint, or to the end: then *done is set. */
static halo_status train(host *h, halo_trainer *t, int *done, halo_error *err) {
  static double values[MOST_VALUES];
  halo_work w;
  halo_answer a;
  halo_status s;
  for (;;) {
    HALO_INIT(w);
    HALO_INIT(a);
    if ((s = halo_trainer_next(t, &w, err)) != HALO_OK) return s;
    a.work_id = w.id;
    a.dtype = HALO_F64;
    a.values = values;
    a.value_count = w.value_count;
    switch (w.value_count <= MOST_VALUES ? w.kind : 0) {
    case HALO_WORK_FORWARD: a.host_code = forward(h, &w, values); break;
    case HALO_WORK_REDUCE: /* the only collective that the library needs */
      memcpy(values, w.values, w.value_count * sizeof *values);
      a.host_code = ranks_sum(values, w.value_count);
      break;
    case HALO_WORK_BACKWARD: a.host_code = backward(h, &w); break;
    case HALO_WORK_OPTIMIZER_STEP: a.host_code = step(h, w.learning_rate, &a.grad_norm); break;
    case HALO_WORK_CHECKPOINT: break; /* the weights are in memory anyway: see `main` */
    case HALO_WORK_DONE: *done = 1; return HALO_OK;
    default: a.host_code = 1; /* a newer library: refuse, all ranks learn of it */
    }
    s = halo_trainer_submit(t, &a, err);
    if (s == HALO_E_PEER && h->failures++ < 3) { /* offered again */
      memset(h->gradient, 0, sizeof h->gradient);
    } else if (s != HALO_OK || w.kind == HALO_WORK_CHECKPOINT) {
      return s;
    }
  }
}

/* Two answers a prompt; the seventh record has no prompt. */
static halo_status add_records(halo_dataset *data, halo_error *err) {
  int32_t tokens[8];
  int i, j;
  for (i = 0; i < RECORDS; i++) {
    halo_record r;
    halo_status s;
    int32_t *token = tokens;
    HALO_INIT(r);
    if (i != 7) {
      *token++ = (i / 2 * 3 + 1) % VOCABULARY;
      *token++ = (i / 2 * 5 + 2) % VOCABULARY;
    }
    r.prompt_tokens = (size_t)(token - tokens);
    for (j = 0; j < 2 + i % 3; j++) *token++ = (i * 3 + j * 5 + 1) % VOCABULARY;
    r.tokens = tokens;
    r.token_count = (size_t)(token - tokens);
    r.label = i % 3 == 0 ? 1 : -1;
    if ((s = halo_dataset_add(data, &r, err)) != HALO_OK) return s;
  }
  return HALO_OK;
}

static halo_status start(int rank, int ranks, int micro_batches, const halo_dataset *data, halo_trainer **t, halo_error *err) {
  char config[512];
  halo_status s;
  snprintf(config, sizeof config,
      "{\"loss\": \"kto\", \"loss_parameters\": {\"beta\": 0.2}, \"per_device_train_batch_size\": %d,"
      " \"gradient_accumulation_steps\": %d, \"max_steps\": 7, \"learning_rate\": 40, \"warmup_steps\": 1,"
      " \"seed\": 7, \"save_steps\": 2}",
      BATCH / ranks / micro_batches, micro_batches);
  if ((s = halo_trainer_new(config, rank, ranks, t, err)) != HALO_OK) return s;
  return halo_trainer_attach(*t, "train", data, err);
}

int main(int argc, char **argv) {
  int ranks = argc > 1 ? atoi(argv[1]) : 1, micro_batches = argc > 2 ? atoi(argv[2]) : 1;
  int rank, k, done = 0;
  halo_trainer *trainers[2] = {NULL, NULL}, *t = NULL, *next = NULL;
  halo_dataset *data = NULL;
  halo_blob *state = NULL, *metrics = NULL;
  halo_error err;
  halo_status s;
  static host h;

  HALO_INIT(err);
  for (k = 0; k < WEIGHTS; k++) {
    h.policy[k] = (k * 7 % 13 - 6) / 10.0;
    h.reference[k] = 2.0 * h.policy[k]; /* far from it, so that z0 is above 0 at first */
  }
  s = halo_dataset_new(&data, &err);
  if (s == HALO_OK) s = add_records(data, &err);
  /* Made before the fork: trainers go on working behind it. */
  for (k = 0; k < ranks && k < 2 && s == HALO_OK; k++) s = start(k, ranks, micro_batches, data, &trainers[k], &err);
  if (s == HALO_OK && (rank = ranks_split(ranks)) >= 0) {
    t = trainers[rank];
    h.fails_at = argc > 3 && rank == ranks - 1 ? atoi(argv[3]) : -1;
    while (s == HALO_OK && !done) {
      s = train(&h, t, &done, &err);
      if (s != HALO_OK || done) break;
      halo_blob_free(metrics);
      metrics = NULL;
      if ((s = halo_trainer_metrics(t, &metrics, &err)) != HALO_OK) break;
      /* A checkpoint: go on with a trainer that knows of the run only what was saved. */
      if ((s = halo_trainer_save(t, &state, &err)) == HALO_OK) {
        size_t len = 0;
        const char *saved = halo_blob_data(state, &len);
        if ((s = start(rank, ranks, micro_batches, data, &next, &err)) == HALO_OK)
          s = halo_trainer_load(next, saved, len, &err);
        halo_blob_free(state);
        state = NULL;
        halo_trainer_free(t);
        trainers[rank] = t = next;
        next = NULL;
      }
    }
    if (s == HALO_OK && rank == 0) {
      for (k = 0; k < WEIGHTS; k++) printf("%.17g\n", h.policy[k]);
      printf("failures %d\nmetrics %s\n", h.failures, halo_blob_data(metrics, NULL));
    }
    if (s != HALO_OK) fprintf(stderr, "rank %d: %s: %s: %s\n", rank, halo_status_name(s), err.site, err.message);
    s = ranks_end(s);
  } else {
    fprintf(stderr, "%s: %s\n", err.site, s == HALO_OK ? "the ranks cannot be started" : err.message);
    s = s == HALO_OK ? 1 : s;
  }
  halo_blob_free(metrics);
  halo_dataset_free(data);
  for (k = 0; k < 2; k++) halo_trainer_free(trainers[k]);
  return s != HALO_OK;
}
