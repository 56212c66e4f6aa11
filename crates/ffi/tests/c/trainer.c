/* The trainer's protocol: what it asks for, which answers it refuses, what is offered again. */
#include <math.h>

#include "check.h"

static halo_error err;
static halo_work w;
static halo_answer a;
static double values[64];

/* Eight records of two tokens behind prompts of one; neighbours are a pair. */
static halo_dataset *records(void) {
  halo_dataset *data = NULL;
  int i;
  DONE(halo_dataset_new(&data, &err));
  for (i = 0; i < 8; i++) {
    int32_t tokens[3];
    halo_record r;
    HALO_INIT(r);
    tokens[0] = 10 + i / 2;
    tokens[1] = i;
    tokens[2] = 1;
    r.tokens = tokens;
    r.token_count = 3;
    r.prompt_tokens = 1;
    r.group = (uint64_t)(i / 2 + 1);
    r.label = i % 2 ? -1 : 1;
    r.flags = HALO_RECORD_SCORE;
    r.score = i;
    DONE(halo_dataset_add(data, &r, &err));
  }
  return data;
}

static halo_trainer *trainer(const char *config, int32_t rank, int32_t ranks) {
  halo_dataset *data = records();
  halo_trainer *t = NULL;
  DONE(halo_trainer_new(config, rank, ranks, &t, &err));
  DONE(halo_trainer_attach(t, "train", data, &err));
  halo_dataset_free(data); /* shared by count */
  return t;
}

static void ask(halo_trainer *t) {
  HALO_INIT(w);
  HALO_INIT(a);
  DONE(halo_trainer_next(t, &w, &err));
  a.work_id = w.id;
  a.dtype = HALO_F64;
  a.values = values;
  a.value_count = w.value_count;
}

/* Answers until a work of this kind is in hand. */
static void until(halo_trainer *t, halo_work_kind kind) {
  for (ask(t); w.kind != kind; ask(t)) {
    CHECK(w.kind != HALO_WORK_DONE);
    if (w.kind == HALO_WORK_DONE) exit(1);
    DONE(halo_trainer_submit(t, &a, &err));
  }
}

static void settings(void) {
  halo_trainer *t = NULL;
  REFUSED(halo_trainer_new("{\"learning_rte\": 1}", 0, 1, &t, &err), HALO_E_NOT_FOUND, "did you mean \"learning_rate\"?");
  REFUSED(halo_trainer_new("{\"loss\": \"kt0\"}", 0, 1, &t, &err), HALO_E_NOT_FOUND, "did you mean \"kto\"?");
  REFUSED(halo_trainer_new("{\"loss_parameters\": {\"beta\": -1}}", 0, 1, &t, &err), HALO_E_INVALID_ARGUMENT, "beta");
  CHECK(strcmp(err.site, "loss.beta") == 0 && err.argument == 0);
  REFUSED(halo_trainer_new("{\"save_steps\": 0}", 0, 1, &t, &err), HALO_E_INVALID_ARGUMENT, "save_steps = 0 is outside 1..");
  REFUSED(halo_trainer_new("{", 0, 1, &t, &err), HALO_E_FORMAT, "config_json");
  REFUSED(halo_trainer_new(NULL, 2, 2, &t, &err), HALO_E_INVALID_ARGUMENT, "rank = 2 is outside 0..2");
  CHECK(t == NULL);
}

static void data(void) {
  halo_dataset *all = records();
  halo_trainer *t = NULL;
  halo_blob *blob = NULL;
  halo_record r;
  const int32_t tokens[2] = {1, 2};
  DONE(halo_trainer_new("{\"loss\": \"dpo\"}", 0, 1, &t, &err));
  HALO_INIT(w);
  REFUSED(halo_trainer_next(t, &w, &err), HALO_E_STATE, "halo_trainer_attach");
  REFUSED(halo_trainer_save(t, &blob, &err), HALO_E_STATE, "halo_trainer_attach");
  REFUSED(halo_trainer_attach(t, "eval", all, &err), HALO_E_NOT_FOUND, "known: train");
  HALO_INIT(r);
  r.tokens = tokens;
  r.token_count = 2;
  r.prompt_tokens = 1;
  r.label = 1;
  r.group = 77;
  DONE(halo_dataset_add(all, &r, &err));
  REFUSED(halo_trainer_attach(t, "train", all, &err), HALO_E_DATA, "group 77");
  CHECK(err.example == 8 && err.argument == 2);
  r.label = -1;
  DONE(halo_dataset_add(all, &r, &err)); /* what was refused is not attached */
  DONE(halo_trainer_attach(t, "train", all, &err));
  REFUSED(halo_dataset_add(all, &r, &err), HALO_E_STATE, "attached");
  REFUSED(halo_trainer_attach(t, "train", all, &err), HALO_E_STATE, "already");
  DONE(halo_trainer_metrics(t, &blob, &err));
  CHECK(strcmp(halo_blob_data(blob, NULL), "{\"step\":0,\"max_steps\":1}") == 0);
  halo_blob_free(blob);
  halo_trainer_free(t);
  halo_dataset_free(all);
}

