/* KTO from C with the engine's own model: train, evaluate, generate, save, stop, resume, export.
 *
 *   train MODEL DATA.jsonl FOLDER
 *
 * MODEL is a Hugging Face folder; FOLDER is new and gets a checkpoint and the trained model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halo.h"

#define STEPS 6
#define HALF 3
#define MATRIX "model.embed_tokens.weight"

static halo_error err;

/* Ends the program with what the library says is wrong. */
static void check(halo_status status) {
  if (status == HALO_OK) return;
  fprintf(stderr, "%s at %s: %s\n", halo_status_name(status), err.site, err.message);
  exit(1);
}

static void expect(int truth, const char *what) {
  if (truth) return;
  fprintf(stderr, "this is not so: %s\n", what);
  exit(1);
}

/* How long calls tell how far they are. */
typedef struct watch {
  int calls;
  int stop_at; /* the call that says stop; 0 = none */
  char text[4096];
  size_t len;
} watch;

static int32_t progress(void *user, const char *phase, uint64_t done, uint64_t total) {
  watch *w = (watch *)user;
  expect(done <= total && phase[0] != '\0', "progress is within its bounds");
  return ++w->calls == w->stop_at ? 7 : 0;
}

static int32_t on_text(void *user, const char *text, size_t len) {
  watch *w = (watch *)user;
  if (w->len + len > sizeof w->text) return 1;
  memcpy(w->text + w->len, text, len);
  w->len += len;
  return 0;
}

/* A number of the session's metrics. */
static double metric(const halo_session *session, const char *name) {
  halo_blob *json = NULL;
  char key[64];
  const char *at;
  double value;
  check(halo_session_metrics(session, &json, &err));
  snprintf(key, sizeof key, "\"%s\":", name);
  at = strstr(halo_blob_data(json, NULL), key);
  expect(at != NULL, name);
  value = strtod(at + strlen(key), NULL);
  halo_blob_free(json);
  return value;
}

/* A session with data to train on and to evaluate on. */
static halo_session *open_session(const char *model, const halo_dataset *data) {
  halo_session *session = NULL;
  char config[2048];
  snprintf(config, sizeof config,
           "{\"model\": \"%s\", \"loss\": \"kto\", \"loss_parameters\": {\"beta\": 0.5}, \"max_steps\": %d, "
           "\"per_device_train_batch_size\": 8, \"gradient_accumulation_steps\": 2, "
           "\"learning_rate\": 2e-3, \"lr_scheduler_type\": \"constant\", \"max_length\": 64}",
           model, STEPS);
  check(halo_session_new(config, &session, &err));
  check(halo_session_attach(session, "train", data, &err));
  check(halo_session_attach(session, "eval", data, &err));
  return session;
}

/* One step; its loss. */
static double step(halo_session *session, halo_run *run, int number) {
  run->max_steps = 1;
  check(halo_session_train(session, run, &err));
  expect((int)metric(session, "step") == number, "the step's number");
  return metric(session, "loss");
}

/* Whether two sessions have the same bits in a parameter. */
static int same(const halo_session *a, const halo_session *b, const char *name) {
  struct DLManagedTensorVersioned *x = NULL, *y = NULL;
  size_t len = sizeof(float);
  int equal, i;
  check(halo_session_tensor_export(a, name, &x, &err));
  check(halo_session_tensor_export(b, name, &y, &err));
  expect(x->dl_tensor.ndim == 2 && x->dl_tensor.dtype.code == kDLFloat && x->dl_tensor.dtype.bits == 32, "a matrix of f32");
  expect(x->dl_tensor.strides[0] == x->dl_tensor.shape[1] && x->dl_tensor.strides[1] == 1, "row by row");
  for (i = 0; i < 2; i++) len *= (size_t)x->dl_tensor.shape[i];
  equal = memcmp(x->dl_tensor.data, y->dl_tensor.data, len) == 0;
  x->deleter(x);
  y->deleter(y);
  return equal;
}

int main(int argc, char **argv) {
  halo_dataset *data = NULL;
  halo_session *session, *resumed;
  halo_blob *text = NULL;
  struct DLManagedTensorVersioned *none = NULL;
  const char *written;
  halo_run run;
  watch w;
  double losses[STEPS + 1], before, after;
  char folder[1024];
  size_t len;
  int i;

  HALO_INIT(err);
  HALO_INIT(run);
  memset(&w, 0, sizeof w);
  run.progress = progress;
  run.text = on_text;
  run.user = &w;
  if (argc != 4) {
    fprintf(stderr, "usage: train MODEL DATA.jsonl FOLDER\n");
    return 2;
  }
  check(halo_version_check(HALO_ABI_VERSION, &err));
  check(halo_dataset_new(&data, &err));
  check(halo_dataset_load(data, argv[2], NULL, &err));
  printf("%lu records\n", (unsigned long)halo_dataset_count(data));

  session = open_session(argv[1], data);
  resumed = open_session(argv[1], data);
  halo_dataset_free(data);
  check(halo_session_evaluate(session, &run, &err));
  before = metric(session, "eval_loss");
  for (i = 1; i <= HALF; i++) losses[i] = step(session, &run, i);
  snprintf(folder, sizeof folder, "%s/checkpoint", argv[3]);
  check(halo_session_save(session, folder, &err));
  for (i = HALF + 1; i <= STEPS; i++) losses[i] = step(session, &run, i);
  for (i = 1; i <= STEPS; i++) printf("step %d loss %.17g\n", i, losses[i]);
  expect(w.calls > 2 * STEPS, "progress is told between micro-batches, too");
  check(halo_session_evaluate(session, &run, &err));
  after = metric(session, "eval_loss");
  printf("eval_loss %.6f -> %.6f\n", before, after);
  expect(after < before, "training lowers the loss");

  check(halo_session_generate(session, "List a colour and a drink.", 26, "{\"max_new_tokens\": 24, \"seed\": 3}", &run,
                              &text, &err));
  written = halo_blob_data(text, &len);
  printf("it writes:%s\n", written);
  expect(len == w.len && memcmp(written, w.text, len) == 0, "the pieces are the text");
  halo_blob_free(text);

  /* From the checkpoint, stopped in the midst of a step: the same numbers to the last digit. */
  expect(!same(session, resumed, MATRIX), "training changes weights");
  check(halo_session_load(resumed, folder, &err));
  w.stop_at = w.calls + 3;
  run.max_steps = 1;
  expect(halo_session_train(resumed, &run, &err) == HALO_E_CANCELLED, "a callback stops the call");
  expect(err.host_code == 7, "err tells what the callback returned");
  for (i = HALF + 1; i <= STEPS; i++)
    expect(step(resumed, &run, i) == losses[i], "a resumed run has the same numbers");
  expect(same(session, resumed, MATRIX), "and ends in the same model");
  expect(halo_session_tensor_export(resumed, "model.embed_token.weight", &none, &err) == HALO_E_NOT_FOUND, "a wrong name");
  snprintf(folder, sizeof folder, "%s/model", argv[3]);
  check(halo_session_export(resumed, folder, "hf", &err));
  printf("written: the model, as transformers reads it\n");

  halo_session_free(resumed);
  halo_session_free(session);
  return 0;
}