static void answers(void) {
  halo_trainer *t = trainer("{\"per_device_train_batch_size\": 4, \"reference_sync\": {\"mix\": 0.5, \"every\": 1}}", 0, 1);
  halo_work again;
  int32_t first;
  HALO_INIT(a);
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_STATE, "nothing is awaited");
  ask(t);
  CHECK(w.kind == HALO_WORK_FORWARD && w.flags == HALO_WORK_REFERENCE && w.step == 1);
  CHECK(w.rows == 8 && w.value_count == 8 && w.grad_rows == 0 && w.offsets[8] == 24 && w.prompt_tokens[7] == 1);
  HALO_INIT(again);
  DONE(halo_trainer_next(t, &again, &err));
  CHECK(memcmp(&again, &w, sizeof w) == 0);
  a.work_id = w.id + 1;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_STATE, "is awaited");
  a.work_id = w.id;
  a.value_count = 7;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_SHAPE, "8 are awaited");
  a.value_count = 8;
  a.dtype = 0;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_DTYPE, "HALO_F64");
  a.dtype = HALO_F64;
  values[5] = NAN;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_NONFINITE, "answer.values[5]");
  CHECK(err.example == 5);
  values[5] = 0.0;
  first = w.tokens[0];
  DONE(halo_trainer_submit(t, &a, &err));
  /* The policy's forward fails: alone, so at once; the same rows are offered again, under another id. */
  ask(t);
  CHECK(w.kind == HALO_WORK_FORWARD && w.flags == 0 && w.grad_rows == 4);
  a.host_code = 7;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_PEER, "offered again");
  CHECK(err.host_code == 7);
  ask(t);
  CHECK(w.flags == HALO_WORK_REFERENCE && w.tokens[0] == first && w.id > a.work_id - 1);
  until(t, HALO_WORK_BACKWARD);
  CHECK(w.forward_id == w.id - 1 && w.rows == 8 && w.value_count == 4 && w.values[0] != 0.0 && w.micro_batch == 0);
  until(t, HALO_WORK_OPTIMIZER_STEP);
  a.grad_norm = NAN;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_NONFINITE, "grad_norm");
  CHECK(w.learning_rate == 1e-6);
  a.grad_norm = 2.5;
  DONE(halo_trainer_submit(t, &a, &err));
  ask(t);
  CHECK(w.kind == HALO_WORK_SYNC_REFERENCE && w.mix == 0.5);
  a.host_code = 3;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_CALLBACK, "offered again");
  until(t, HALO_WORK_CHECKPOINT);
  CHECK(w.step == 2);
  until(t, HALO_WORK_DONE);
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_STATE, "over");
  halo_trainer_free(t);
}

static void tokens(void) {
  halo_trainer *t = trainer("{\"loss\": \"grpo\", \"per_device_train_batch_size\": 4}", 0, 1);
  ask(t);
  CHECK(w.flags == (HALO_WORK_REFERENCE | HALO_WORK_TOKENS) && w.rows == 4 && w.value_count == 8);
  values[5] = INFINITY;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_NONFINITE, "answer.values[5]");
  CHECK(err.example == 2);
  values[5] = 0.0;
  until(t, HALO_WORK_BACKWARD);
  CHECK(w.flags == HALO_WORK_TOKENS && w.grad_rows == 4 && w.value_count == 8);
  halo_trainer_free(t);
  t = trainer("{\"loss\": \"dpo\", \"loss_parameters\": {\"wpo\": \"exact\"}, \"per_device_train_batch_size\": 2}", 0, 1);
  ask(t);
  CHECK(w.flags == (HALO_WORK_REFERENCE | HALO_WORK_TOKENS) && w.rows == 4);
  DONE(halo_trainer_submit(t, &a, &err));
  ask(t);
  CHECK(w.flags == (HALO_WORK_TOKENS | HALO_WORK_COLLISIONS));
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_INVALID_ARGUMENT, "answer.log_collisions is NULL");
  a.log_collisions = values;
  DONE(halo_trainer_submit(t, &a, &err));
  halo_trainer_free(t);
  t = trainer("{\"loss\": \"bradley_terry\", \"per_device_train_batch_size\": 2}", 0, 1);
  ask(t);
  CHECK(w.flags == HALO_WORK_SCORES && w.rows == 4 && w.value_count == 4 && w.grad_rows == 4);
  halo_trainer_free(t);
}

static void states(void) {
  const char *config = "{\"per_device_train_batch_size\": 4, \"max_steps\": 3, \"lr_scheduler_type\": \"constant\"}";
  halo_trainer *t = trainer(config, 0, 1), *other = NULL;
  halo_blob *saved = NULL, *metrics = NULL;
  const char *bytes;
  size_t len;
  uint64_t id;
  REFUSED(halo_trainer_set(t, "lerning_rate", "1", &err), HALO_E_NOT_FOUND, "known: learning_rate");
  REFUSED(halo_trainer_set(t, "learning_rate", "-1", &err), HALO_E_INVALID_ARGUMENT, "outside 0..");
  DONE(halo_trainer_set(t, "learning_rate", "0.25", &err));
  until(t, HALO_WORK_OPTIMIZER_STEP);
  CHECK(w.learning_rate == 0.25);
  DONE(halo_trainer_submit(t, &a, &err));
  DONE(halo_trainer_metrics(t, &metrics, &err));
  CHECK(strstr(halo_blob_data(metrics, NULL), "\"rewards/chosen\":") != NULL);
  CHECK(strstr(halo_blob_data(metrics, NULL), "\"step\":1,") != NULL);
  halo_blob_free(metrics);
  ask(t);
  id = w.id;
  DONE(halo_trainer_save(t, &saved, &err));
  bytes = halo_blob_data(saved, &len);
  REFUSED(halo_trainer_load(t, bytes, len / 2, &err), HALO_E_FORMAT, "no saved trainer");
  REFUSED(halo_trainer_load(t, "{\"format\":\"x\"}", 14, &err), HALO_E_FORMAT, "no saved trainer");
  HALO_INIT(w);
  DONE(halo_trainer_next(t, &w, &err));
  CHECK(w.id == id); /* nothing has changed */
  other = trainer("{\"per_device_train_batch_size\": 4, \"seed\": 1, \"lr_scheduler_type\": \"constant\"}", 0, 1);
  REFUSED(halo_trainer_load(other, bytes, len, &err), HALO_E_STATE, "seed");
  halo_trainer_free(other);
  other = trainer(config, 0, 1);
  DONE(halo_trainer_load(other, bytes, len, &err));
  until(other, HALO_WORK_OPTIMIZER_STEP);
  CHECK(w.step == 2 && w.learning_rate == 0.25);
  halo_trainer_free(other);
  halo_blob_free(saved);
  halo_trainer_free(t);
}

static void ranks(void) {
  halo_trainer *t = trainer("{\"per_device_train_batch_size\": 2}", 1, 2);
  double sums[64];
  size_t slots;
  ask(t);
  a.host_code = 9; /* the others learn of it in the next sum */
  DONE(halo_trainer_submit(t, &a, &err));
  ask(t);
  CHECK(w.kind == HALO_WORK_REDUCE && w.value_count >= 2);
  slots = w.value_count - 2;
  CHECK(w.values[slots] == 1.0 && w.values[slots + 1] == 2.0);
  memcpy(sums, w.values, w.value_count * sizeof *sums);
  a.values = sums;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_PEER, "rank 1");
  CHECK(err.host_code == 9);
  /* Of another rank's failure the slots say who it was. */
  until(t, HALO_WORK_REDUCE);
  CHECK(w.step == 1 && w.values[slots] == 0.0);
  memcpy(sums, w.values, w.value_count * sizeof *sums);
  sums[slots] = sums[slots + 1] = 1.0;
  a.values = sums;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_PEER, "rank 0 failed");
  /* A sum that fails can tell nobody. */
  until(t, HALO_WORK_REDUCE);
  a.host_code = 4;
  REFUSED(halo_trainer_submit(t, &a, &err), HALO_E_CALLBACK, "the run is over");
  HALO_INIT(w);
  REFUSED(halo_trainer_next(t, &w, &err), HALO_E_CALLBACK, "the run is over");
  CHECK(err.host_code == 4);
  halo_trainer_free(t);
}

int main(void) {
  settings();
  data();
  answers();
  tokens();
  states();
  ranks();
  return checks_failed;
}
